//! In which order rows stand: as sorted, or as they stood when the order was held.

use std::{cmp::Ordering, collections::HashMap};

use super::{Node, Row};
use crate::model::screen::{Column, Screen};

/// The order that rows had when it was last free to change.
#[derive(Clone, Debug, Default)]
pub struct Order {
    ranks: HashMap<Node, usize>,
}

impl Order {
    /// The order of these rows.
    pub fn of(rows: &[Row]) -> Self {
        let mut order = Self::default();
        order.extend(rows);
        order
    }

    /// Puts rows that are new at the end, each after those that came before it.
    pub fn extend(&mut self, rows: &[Row]) {
        for row in rows {
            let next = self.ranks.len();
            self.ranks.entry(row.node.clone()).or_insert(next);
        }
    }

    pub(super) fn rank(&self, node: &Node) -> usize {
        self.ranks.get(node).copied().unwrap_or(usize::MAX)
    }
}

/// A row that is not yet in its place, and the name it would be sorted by.
pub(super) struct Candidate<'a> {
    pub(super) row: Row,
    pub(super) name: &'a str,
    /// Its port, for rows without a name.
    pub(super) port: u16,
}

impl<'a> Candidate<'a> {
    pub(super) fn named(row: Row, name: &'a str) -> Self {
        Self { row, name, port: 0 }
    }
}

/// The order of two rows side by side, as the screen asks for it.
pub(super) fn compare(a: &Candidate<'_>, b: &Candidate<'_>, screen: &Screen) -> Ordering {
    let (x, y) = (&a.row, &b.row);
    let Some(sort) = screen.sort else {
        let by_total = y.total.sum().total_cmp(&x.total.sum());
        return by_total.then_with(|| (a.name, a.port).cmp(&(b.name, b.port)));
    };
    let order = match sort.column {
        Column::Program => by_name(a.name, b.name).then_with(|| a.port.cmp(&b.port)),
        Column::NowDown => y.now.down.total_cmp(&x.now.down),
        Column::NowUp => y.now.up.total_cmp(&x.now.up),
        Column::TotalDown => y.total.down.total_cmp(&x.total.down),
        Column::TotalUp => y.total.up.total_cmp(&x.total.up),
        Column::Open => y.open.cmp(&x.open),
        Column::Seen => y.last.cmp(&x.last),
    };
    if sort.reversed { order.reverse() } else { order }
}

/// The order of two names, whatever their case.
fn by_name(a: &str, b: &str) -> Ordering {
    let lower = |text: &'_ str| text.chars().flat_map(char::to_lowercase).collect::<String>();
    if a.is_ascii() && b.is_ascii() {
        a.bytes().map(|c| c.to_ascii_lowercase()).cmp(b.bytes().map(|c| c.to_ascii_lowercase()))
    } else {
        lower(a).cmp(&lower(b))
    }
}
