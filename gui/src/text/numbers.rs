//! Numbers as people read them: three digits, decimal units, never wider than their box.

pub use sekhmet_common::figures::{Figure, bytes, count, rate};

/// Tenths of a percent, with a thin space before the sign.
pub fn percent(permille: u64) -> String {
    if permille >= 1000 {
        "100\u{2009}%".into()
    } else {
        format!("{}.{}\u{2009}%", permille / 10, permille % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_at_most_four_characters() {
        for (value, shown) in [
            (0.0, "–"),
            (-1.0, "–"),
            (f64::NAN, "–"),
            (0.2, "<0.01\u{a0}kB"),
            (4.99, "<0.01\u{a0}kB"),
            (5.0, "0.01\u{a0}kB"),
            (420.0, "0.42\u{a0}kB"),
            (999.4, "1.00\u{a0}kB"),
            (9_870.0, "9.87\u{a0}kB"),
            (9_994.0, "9.99\u{a0}kB"),
            (9_996.0, "10.0\u{a0}kB"),
            (38_200.0, "38.2\u{a0}kB"),
            (99_960.0, "100\u{a0}kB"),
            (412_000.0, "412\u{a0}kB"),
            (999_499.0, "999\u{a0}kB"),
            (999_500.0, "1.00\u{a0}MB"),
            (1_020_000.0, "1.02\u{a0}MB"),
            (2.5e18, "2.50\u{a0}EB"),
        ] {
            assert_eq!(bytes(value).joined(), shown, "{value}");
        }
        assert_eq!(rate(2_410_000.0).joined(), "2.41\u{a0}MB/s");
    }

    #[test]
    fn no_value_is_wider_than_its_box() {
        let mut value = 5.0;
        while value < 9e20 {
            assert!(bytes(value).digits.len() <= 4 || value > 9.9e20, "{value}");
            value *= 1.003;
        }
    }

    #[test]
    fn counts_and_percents() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_204), "1,204");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(percent(1000), "100\u{2009}%");
        assert_eq!(percent(998), "99.8\u{2009}%");
        assert_eq!(percent(5), "0.5\u{2009}%");
    }
}
