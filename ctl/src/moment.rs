//! Moments as people read them: in the time of the place where they are.

use jiff::{Timestamp as Moment, fmt::strtime, tz::TimeZone};
use sekhmet_common::time::Timestamp;

/// Knows the time zone.
#[derive(Debug)]
pub(crate) struct Clock(TimeZone);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(TimeZone::system())
    }

    /// Year, month, day and the time to the second.
    pub(crate) fn day_and_time(&self, at: Timestamp) -> String {
        let moment = Moment::from_nanosecond(i128::from(at.0));
        let text = moment.and_then(|m| strtime::format("%Y-%m-%d %H:%M:%S", &m.to_zoned(self.0.clone())));
        text.unwrap_or_else(|_| at.to_string())
    }
}
