//! Aligned columns of text on a terminal.

use std::borrow::Cow;

use sekhmet_common::display::cut_middle;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Between two columns.
const GAP: &str = "  ";

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column's head, side and the most graphemes that a cell shows, the middle being left out.
pub(crate) type Column = (&'static str, Align, usize);

/// Rows of cells under a head. Cells must be safe to show.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it has a cell for each column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cut = |(cell, column): (String, &Column)| match cut_middle(&cell, column.2) {
            Cow::Borrowed(_) => cell,
            Cow::Owned(shorter) => shorter,
        };
        self.rows.push(cells.into_iter().zip(&self.columns).map(cut).collect());
    }

    /// The head and every row, cut at `width` columns if there is a limit.
    pub(crate) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let head: Vec<String> = self.columns.iter().map(|column| column.0.to_owned()).collect();
        let mut widths = vec![0; self.columns.len()];
        for row in self.rows.iter().chain([&head]) {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(cell.width());
            }
        }
        [&head].into_iter().chain(&self.rows).map(|row| self.line(row, &widths, width)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize], limit: Option<usize>) -> String {
        let mut line = String::new();
        for (n, (cell, column)) in row.iter().zip(&self.columns).enumerate() {
            if n > 0 {
                line.push_str(GAP);
            }
            let pad = " ".repeat(widths[n].saturating_sub(cell.width()));
            match column.1 {
                Align::Left => line.extend([cell.as_str(), &pad]),
                Align::Right => line.extend([pad.as_str(), cell]),
            }
        }
        line.truncate(line.trim_end().len());
        match limit {
            Some(limit) => clip(&line, limit).into_owned(),
            None => line,
        }
    }
}

/// Cuts a line at the end so that it takes at most `columns` cells of a terminal (Unicode annex 11).
pub(crate) fn clip(line: &str, columns: usize) -> Cow<'_, str> {
    if line.width() <= columns {
        return Cow::Borrowed(line);
    }
    let room = columns.saturating_sub(1);
    let mut taken = 0;
    let end = line.grapheme_indices(true).find_map(|(at, grapheme)| {
        taken += grapheme.width();
        (taken > room).then_some(at)
    });
    let kept = &line[..end.unwrap_or(line.len())];
    Cow::Owned(if columns == 0 { String::new() } else { format!("{kept}…") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("NAME", Align::Left, 8), ("SENT", Align::Right, 99)]);
        table.row(["漢字".into(), "412 kB".into()]);
        table.row(["e\u{301}t\u{e9}".into(), "1.02 MB".into()]);
        table.row(["much-longer-name".into(), "–".into()]);
        table
    }

    #[test]
    fn columns_stand_under_each_other() {
        let lines = table().lines(None);
        assert_eq!(
            lines,
            ["NAME         SENT", "漢字       412 kB", "e\u{301}t\u{e9}       1.02 MB", "much…ame        –"]
        );
        assert!(lines.iter().all(|line| line.width() == 17), "{lines:?}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 0..20 {
            for line in table().lines(Some(width)) {
                assert!(line.width() <= width, "{width}: {line:?}");
            }
        }
        assert_eq!(clip("漢字漢字", 6), "漢字…");
        assert_eq!(clip("漢字漢字", 8), "漢字漢字");
    }
}
