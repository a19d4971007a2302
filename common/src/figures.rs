//! Amounts, rates and counts as people read them: three digits, decimal units, the same in every client.

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
