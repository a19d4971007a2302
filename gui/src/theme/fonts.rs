//! The fonts the window brings along and the families made of them.

use std::sync::Arc;

use egui::{FontData, FontDefinitions, FontFamily, FontTweak, epaint::text::VariationCoords};

pub(super) const REGULAR: &str = "plex-400";
pub(super) const MEDIUM: &str = "plex-500";
pub(super) const SEMIBOLD: &str = "plex-600";
pub(super) const MONO: &str = "plex-mono-400";
pub(super) const MONO_MEDIUM: &str = "plex-mono-500";
pub(super) const ICONS: &str = "phosphor";
pub(super) const ICONS_BOLD: &str = "phosphor-bold";
pub(super) const ICONS_FILL: &str = "phosphor-fill";

const PLEX_SANS: &[u8] = include_bytes!("../../../assets/fonts/IBMPlexSans[wdth,wght].ttf");
const PLEX_MONO: &[u8] = include_bytes!("../../../assets/fonts/IBMPlexMono-Regular.ttf");
const PLEX_MONO_MEDIUM: &[u8] = include_bytes!("../../../assets/fonts/IBMPlexMono-Medium.ttf");
const PHOSPHOR: &[u8] = include_bytes!("../../../assets/fonts/Phosphor.ttf");
const PHOSPHOR_BOLD: &[u8] = include_bytes!("../../../assets/fonts/Phosphor-Bold.ttf");
const PHOSPHOR_FILL: &[u8] = include_bytes!("../../../assets/fonts/Phosphor-Fill.ttf");

/// Every family, each with egui's own fonts behind it for what Plex does not draw.
pub(super) fn definitions() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let fallback = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    let files: [(&str, &'static [u8], Option<f32>); 8] = [
        (REGULAR, PLEX_SANS, Some(400.0)),
        (MEDIUM, PLEX_SANS, Some(500.0)),
        (SEMIBOLD, PLEX_SANS, Some(600.0)),
        (MONO, PLEX_MONO, None),
        (MONO_MEDIUM, PLEX_MONO_MEDIUM, None),
        (ICONS, PHOSPHOR, None),
        (ICONS_BOLD, PHOSPHOR_BOLD, None),
        (ICONS_FILL, PHOSPHOR_FILL, None),
    ];
    for (name, bytes, weight) in files {
        let mut data = FontData::from_static(bytes);
        if let Some(weight) = weight {
            let coords = VariationCoords::new([(b"wght", weight), (b"wdth", 100.0)]);
            data = data.tweak(FontTweak { coords, ..FontTweak::default() });
        }
        fonts.font_data.insert(name.to_owned(), Arc::new(data));
        let family = std::iter::once(name.to_owned()).chain(fallback.iter().cloned()).collect();
        fonts.families.insert(FontFamily::Name(name.into()), family);
    }
    for (family, name) in [(FontFamily::Proportional, REGULAR), (FontFamily::Monospace, MONO)] {
        fonts.families.entry(family).or_default().insert(0, name.to_owned());
    }
    fonts
}
