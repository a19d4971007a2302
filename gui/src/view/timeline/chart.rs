//! The drawing of the chart: grid, columns, gaps, time axis.

use egui::{Painter, Rangef, Rect, Shape, Stroke, pos2};
use sekhmet_common::time::Timestamp;

use super::{
    scale::{ABOVE, Range},
    stack::{SECONDS, Stack},
};
use crate::{
    model::{Model, ledger::Gap},
    text::{self, times},
    theme::{Palette, Type},
    widget::paint::{self, Bars, Side},
};

/// Under this width two seconds share a column.
const NARROW: f32 = 600.0;
/// Under this height there is one line for each side.
const LOW: f32 = 120.0;

pub(super) struct Chart {
    pub(super) plot: Rect,
    pub(super) range: Range,
    /// The present; the last column is the second before it.
    pub(super) second: u32,
}

impl Chart {
    fn axis(&self) -> f32 {
        self.plot.top() + self.plot.height() * ABOVE as f32
    }

    /// Points for a rate, before enlargement.
    fn height(&self, rate: f64) -> f32 {
        (rate / self.range.top) as f32 * (self.axis() - self.plot.top())
    }

    fn x(&self, painter: &Painter, index: usize) -> f32 {
        paint::snap(painter, self.plot.left() + self.plot.width() * index as f32 / SECONDS as f32)
    }

    /// Where a second stands, if it is in the chart.
    pub(super) fn x_of(&self, painter: &Painter, second: u32) -> Option<f32> {
        let begin = self.second.saturating_sub(SECONDS as u32);
        (begin..=self.second).contains(&second).then(|| self.x(painter, (second - begin) as usize))
    }

    /// Lines and what they stand for.
    pub(super) fn grid(&self, painter: &Painter, scale_right: f32, p: &Palette) {
        let parts: &[f64] = if self.plot.height() < LOW { &[1.0] } else { &[0.25, 0.5, 0.75, 1.0] };
        let (axis, x) = (self.axis(), self.plot.x_range());
        for part in parts {
            let rate = self.range.top * part;
            let (up, down) = (axis - self.height(rate), axis + self.height(rate));
            paint::hline(painter, x, up, p.line);
            let fits_below = down <= self.plot.bottom();
            if fits_below {
                paint::hline(painter, x, down, p.line);
            }
            if *part != 0.5 && *part != 1.0 {
                continue;
            }
            let label = |y: f32, times: f64| {
                let words = scale_label(rate / times);
                paint::text(painter, pos2(scale_right, y), Side::Right, Type::Caption, p.text3, words);
            };
            label(up, self.range.times_down);
            if fits_below {
                label(down, self.range.times_up);
            }
        }
        for (times, y) in [(self.range.times_down, axis - 9.0), (self.range.times_up, axis + 9.0)] {
            if times > 1.0 {
                paint::text(
                    painter,
                    pos2(scale_right, y),
                    Side::Right,
                    Type::Caption,
                    p.text2,
                    text::timeline::TIMES_TEN,
                );
            }
        }
    }

    /// One column for each second, or for two in a narrow chart; each layer on the one before.
    pub(super) fn columns(&self, painter: &Painter, stack: &Stack, stale: bool, p: &Palette) {
        let share = if self.plot.width() < NARROW { 2 } else { 1 };
        let line = paint::pixels(painter, 1.0);
        let axis = paint::snap(painter, self.axis());
        let mut bars = Bars::default();
        let layers: Vec<_> = stack.axis_outwards().collect();
        for index in (0..SECONDS).step_by(share) {
            let x = Rangef::new(self.x(painter, index), self.x(painter, index + share) - line);
            let (mut above, mut below) = (0.0, 0.0);
            for (place, layer) in &layers {
                let values = layer.seconds.get(index..index + share).unwrap_or_default();
                let mean = |of: fn(&crate::model::series::Both) -> f64| {
                    values.iter().map(of).sum::<f64>() / share as f64
                };
                let (down, up) = if stale { (p.rest, p.rest) } else { stack.colors(*place, p) };
                let (from, to) = (above, above + mean(|b| b.down) * self.range.times_down);
                if to > from {
                    let y = Rangef::new(self.edge(painter, -to), self.edge(painter, -from));
                    bars.add(x, at_least(y, line, from == 0.0, true), down);
                }
                above = to;
                let (from, to) = (below, below + mean(|b| b.up) * self.range.times_up);
                if to > from {
                    let y = Rangef::new(self.edge(painter, from) + line, self.edge(painter, to) + line);
                    bars.add(x, at_least(y, line, from == 0.0, false), up);
                }
                below = to;
            }
        }
        bars.draw(painter);
        paint::hline(painter, self.plot.x_range(), axis, p.edge);
    }

    fn edge(&self, painter: &Painter, rate: f64) -> f32 {
        let height = self.height(rate.abs()).min(self.plot.height());
        let y = if rate < 0.0 { self.axis() - height } else { self.axis() + height };
        paint::snap(painter, y.clamp(self.plot.top(), self.plot.bottom()))
    }

    /// Where nothing was recorded there is a frame and the reason, never a guess.
    pub(super) fn gaps(&self, painter: &Painter, gaps: &[Gap], p: &Palette) {
        let begin = self.second.saturating_sub(SECONDS as u32);
        for gap in gaps.iter().filter(|gap| gap.to >= begin && gap.to >= gap.from) {
            let left = self.x(painter, gap.from.saturating_sub(begin) as usize);
            let right = self.x(painter, (gap.to + 1 - begin) as usize).min(self.plot.right());
            let rect = Rect::from_x_y_ranges(Rangef::new(left, right), self.plot.y_range()).shrink(0.5);
            let corners =
                [rect.left_top(), rect.right_top(), rect.right_bottom(), rect.left_bottom(), rect.left_top()];
            painter.extend(Shape::dashed_line(&corners, Stroke::new(1.0, p.notice), 2.0, 2.0));
            if rect.width() > paint::width(painter, Type::Caption, text::NOT_RECORDING) + 8.0 {
                let at = pos2(rect.center().x, rect.top() + 10.0);
                paint::text(painter, at, Side::Centre, Type::Caption, p.notice, text::NOT_RECORDING);
            }
        }
    }

    /// The minutes below the chart.
    pub(super) fn times(&self, painter: &Painter, model: &Model, p: &Palette) {
        let begin = self.second.saturating_sub(SECONDS as u32);
        let middle = self.plot.bottom() + 10.0;
        let now = paint::text(
            painter,
            pos2(self.plot.right(), middle),
            Side::Right,
            Type::Caption,
            p.text3,
            text::NOW,
        );
        for second in (begin..self.second).filter(|s| s.is_multiple_of(60)) {
            let x = self.x(painter, (second - begin) as usize);
            let words = times::minute(Timestamp(i64::from(second) * 1_000_000_000), &model.zone);
            let half = paint::width(painter, Type::Caption, &words) / 2.0;
            if x + half > now.left() - 8.0 || x - half < self.plot.left() {
                continue;
            }
            paint::vline(painter, x, Rangef::new(self.plot.bottom(), self.plot.bottom() + 3.0), p.edge);
            paint::text(painter, pos2(x, middle), Side::Centre, Type::Caption, p.text3, words);
        }
    }

    /// Which column stands at `x`.
    pub(super) fn second_at(&self, x: f32) -> Option<usize> {
        let part = (x - self.plot.left()) / self.plot.width();
        ((0.0..1.0).contains(&part)).then_some((part * SECONDS as f32) as usize)
    }

    /// The line through the column that the legend tells about.
    pub(super) fn hairline(&self, painter: &Painter, index: usize, p: &Palette) {
        paint::vline(painter, self.x(painter, index), self.plot.y_range(), p.text2);
    }
}

/// A column that is not nothing is at least one pixel high at the axis.
fn at_least(y: Rangef, line: f32, at_axis: bool, above: bool) -> Rangef {
    match (at_axis && y.span() < line, above) {
        (false, _) => y,
        (true, true) => Rangef::new(y.max - line, y.max),
        (true, false) => Rangef::new(y.min, y.min + line),
    }
}

/// A round rate without needless digits: `2.5 MB/s`, `500 kB/s`.
fn scale_label(rate: f64) -> String {
    let (mut value, mut unit) = (rate / 1e3, text::timeline::UNIT);
    for next in text::timeline::LARGER_UNITS {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    let digits = format!("{value:.2}");
    format!("{} {unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_labels_are_short() {
        assert_eq!(scale_label(2_500_000.0), "2.5 MB/s");
        assert_eq!(scale_label(500_000.0), "500 kB/s");
        assert_eq!(scale_label(250.0), "0.25 kB/s");
        assert_eq!(scale_label(1e9), "1 GB/s");
    }
}
