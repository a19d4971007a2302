//! Badges: a word with its sign, on the ground that belongs to it.

use egui::{Painter, Pos2, Rangef, Rect, Stroke, StrokeKind, pos2, vec2};

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

/// The width of a badge about a watched file, with its sign or without.
pub fn secret_width(painter: &Painter, word: &str, sign: bool) -> f32 {
    paint::width(painter, Type::SmallMedium, word) + if sign { 30.0 } else { 12.0 }
}

/// The badge of what a row opened: the sign, and as many words as there is room for. One that was expected is
/// grey. Returns where it is, or nothing if there is no room even for the sign.
pub fn secret(
    painter: &Painter,
    range: Rangef,
    middle: f32,
    word: &str,
    unexpected: bool,
    p: &Palette,
) -> Option<Rect> {
    let sign = 24.0;
    if range.span() < sign {
        return None;
    }
    let wanted = secret_width(painter, word, true);
    let width = if wanted <= range.span() {
        wanted
    } else if range.span() >= 96.0 {
        range.span()
    } else {
        sign
    };
    let rect = Rect::from_min_size(pos2(range.min, middle - HEIGHT / 2.0), vec2(width, HEIGHT));
    let ink = ground(painter, rect, unexpected, p);
    paint::icon(painter, pos2(rect.left() + 12.0, middle), Type::IconFill(13), ink, icons::KEY);
    if width > sign {
        let range = Rangef::new(rect.left() + 22.0, rect.right() - 6.0);
        paint::text_within(painter, range, middle, Type::SmallMedium, ink, word);
    }
    Some(rect)
}

/// The badge that says what a file is. Returns where it is.
pub fn label(
    painter: &Painter,
    range: Rangef,
    middle: f32,
    word: &str,
    unexpected: bool,
    p: &Palette,
) -> Rect {
    let width = secret_width(painter, word, false).min(range.span().max(0.0));
    let rect = Rect::from_min_size(pos2(range.min, middle - HEIGHT / 2.0), vec2(width, HEIGHT));
    if width < 24.0 {
        return Rect::from_min_size(rect.min, vec2(0.0, HEIGHT));
    }
    let ink = ground(painter, rect, unexpected, p);
    let range = Rangef::new(rect.left() + 6.0, rect.right() - 5.0);
    paint::text_within(painter, range, middle, Type::SmallMedium, ink, word);
    rect
}

fn ground(painter: &Painter, rect: Rect, unexpected: bool, p: &Palette) -> egui::Color32 {
    if unexpected {
        painter.rect_filled(rect, 3.0, p.secret_bg);
        p.secret
    } else {
        painter.rect_stroke(rect, 3.0, Stroke::new(1.0, p.edge), StrokeKind::Inside);
        p.text2
    }
}
