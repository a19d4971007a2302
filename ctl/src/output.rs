//! Writes to the terminal: lines, JSON lines, tables that fit its width.

use std::io::{self, IsTerminal, Stderr, StdoutLock, Write};

use sekhmet_common::display::{cut_middle, escape};
use serde::Serialize;

use crate::session::Failure;

/// Standard output. Every method fails where `println!` would panic.
pub(crate) struct Output {
    out: StdoutLock<'static>,
    width: Option<usize>,
}

/// A cell of a table.
pub(crate) enum Cell {
    /// Aligned to the left.
    Text(String),
    /// Aligned to the right.
    Number(String),
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { out: io::stdout().lock(), width: width() }
    }

    /// Whether a person sits in front of it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.out.is_terminal()
    }

    /// How many lines and columns the terminal has now.
    pub(crate) fn measure(&mut self) -> Option<(usize, usize)> {
        let size = self.is_terminal().then(|| rustix::termios::tcgetwinsize(&self.out).ok()).flatten()?;
        self.width = Some(usize::from(size.ws_col)).filter(|&w| w > 0);
        Some((usize::from(size.ws_row), usize::from(size.ws_col)))
    }

    /// One line of text that is safe to show.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(Failure::Output)
    }

    /// Text as it is: control sequences of our own.
    pub(crate) fn raw(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(Failure::Output)
    }

    /// One object on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| Failure::Output(error.into()))?;
        self.raw("\n")
    }

    /// Lets everything written so far be seen.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }

    /// A table with a head. The last column gives way when the terminal is too narrow.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<Cell>]) -> Result<(), Failure> {
        for line in table(head, rows, self.width) {
            self.line(&line)?;
        }
        Ok(())
    }
}

/// Tells a person on standard error what went wrong.
pub(crate) fn complain(text: &str) {
    // Standard error may be closed; then there is nobody to tell.
    let _unheard = writeln!(Stderr::lock(&io::stderr()), "sekhmetctl: {}", escape(text.as_bytes()));
}

/// The lines of a table.
pub(crate) fn table(head: &[&str], rows: &[Vec<Cell>], width: Option<usize>) -> Vec<String> {
    let columns = head.len();
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text().chars().count());
        }
    }
    let cell_line = |cells: &[(String, bool)]| {
        let mut line = String::new();
        for (i, ((text, right), width)) in cells.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width.saturating_sub(text.chars().count()));
            let is_last = i + 1 == columns;
            match (right, is_last) {
                (true, _) => line.extend([pad.as_str(), text]),
                (false, true) => line.push_str(text),
                (false, false) => line.extend([text, pad.as_str()]),
            }
            if !is_last {
                line.push_str("  ");
            }
        }
        fit(line.trim_end(), width)
    };
    let right_aligned = |i: usize| rows.first().is_some_and(|r| matches!(r.get(i), Some(Cell::Number(_))));
    let head: Vec<(String, bool)> =
        head.iter().enumerate().map(|(i, h)| ((*h).to_owned(), right_aligned(i))).collect();
    let mut lines = vec![cell_line(&head)];
    for row in rows {
        let cells: Vec<(String, bool)> =
            row.iter().map(|cell| (cell.text().to_owned(), matches!(cell, Cell::Number(_)))).collect();
        lines.push(cell_line(&cells));
    }
    lines
}

/// Cuts a line at the end so that it fits.
pub(crate) fn fit(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            let kept: String = line.chars().take(width.saturating_sub(1)).collect();
            kept + "…"
        }
        _ => line.to_owned(),
    }
}

impl Cell {
    /// A text of at most `graphemes`, cut in the middle.
    pub(crate) fn within(text: &str, graphemes: usize) -> Self {
        Self::Text(cut_middle(text, graphemes).into_owned())
    }

    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
        }
    }
}

fn width() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|&w| w > 0)
}

/// A number of bytes as people read it, in powers of 1000.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [(&str, u64); 5] = [
        ("EB", 1_000_000_000_000_000_000),
        ("TB", 1_000_000_000_000),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1_000),
    ];
    for (unit, size) in UNITS {
        if n >= size {
            // Tenths, rounded down: never more than there is.
            let tenths = n / (size / 10);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{n} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short_and_never_too_many() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_999, "1.9 kB"),
            (999_999, "999.9 kB"),
            (1_000_000, "1.0 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn tables_align_and_fit() {
        let rows = vec![
            vec![Cell::Number("7".into()), Cell::Text("short".into()), Cell::Text("end of the line".into())],
            vec![Cell::Number("1234".into()), Cell::Text("x".into()), Cell::Text("e".into())],
        ];
        let lines = table(&["PID", "NAME", "LAST"], &rows, None);
        assert_eq!(lines, [" PID  NAME   LAST", "   7  short  end of the line", "1234  x      e"]);
        let narrow = table(&["PID", "NAME", "LAST"], &rows, Some(16));
        assert!(narrow.iter().all(|l| l.chars().count() <= 16), "{narrow:?}");
        assert_eq!(narrow[1], "   7  short  en…");
        assert_eq!(table(&["A"], &[], Some(80)), ["A"]);
    }
}
