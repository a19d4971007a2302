//! Contrast of the palettes by WCAG 2.1, computed from their values.

use egui::Color32;

use super::{DARK, LIGHT, Palette};

/// Relative luminance (WCAG 2.1 §1.4.3, "relative luminance").
fn luminance(color: Color32) -> f64 {
    let linear = |channel: u8| {
        let c = f64::from(channel) / 255.0;
        if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(color.r()) + 0.7152 * linear(color.g()) + 0.0722 * linear(color.b())
}

fn contrast(a: Color32, b: Color32) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[track_caller]
fn at_least(least: f64, name: &str, mark: Color32, ground: Color32) {
    let found = contrast(mark, ground);
    assert!(found >= least, "{name}: {found:.2} is under {least}");
}

#[test]
fn black_on_white_is_21() {
    assert!((contrast(Color32::BLACK, Color32::WHITE) - 21.0).abs() < 1e-9);
}

fn check(p: &Palette) {
    for ground in [p.bg, p.panel, p.raised, p.hover, p.sel] {
        for (name, mark) in [
            ("text", p.text),
            ("text2", p.text2),
            ("text3", p.text3),
            ("down", p.down),
            ("up", p.up),
            ("refused", p.refused),
            ("secret", p.secret),
            ("notice", p.notice),
        ] {
            at_least(4.5, name, mark, ground);
        }
        at_least(3.0, "edge", p.edge, ground);
    }
    at_least(4.5, "refused on its badge", p.refused, p.refused_bg);
    at_least(4.5, "secret on its badge", p.secret, p.secret_bg);
    at_least(4.5, "notice on its strip", p.notice, p.notice_bg);
    at_least(4.5, "text on a notice", p.text, p.notice_bg);
    at_least(4.5, "text2 on a notice", p.text2, p.notice_bg);
    at_least(4.5, "a primary button's words", p.bg, p.text);
    for (name, mark) in [
        ("mark_down", p.mark_down),
        ("mark_up", p.mark_up),
        ("rest", p.rest),
        ("muted_down", p.muted_down),
        ("muted_up", p.muted_up),
    ] {
        at_least(3.0, name, mark, p.bg);
    }
    for mark in p.down_rank.into_iter().chain(p.up_rank) {
        at_least(3.0, "a rank", mark, p.bg);
    }
}

#[test]
fn dark_is_legible() {
    check(&DARK);
}

#[test]
fn light_is_legible() {
    check(&LIGHT);
}

#[test]
fn ranks_fall_in_contrast() {
    for p in [DARK, LIGHT] {
        for rank in [p.down_rank, p.up_rank] {
            assert!(rank.is_sorted_by(|a, b| contrast(*a, p.bg) > contrast(*b, p.bg)));
        }
    }
}
