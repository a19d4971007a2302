//! The last minute of one row: download grows up, upload grows down.

use egui::{Color32, Painter, Rangef, Rect};

use super::paint;
use crate::model::series::{Both, SPARK_STEPS};

/// Size in points.
pub const SIZE: egui::Vec2 = egui::vec2(90.0, 22.0);

const STEP: f32 = 3.0;
const HALF: f32 = 10.0;
/// Bends the scale so that a slow talker is still seen beside a fast one.
const BEND: f64 = 0.3;

/// Draws the steps around the middle of `rect`. `peak` is the largest rate in any visible row.
pub fn sparkline(
    painter: &Painter,
    rect: Rect,
    steps: &[Both; SPARK_STEPS],
    peak: f64,
    [down, up, axis]: [Color32; 3],
) {
    let middle = paint::snap(painter, rect.center().y - 0.5);
    let line = paint::pixels(painter, 1.0);
    paint::hline(painter, rect.x_range(), middle, axis);
    let mut bars = paint::Bars::default();
    for (i, step) in steps.iter().enumerate() {
        let left = paint::snap(painter, rect.left() + i as f32 * STEP);
        let x = Rangef::new(left, paint::snap(painter, rect.left() + (i + 1) as f32 * STEP));
        let height = |rate: f64| paint::snap(painter, scaled(rate, peak)).max(line);
        if step.down > 0.0 {
            let y = Rangef::new(middle - height(step.down), middle);
            bars.add(x, y, down);
        }
        if step.up > 0.0 {
            let y = Rangef::new(middle + line, middle + line + height(step.up));
            bars.add(x, y, up);
        }
    }
    bars.draw(painter);
}

/// Height in points of a rate, given the peak.
fn scaled(rate: f64, peak: f64) -> f32 {
    if peak <= 0.0 || rate <= 0.0 {
        return 0.0;
    }
    ((rate / peak).min(1.0).powf(BEND) as f32 * HALF).max(1.0)
}

/// Whether a series rises or falls: the last half against the first, more than a quarter of difference.
pub fn trend(values: impl Iterator<Item = f64> + Clone) -> Trend {
    let n = values.clone().count();
    let before: f64 = values.clone().take(n / 2).sum();
    let after: f64 = values.skip(n / 2).sum();
    if after > before * 1.25 && after > 0.0 {
        Trend::Rising
    } else if after < before * 0.75 {
        Trend::Falling
    } else {
        Trend::Steady
    }
}

/// Where a series goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// Up.
    Rising,
    /// Neither.
    Steady,
    /// Down.
    Falling,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_talkers_are_seen() {
        assert_eq!(scaled(0.0, 1e6), 0.0);
        assert_eq!(scaled(1e6, 1e6), HALF);
        assert_eq!(scaled(1e9, 1e6), HALF);
        assert!(scaled(1.0, 1e9) >= 1.0);
        assert!(scaled(1e3, 1e6) > 1.2);
    }

    #[test]
    fn trends_need_a_quarter_of_difference() {
        assert_eq!(trend([1.0, 1.0, 1.2, 1.2].into_iter()), Trend::Steady);
        assert_eq!(trend([1.0, 1.0, 2.0, 2.0].into_iter()), Trend::Rising);
        assert_eq!(trend([2.0, 2.0, 1.0, 1.0].into_iter()), Trend::Falling);
        assert_eq!(trend(std::iter::empty()), Trend::Steady);
    }
}
