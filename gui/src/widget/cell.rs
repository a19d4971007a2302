//! Numbers in their columns: digits end at one vertical line, units begin at another.

use egui::{Color32, Painter, Rect, pos2};

use super::paint::{self, Side};
use crate::{
    text::numbers::Figure,
    theme::{Palette, Type},
};

/// Width of the box for the unit of a rate.
pub const RATE_UNIT: f32 = 32.0;
/// Width of the box for the unit of an amount.
pub const AMOUNT_UNIT: f32 = 22.0;
/// Between digits and unit.
pub const UNIT_GAP: f32 = 4.0;

/// Draws a figure whose digits end at `right`.
pub fn figure(
    painter: &Painter,
    right: f32,
    middle: f32,
    kind: Type,
    figure: &Figure,
    color: Color32,
    p: &Palette,
) -> Rect {
    if figure.is_none() {
        return paint::text(painter, pos2(right, middle), Side::Right, kind, p.text3, figure.digits.as_str());
    }
    let digits = paint::text(painter, pos2(right, middle), Side::Right, kind, color, figure.digits.as_str());
    let at = pos2(right + UNIT_GAP, middle);
    let unit = paint::text(painter, at, Side::Left, Type::Small, p.text3, figure.unit);
    digits.union(unit)
}
