//! Badges: a word with its sign, on the ground that belongs to it.

use egui::{Painter, Pos2, Rect, pos2, vec2};

use super::paint::{self, Side};
use crate::{
    icons,
    theme::{Palette, Type},
};

/// Height of a badge.
const HEIGHT: f32 = 20.0;

/// The badge of what is refused. Returns where it is.
pub fn refused(painter: &Painter, left: Pos2, word: &str, p: &Palette) -> Rect {
    let width = paint::width(painter, Type::SmallMedium, word) + 30.0;
    let rect = Rect::from_min_size(pos2(left.x, left.y - HEIGHT / 2.0), vec2(width, HEIGHT));
    painter.rect_filled(rect, 4.0, p.refused_bg);
    let at = pos2(rect.left() + 12.0, left.y);
    paint::icon(painter, at, Type::IconBold(12), p.refused, icons::BLOCK);
    let at = pos2(rect.left() + 22.0, left.y);
    paint::text(painter, at, Side::Left, Type::SmallMedium, p.refused, word);
    rect
}
