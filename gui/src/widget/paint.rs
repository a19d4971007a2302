//! Text and icons at exact places: on a common baseline, cut in the middle where room ends.

use std::sync::Arc;

use egui::{Color32, Galley, Painter, Pos2, Rangef, Rect, pos2};
use sekhmet_common::display::cut_middle;

use crate::theme::Type;

/// Where a text stands against its x coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It begins there.
    Left,
    /// It ends there.
    Right,
    /// It is centred there.
    Centre,
}

/// Half the height of Plex capitals, as a part of the size: 0.698 em, measured in the font.
const HALF_CAPITAL: f32 = 0.349;

/// How far the baseline lies below the middle of a line. Small styles share the baseline of body text.
fn baseline(kind: Type) -> f32 {
    HALF_CAPITAL * kind.font().size.max(13.0)
}

fn put(painter: &Painter, x: f32, middle: f32, side: Side, kind: Type, galley: Arc<Galley>) -> Rect {
    let width = galley.size().x;
    let left = match side {
        Side::Left => x,
        Side::Right => x - width,
        Side::Centre => x - width / 2.0,
    };
    let is_icon = matches!(kind, Type::Icon(_) | Type::IconBold(_) | Type::IconFill(_));
    let first = galley.rows.first().and_then(|row| row.row.glyphs.first().map(|g| row.pos.y + g.pos.y));
    let top = match first {
        Some(base) if !is_icon => middle + baseline(kind) - base,
        _ => middle - galley.size().y / 2.0,
    };
    let rect = Rect::from_min_size(pos2(left, top), galley.size());
    painter.galley(rect.min, galley, Color32::PLACEHOLDER);
    rect
}

/// Draws one line of text around the height `middle`. Returns where it is.
pub fn text(
    painter: &Painter,
    at: Pos2,
    side: Side,
    kind: Type,
    color: Color32,
    text: impl Into<String>,
) -> Rect {
    let galley = painter.layout_no_wrap(text.into(), kind.font(), color);
    put(painter, at.x, at.y, side, kind, galley)
}

/// Draws one line of text within a range, cut in the middle if it does not fit. Returns where it is, and
/// whether it was cut.
pub fn text_within(
    painter: &Painter,
    range: Rangef,
    middle: f32,
    kind: Type,
    color: Color32,
    text: &str,
) -> (Rect, bool) {
    let width = range.span().max(0.0);
    let whole = painter.layout_no_wrap(text.to_owned(), kind.font(), color);
    if whole.size().x <= width {
        return (put(painter, range.min, middle, Side::Left, kind, whole), false);
    }
    let mut graphemes = text.chars().count();
    let mut size = whole.size().x;
    let mut galley = whole;
    while size > width && graphemes > 1 {
        let guess = (graphemes as f32 * width / size) as usize;
        graphemes = guess.clamp(1, graphemes - 1);
        galley = painter.layout_no_wrap(cut_middle(text, graphemes).into_owned(), kind.font(), color);
        size = galley.size().x;
    }
    if size > width {
        return (Rect::from_min_size(pos2(range.min, middle), egui::Vec2::ZERO), true);
    }
    (put(painter, range.min, middle, Side::Left, kind, galley), true)
}

/// The width of a text.
pub fn width(painter: &Painter, kind: Type, text: &str) -> f32 {
    painter.layout_no_wrap(text.to_owned(), kind.font(), Color32::PLACEHOLDER).size().x
}

/// Draws a wrapped text from its top left corner, at most so many lines. Returns where it is.
pub fn paragraph(
    painter: &Painter,
    at: Pos2,
    width: f32,
    lines: usize,
    kind: Type,
    color: Color32,
    text: &str,
) -> Rect {
    let mut job = egui::text::LayoutJob::simple(text.to_owned(), kind.font(), color, width);
    job.wrap.max_rows = lines;
    job.wrap.break_anywhere = false;
    if let Some(section) = job.sections.first_mut() {
        section.format.line_height = Some(kind.line());
    }
    let galley = painter.layout_job(job);
    let rect = Rect::from_min_size(at, galley.size());
    painter.galley(at, galley, color);
    rect
}

/// Draws an icon around a point.
pub fn icon(painter: &Painter, centre: Pos2, kind: Type, color: Color32, icon: &str) -> Rect {
    text(painter, centre, Side::Centre, kind, color, icon)
}

/// Many filled rectangles on whole pixels, drawn at once and with hard edges.
#[derive(Default)]
pub struct Bars(egui::Mesh);

impl Bars {
    /// Adds a rectangle.
    pub fn add(&mut self, x: Rangef, y: Rangef, color: Color32) {
        self.0.add_colored_rect(Rect::from_x_y_ranges(x, y), color);
    }

    /// Draws them all.
    pub fn draw(self, painter: &Painter) {
        if !self.0.is_empty() {
            painter.add(egui::Shape::mesh(self.0));
        }
    }
}

/// Rounds a length to whole physical pixels, at least one.
pub fn pixels(painter: &Painter, points: f32) -> f32 {
    let scale = painter.pixels_per_point();
    (points * scale).round().max(1.0) / scale
}

/// Rounds a coordinate to the border of a physical pixel.
pub fn snap(painter: &Painter, coordinate: f32) -> f32 {
    let scale = painter.pixels_per_point();
    (coordinate * scale).round() / scale
}

/// A horizontal hairline on whole pixels, its upper edge at `y`.
pub fn hline(painter: &Painter, x: Rangef, y: f32, color: Color32) {
    let (y, height) = (snap(painter, y), pixels(painter, 1.0));
    painter.rect_filled(Rect::from_x_y_ranges(x, Rangef::new(y, y + height)), 0.0, color);
}

/// A vertical hairline on whole pixels, its left edge at `x`.
pub fn vline(painter: &Painter, x: f32, y: Rangef, color: Color32) {
    let (x, width) = (snap(painter, x), pixels(painter, 1.0));
    painter.rect_filled(Rect::from_x_y_ranges(Rangef::new(x, x + width), y), 0.0, color);
}
