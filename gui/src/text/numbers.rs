//! Numbers as people read them: three digits, decimal units, never wider than their box.

/// A number and its unit, to be set apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The digits, a dash for zero.
    pub digits: String,
    /// The unit; empty for zero.
    pub unit: &'static str,
}

impl Figure {
    /// Exactly nothing.
    pub fn none() -> Self {
        Self { digits: "–".into(), unit: "" }
    }

    /// Whether it is exactly nothing.
    pub fn is_none(&self) -> bool {
        self.unit.is_empty()
    }

    /// Digits and unit in one line.
    pub fn joined(&self) -> String {
        if self.is_none() { self.digits.clone() } else { format!("{}\u{a0}{}", self.digits, self.unit) }
    }
}

const AMOUNTS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
const RATES: [&str; 6] = ["kB/s", "MB/s", "GB/s", "TB/s", "PB/s", "EB/s"];

/// An amount of bytes.
pub fn bytes(bytes: f64) -> Figure {
    figure(bytes, AMOUNTS)
}

/// A rate in bytes per second.
pub fn rate(bytes_per_second: f64) -> Figure {
    figure(bytes_per_second, RATES)
}

/// Three significant digits, at most four characters; the unit steps up at 999.5, and `kB` is the smallest.
fn figure(value: f64, units: [&'static str; 6]) -> Figure {
    if value.is_nan() || value <= 0.0 {
        return Figure::none();
    }
    if value < 5.0 {
        return Figure { digits: "<0.01".into(), unit: units[0] };
    }
    let mut scaled = value / 1000.0;
    let mut unit = units[0];
    for next in &units[1..] {
        if scaled < 999.5 {
            break;
        }
        (scaled, unit) = (scaled / 1000.0, next);
    }
    let digits = if scaled < 9.995 {
        format!("{scaled:.2}")
    } else if scaled < 99.95 {
        format!("{scaled:.1}")
    } else {
        format!("{scaled:.0}")
    };
    Figure { digits, unit }
}

/// A count, its thousands set apart by commas.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

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
