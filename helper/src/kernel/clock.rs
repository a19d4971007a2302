//! From the kernel's clock, which runs on through suspend and is never set, to the wall clock.

use rustix::time::{ClockId, clock_gettime};
use sekhmet_common::time::Timestamp;

/// The wall clock's lead over `CLOCK_BOOTTIME` at one moment.
///
/// Taken anew now and then: the wall clock may be set. Times that were told already stay as they were.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    lead_ns: i64,
}

impl Clock {
    /// Reads both clocks.
    pub fn read() -> Self {
        let boot = i64::try_from(boot_ns()).unwrap_or(i64::MAX);
        Self { lead_ns: Timestamp::now().0.saturating_sub(boot) }
    }

    /// When something happened that the kernel saw at `boot_ns`.
    pub fn wall(self, boot_ns: u64) -> Timestamp {
        Timestamp(i64::try_from(boot_ns).unwrap_or(i64::MAX).saturating_add(self.lead_ns))
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
pub fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_is_the_present_on_both() {
        let apart = Clock::read().wall(boot_ns()).0 - Timestamp::now().0;
        assert!(apart.abs() < 50_000_000, "{apart} ns");
        assert_eq!(Clock { lead_ns: i64::MAX }.wall(u64::MAX), Timestamp(i64::MAX));
    }
}
