//! Amounts, rates, counts and spans of time as people read them.

use sekhmet_common::figures::{self, Figure};

/// An amount of bytes in decimal units, three significant digits, `kB` the smallest; `–` for none.
pub(crate) fn bytes(bytes: u64) -> String {
    spaced(figures::bytes(bytes as f64))
}

/// A rate in bytes per second, like [`bytes`].
pub(crate) fn rate(bytes_per_second: f64) -> String {
    spaced(figures::rate(bytes_per_second))
}

/// A count, its thousands set apart by commas; `–` for none.
pub(crate) fn count(n: u64) -> String {
    if n == 0 { Figure::none().digits } else { figures::count(n) }
}

/// A span of time in its two largest units.
pub(crate) fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Digits and unit with a plain space: a terminal has columns, not boxes.
fn spaced(figure: Figure) -> String {
    if figure.is_none() { figure.digits } else { format!("{} {}", figure.digits, figure.unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_significant_digits() {
        for (amount, text) in [
            (0, "–"),
            (4, "<0.01 kB"),
            (5, "0.01 kB"),
            (420, "0.42 kB"),
            (999, "1.00 kB"),
            (9_870, "9.87 kB"),
            (9_995, "10.0 kB"),
            (99_949, "99.9 kB"),
            (99_950, "100 kB"),
            (412_000, "412 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (1_020_000, "1.02 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(amount), text, "{amount}");
        }
        assert_eq!(rate(2_410_000.0), "2.41 MB/s");
        assert_eq!(rate(f64::NAN), "–");
    }

    #[test]
    fn counts_and_spans() {
        assert_eq!([count(0), count(999), count(1_234_567)], ["–", "999", "1,234,567"]);
        assert_eq!([span(59_999), span(210_000)], ["59 s", "3 min 30 s"]);
        assert_eq!([span(3_600_000), span(90_000_000)], ["1 h 0 min", "1 d 1 h"]);
    }
}
