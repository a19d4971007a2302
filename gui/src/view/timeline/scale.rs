//! How high the chart reaches: a round number that does not move with every gust.

use super::stack::Stack;

/// Part of the plot's height above the axis.
pub(super) const ABOVE: f64 = 0.56;
/// A side that stays under this part of the other is enlarged.
const SMALL: f64 = 0.1;
/// Seconds that the maximum must be too large before it shrinks.
const PATIENCE: f64 = 10.0;

/// What the chart was scaled to, and since when that is too much.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::view) struct Scale {
    top: f64,
    too_large_since: Option<f64>,
}

/// The scale of one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    /// Bytes per second at the upper edge.
    pub(super) top: f64,
    /// How often each side is enlarged: 1 or 10.
    pub(super) times_down: f64,
    pub(super) times_up: f64,
}

impl Scale {
    pub(super) fn update(&mut self, stack: &Stack, time: f64) -> Range {
        let totals = stack.totals();
        let down = totals.iter().map(|b| b.down).fold(0.0, f64::max);
        let up = totals.iter().map(|b| b.up).fold(0.0, f64::max);
        let (times_down, times_up) = (enlarge(down, up), enlarge(up, down));
        // The same scale on both sides: what the lower part must hold counts as if it were above.
        let need = (down * times_down).max(up * times_up * ABOVE / (1.0 - ABOVE));
        let wanted = round_up(need);
        if need > self.top || self.top == 0.0 {
            (self.top, self.too_large_since) = (wanted, None);
        } else if need < self.top * 0.4 {
            let since = *self.too_large_since.get_or_insert(time);
            if time - since >= PATIENCE {
                (self.top, self.too_large_since) = (wanted, None);
            }
        } else {
            self.too_large_since = None;
        }
        Range { top: self.top, times_down, times_up }
    }
}

fn enlarge(side: f64, other: f64) -> f64 {
    if side > 0.0 && side < other * SMALL { 10.0 } else { 1.0 }
}

/// The next of 1, 2, 5, 10, 20 …; at least 1 kB/s.
fn round_up(need: f64) -> f64 {
    if need <= 1000.0 {
        return 1000.0;
    }
    let power = 10f64.powf(need.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= need).unwrap_or(need)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxima_are_round() {
        for (need, top) in
            [(0.0, 1e3), (1_001.0, 2e3), (2_000.0, 2e3), (3.9e6, 5e6), (5.1e6, 1e7), (9.9e8, 1e9)]
        {
            assert_eq!(round_up(need), top, "{need}");
        }
    }

    #[test]
    fn a_small_side_is_enlarged() {
        assert_eq!(enlarge(5.0, 100.0), 10.0);
        assert_eq!(enlarge(10.0, 100.0), 1.0);
        assert_eq!(enlarge(0.0, 100.0), 1.0);
    }
}
