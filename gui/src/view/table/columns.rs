//! Where the columns of the table stand, and which of them there is room for.

use egui::{Rangef, Rect};

use crate::widget::cell::{AMOUNT_UNIT, RATE_UNIT, UNIT_GAP};

const RULE: f32 = 86.0;
const RATE: f32 = 78.0;
const SPARK: f32 = 100.0;
const TOTAL: f32 = 64.0;
const OPEN: f32 = 44.0;
const SEEN: f32 = 54.0;
/// Table widths below which a column is left out, the least important first.
const LEAVE_OUT: [(f32, Column); 4] =
    [(860.0, Column::Seen), (816.0, Column::Open), (772.0, Column::Spark), (672.0, Column::Totals)];
/// Wider than this, the name gains nothing.
const PROGRAM_MOST: f32 = 640.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Seen,
    Open,
    Spark,
    Totals,
}

/// The columns from left to right; those without room are absent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Columns {
    /// The whole width of the name column.
    pub(super) program: Rangef,
    pub(super) rule: Rangef,
    pub(super) now_down: Rangef,
    pub(super) now_up: Rangef,
    pub(super) spark: Option<Rangef>,
    pub(super) totals: Option<(Rangef, Rangef)>,
    pub(super) open: Option<Rangef>,
    pub(super) seen: Option<Rangef>,
}

impl Columns {
    pub(super) fn of(table: Rect) -> Self {
        let has = |column: Column| LEAVE_OUT.iter().all(|(width, c)| *c != column || table.width() >= *width);
        let (spark, totals, open, seen) =
            (has(Column::Spark), has(Column::Totals), has(Column::Open), has(Column::Seen));
        let fixed = RULE
            + 2.0 * RATE
            + if spark { SPARK } else { 0.0 }
            + if totals { 2.0 * TOTAL } else { 0.0 }
            + if open { OPEN } else { 0.0 }
            + if seen { SEEN } else { 12.0 };
        let program = (table.width() - fixed).min(PROGRAM_MOST);
        let mut x = table.left() + program;
        let mut next = |width: f32| {
            let range = Rangef::new(x, x + width);
            x += width;
            range
        };
        Self {
            program: Rangef::new(table.left(), table.left() + program),
            rule: next(RULE),
            now_down: next(RATE),
            now_up: next(RATE),
            spark: spark.then(|| next(SPARK)),
            totals: totals.then(|| (next(TOTAL), next(TOTAL))),
            open: open.then(|| next(OPEN)),
            seen: seen.then(|| next(SEEN)),
        }
    }
}

/// Where the digits of a rate end.
pub(super) fn rate_digits(column: Rangef) -> f32 {
    column.max - RATE_UNIT - UNIT_GAP
}

/// Where the digits of an amount end.
pub(super) fn amount_digits(column: Rangef) -> f32 {
    column.max - AMOUNT_UNIT - UNIT_GAP + 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(width: f32) -> Columns {
        Columns::of(Rect::from_min_size(egui::pos2(184.0, 0.0), egui::vec2(width, 100.0)))
    }

    #[test]
    fn columns_fill_the_table_and_give_way_in_order() {
        let full = columns(920.0);
        assert_eq!(full.seen.map(|c| c.max), Some(184.0 + 920.0));
        assert!(columns(859.0).seen.is_none() && columns(859.0).open.is_some());
        assert!(columns(815.0).open.is_none() && columns(815.0).spark.is_some());
        assert!(columns(771.0).spark.is_none() && columns(771.0).totals.is_some());
        let small = columns(600.0);
        assert!(small.totals.is_none() && small.program.span() >= 240.0);
    }

    #[test]
    fn names_stop_growing_in_a_very_wide_table() {
        assert_eq!(columns(3000.0).program.span(), PROGRAM_MOST);
    }
}
