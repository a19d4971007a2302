//! Every colour, type style and measure of the window, and how they reach egui.

use egui::{Color32, CornerRadius, FontFamily, FontId, Stroke, Theme, Visuals};

mod fonts;

/// One set of colours. Chrome is grey; a saturated colour is always data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Palette {
    /// Table, chart, fields.
    pub bg: Color32,
    /// Top bar, lenses, inspector.
    pub panel: Color32,
    /// Menus, toasts, cards.
    pub raised: Color32,
    /// The row under the pointer.
    pub hover: Color32,
    /// The selected row, tile or chip.
    pub sel: Color32,
    /// Dividers, tree guides, chart grid: decoration only.
    pub line: Color32,
    /// Outlines of controls, axes.
    pub edge: Color32,
    /// Names, numbers, the fill of a primary button.
    pub text: Color32,
    /// Sentences, second lines.
    pub text2: Color32,
    /// Units, labels, rows of what ended.
    pub text3: Color32,
    /// Download numbers and arrows.
    pub down: Color32,
    /// Upload numbers and arrows.
    pub up: Color32,
    /// Refusals only.
    pub refused: Color32,
    /// Watched files only.
    pub secret: Color32,
    /// Reduced view, gaps, what is not known.
    pub notice: Color32,
    /// Behind a refusal's badge.
    pub refused_bg: Color32,
    /// Behind a secret's badge.
    pub secret_bg: Color32,
    /// Behind a notice's strip.
    pub notice_bg: Color32,
    /// Download in charts: sparkline, selected series.
    pub mark_down: Color32,
    /// Upload in charts: sparkline, selected series.
    pub mark_up: Color32,
    /// Download by rank, the largest first.
    pub down_rank: [Color32; 5],
    /// Upload by rank, the largest first.
    pub up_rank: [Color32; 5],
    /// Everybody else, and whatever is no longer current.
    pub rest: Color32,
    /// Download beside a selection.
    pub muted_down: Color32,
    /// Upload beside a selection.
    pub muted_up: Color32,
}

const fn hex(rgb: u32) -> Color32 {
    Color32::from_rgb((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
}

/// The colours on a dark desktop.
pub const DARK: Palette = Palette {
    bg: hex(0x17_16_14),
    panel: hex(0x1E_1D_1A),
    raised: hex(0x29_27_23),
    hover: hex(0x21_1F_1C),
    sel: hex(0x35_31_2A),
    line: hex(0x32_2F_2A),
    edge: hex(0x8A_82_75),
    text: hex(0xED_E9_E1),
    text2: hex(0xB8_B2_A6),
    text3: hex(0xA5_9E_91),
    down: hex(0x6F_B3_F7),
    up: hex(0xF5_A0_4A),
    refused: hex(0xFF_70_76),
    secret: hex(0xC9_A0_FF),
    notice: hex(0xE6_C7_55),
    refused_bg: hex(0x3A_20_22),
    secret_bg: hex(0x2E_26_38),
    notice_bg: hex(0x33_2C_18),
    mark_down: hex(0x6F_B3_F7),
    mark_up: hex(0xF5_A0_4A),
    down_rank: [hex(0x8C_C4_FA), hex(0x74_AE_E6), hex(0x5D_98_D1), hex(0x46_82_BC), hex(0x2E_6C_A8)],
    up_rank: [hex(0xFF_B8_69), hex(0xE9_A2_54), hex(0xD4_8C_3E), hex(0xBE_75_29), hex(0xA8_5F_14)],
    rest: hex(0x6E_68_5E),
    muted_down: hex(0x4E_73_99),
    muted_up: hex(0x8C_6A_42),
};

/// The colours on a light desktop.
pub const LIGHT: Palette = Palette {
    bg: hex(0xFD_FC_F9),
    panel: hex(0xF4_F1_EA),
    raised: hex(0xFF_FF_FF),
    hover: hex(0xF5_F2_EB),
    sel: hex(0xE9_E3_D6),
    line: hex(0xDF_D9_CC),
    edge: hex(0x7F_77_6A),
    text: hex(0x21_1E_19),
    text2: hex(0x52_4C_42),
    text3: hex(0x65_5E_52),
    down: hex(0x15_5F_B0),
    up: hex(0x9C_46_00),
    refused: hex(0xB8_20_2B),
    secret: hex(0x6E_38_B8),
    notice: hex(0x6E_52_00),
    refused_bg: hex(0xFB_E9_E7),
    secret_bg: hex(0xF1_EA_FB),
    notice_bg: hex(0xF8_F0_D8),
    mark_down: hex(0x1F_6F_C4),
    mark_up: hex(0xC8_64_00),
    down_rank: [hex(0x0E_4C_92), hex(0x20_5E_A4), hex(0x32_70_B6), hex(0x43_81_C9), hex(0x55_93_DB)],
    up_rank: [hex(0x8A_3C_00), hex(0x9D_4A_06), hex(0xB0_58_0B), hex(0xC2_65_10), hex(0xD5_7316)],
    rest: hex(0x93_8C_80),
    muted_down: hex(0x6F_93_BC),
    muted_up: hex(0xB0_82_58),
};

/// The palette that belongs to the theme in force.
pub fn palette(ctx: &egui::Context) -> &'static Palette {
    match ctx.theme() {
        Theme::Dark => &DARK,
        Theme::Light => &LIGHT,
    }
}

/// The type styles of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A page's heading, a large figure: 20/28 600.
    Page,
    /// Inspector title, a state's heading: 15/20 600.
    Heading,
    /// Total rates: 15/20 500.
    Rate,
    /// The default: 13/18 400.
    Body,
    /// Top-level names: 13/18 500.
    BodyMedium,
    /// Headings inside a card: 13/18 600.
    BodyStrong,
    /// Cells with numbers: 12.5/18 400.
    Number,
    /// Secondary text, table heads: 12/18 400.
    Small,
    /// Badges: 12/18 500.
    SmallMedium,
    /// Lens headings, axes, hints: 11/16 400.
    Caption,
    /// Paths, addresses, command lines, kernel names: 12/18 400.
    Mono,
    /// The emphasised part of a mono text: 12/18 500.
    MonoMedium,
    /// An icon of this size in points.
    Icon(u8),
    /// A bold icon of this size in points.
    IconBold(u8),
    /// A filled icon of this size in points.
    IconFill(u8),
}

impl Type {
    /// The font that draws it.
    pub fn font(self) -> FontId {
        let (size, family) = match self {
            Self::Page => (20.0, fonts::SEMIBOLD),
            Self::Heading => (15.0, fonts::SEMIBOLD),
            Self::Rate => (15.0, fonts::MEDIUM),
            Self::Body => (13.0, fonts::REGULAR),
            Self::BodyMedium => (13.0, fonts::MEDIUM),
            Self::BodyStrong => (13.0, fonts::SEMIBOLD),
            Self::Number => (12.5, fonts::REGULAR),
            Self::Small => (12.0, fonts::REGULAR),
            Self::SmallMedium => (12.0, fonts::MEDIUM),
            Self::Caption => (11.0, fonts::REGULAR),
            Self::Mono => (12.0, fonts::MONO),
            Self::MonoMedium => (12.0, fonts::MONO_MEDIUM),
            Self::Icon(size) => (f32::from(size), fonts::ICONS),
            Self::IconBold(size) => (f32::from(size), fonts::ICONS_BOLD),
            Self::IconFill(size) => (f32::from(size), fonts::ICONS_FILL),
        };
        FontId::new(size, FontFamily::Name(family.into()))
    }

    /// The height of one line in points.
    pub fn line(self) -> f32 {
        match self {
            Self::Page => 28.0,
            Self::Heading | Self::Rate => 20.0,
            Self::Caption => 16.0,
            Self::Icon(size) | Self::IconBold(size) | Self::IconFill(size) => f32::from(size),
            _ => 18.0,
        }
    }
}

/// Measures in points. Spacing comes from the scale 2 4 6 8 12 16 24 32.
pub mod measure {
    /// Height of the top bar.
    pub const TOP_BAR: f32 = 48.0;
    /// Width of the lenses with their names.
    pub const LENSES: f32 = 184.0;
    /// Width of the lenses as icons.
    pub const LENSES_NARROW: f32 = 48.0;
    /// Width of the inspector at first.
    pub const INSPECTOR: f32 = 336.0;
    /// Least and greatest width of the inspector.
    pub const INSPECTOR_RANGE: std::ops::RangeInclusive<f32> = 296.0..=480.0;
    /// Height of the timeline.
    pub const TIMELINE: f32 = 184.0;
    /// Height of the timeline in a low window.
    pub const TIMELINE_LOW: f32 = 132.0;
    /// Height of a row and of the head.
    pub const ROW: f32 = 28.0;
    /// Indent for each level of the tree.
    pub const INDENT: f32 = 18.0;
    /// Below this width the lenses lose their names.
    pub const NARROW: f32 = 1280.0;
    /// Below this width the inspector opens over the table.
    pub const COMPACT: f32 = 1160.0;
    /// Below this height the timeline is low.
    pub const LOW: f32 = 720.0;
    /// Least size of the window.
    pub const MIN_WINDOW: [f32; 2] = [720.0, 480.0];
    /// Size of the window at first.
    pub const WINDOW: [f32; 2] = [1440.0, 900.0];
}

/// Loads the fonts and sets both themes' styles.
pub fn install(ctx: &egui::Context) {
    ctx.set_fonts(fonts::definitions());
    for theme in [Theme::Dark, Theme::Light] {
        let palette = if theme == Theme::Dark { &DARK } else { &LIGHT };
        ctx.style_mut_of(theme, |style| {
            style.visuals = visuals(theme, palette);
            style.spacing.item_spacing = egui::vec2(8.0, 4.0);
            style.spacing.button_padding = egui::vec2(8.0, 4.0);
            style.spacing.interact_size.y = 24.0;
            style.spacing.menu_margin = egui::Margin::same(6);
            style.spacing.scroll = egui::style::ScrollStyle {
                floating_allocated_width: 0.0,
                ..egui::style::ScrollStyle::thin()
            };
            // Nothing moves unless traffic does.
            style.animation_time = 0.0;
            style.interaction.tooltip_delay = 0.4;
            for (text, kind) in [
                (egui::TextStyle::Body, Type::Body),
                (egui::TextStyle::Button, Type::Body),
                (egui::TextStyle::Small, Type::Small),
                (egui::TextStyle::Heading, Type::Heading),
                (egui::TextStyle::Monospace, Type::Mono),
            ] {
                style.text_styles.insert(text, kind.font());
            }
        });
    }
}

fn visuals(theme: Theme, p: &Palette) -> Visuals {
    let mut v = theme.default_visuals();
    v.panel_fill = p.panel;
    v.window_fill = p.raised;
    v.window_stroke = Stroke::new(1.0, p.line);
    v.window_corner_radius = CornerRadius::same(6);
    v.menu_corner_radius = CornerRadius::same(6);
    v.extreme_bg_color = p.bg;
    v.text_edit_bg_color = Some(p.bg);
    v.faint_bg_color = p.hover;
    v.code_bg_color = p.bg;
    v.hyperlink_color = p.text;
    v.warn_fg_color = p.notice;
    v.error_fg_color = p.refused;
    v.override_text_color = Some(p.text);
    v.weak_text_color = Some(p.text3);
    v.text_cursor.stroke = Stroke::new(2.0, p.text);
    v.selection.bg_fill = p.sel;
    v.selection.stroke = Stroke::new(2.0, p.text);
    let shadow = egui::Shadow { offset: [0, 2], blur: 8, spread: 0, color: Color32::from_black_alpha(56) };
    v.window_shadow = shadow;
    v.popup_shadow = shadow;
    for (state, fill, stroke) in [
        (&mut v.widgets.noninteractive, p.panel, p.line),
        (&mut v.widgets.inactive, p.raised, p.edge),
        (&mut v.widgets.hovered, p.sel, p.text2),
        (&mut v.widgets.active, p.sel, p.text),
        (&mut v.widgets.open, p.sel, p.text),
    ] {
        state.bg_fill = fill;
        state.weak_bg_fill = fill;
        state.bg_stroke = Stroke::new(1.0, stroke);
        state.fg_stroke = Stroke::new(1.0, p.text);
        state.corner_radius = CornerRadius::same(4);
        state.expansion = 0.0;
    }
    v
}

#[cfg(test)]
mod tests;
