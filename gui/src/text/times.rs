//! Times as people read them: how long ago, and by the clock on the wall.

use jiff::{Timestamp as Instant, Zoned, tz::TimeZone};
use sekhmet_common::time::Timestamp;

/// How long before `now` something was: `now`, `34 s`, `3 min`, `2 h`, then the date.
pub fn ago(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let seconds = now.nanos_since(at) / 1_000_000_000;
    match seconds {
        0..=2 => "now".into(),
        3..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min", seconds / 60),
        3_600..=86_399 => format!("{} h", seconds / 3_600),
        _ => date(at, zone),
    }
}

/// How long something has lasted: `4 s`, `3 min`, `2 h`, `5 days`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min", seconds / 60),
        3_600..=86_399 => format!("{} h", seconds / 3_600),
        86_400..=172_799 => "1 day".into(),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A clock time with seconds: `14:04:11`.
pub fn clock(at: Timestamp, zone: &TimeZone) -> String {
    zoned(at, zone).map_or_else(|| at.to_string(), |z| z.strftime("%H:%M:%S").to_string())
}

/// A clock time with milliseconds: `14:04:11.204`. Only evidence needs them.
pub fn millis(at: Timestamp, zone: &TimeZone) -> String {
    zoned(at, zone).map_or_else(|| at.to_string(), |z| z.strftime("%H:%M:%S%.3f").to_string())
}

/// A clock time in minutes: `14:04`.
pub fn minute(at: Timestamp, zone: &TimeZone) -> String {
    zoned(at, zone).map_or_else(|| at.to_string(), |z| z.strftime("%H:%M").to_string())
}

/// A date: `14 Nov`.
pub fn date(at: Timestamp, zone: &TimeZone) -> String {
    zoned(at, zone).map_or_else(|| at.to_string(), |z| z.strftime("%-d %b").to_string())
}

fn zoned(at: Timestamp, zone: &TimeZone) -> Option<Zoned> {
    Some(Instant::from_nanosecond(i128::from(at.0)).ok()?.to_zoned(zone.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_grow_coarser() {
        let s = 1_000_000_000;
        let now = Timestamp(1_763_700_000 * s);
        for (seconds, shown) in [
            (0, "now"),
            (2, "now"),
            (34, "34 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (7_300, "2 h"),
            (90_000, "20 Nov"),
            (-5, "now"),
        ] {
            assert_eq!(ago(Timestamp(now.0 - seconds * s), now, &TimeZone::UTC), shown, "{seconds}");
        }
        assert_eq!(clock(now, &TimeZone::UTC), "04:40:00");
        assert_eq!(millis(Timestamp(now.0 + 204_900_000), &TimeZone::UTC), "04:40:00.204");
        assert_eq!(minute(now, &TimeZone::UTC), "04:40");
        assert_eq!(span(3 * 86_400), "3 days");
    }
}
