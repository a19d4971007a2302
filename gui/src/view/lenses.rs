//! The lenses: views on the same table, and pages.

use egui::{Rect, Role, Ui, pos2, vec2};

use crate::{
    command::{Command, Commands},
    icons,
    model::{Model, screen::Lens},
    text::{self, numbers},
    theme::{Type, measure, palette},
    widget::{
        button,
        paint::{self, Side},
    },
};

const ROW: f32 = 30.0;

pub(super) fn show(ui: &Ui, model: &Model, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let rect = ui.max_rect();
    let wide = rect.width() >= measure::LENSES;
    let mut y = rect.top() + 8.0;
    let groups = [
        (text::LENS_WHO, &Lens::ALL[..5]),
        (text::LENS_LOOK, &Lens::ALL[5..6]),
        (text::LENS_APPLIES, &Lens::ALL[6..]),
    ];
    for (heading, lenses) in groups {
        if wide {
            let at = pos2(rect.left() + 16.0, y + 10.0);
            paint::text(ui.painter(), at, Side::Left, Type::Caption, p.text3, heading);
            y += 22.0;
        }
        for lens in lenses {
            let row = Rect::from_min_size(pos2(rect.left(), y), vec2(rect.width() - 1.0, ROW));
            lens_ui(ui, row, *lens, wide, model, commands);
            y += ROW;
        }
        y += 8.0;
        if !wide && heading != text::LENS_APPLIES {
            paint::hline(ui.painter(), rect.shrink2(vec2(12.0, 0.0)).x_range(), y, p.line);
            y += 8.0;
        }
    }
}

fn lens_ui(ui: &Ui, rect: Rect, lens: Lens, wide: bool, model: &Model, commands: &mut Commands) {
    let p = palette(ui.ctx());
    let painter = ui.painter();
    let name = text::lens(lens);
    let count = model.tree().counts.get(&lens).copied().unwrap_or(0);
    let label = if count > 0 { format!("{name}, {count}") } else { name.to_owned() };
    let response = button::place(ui, rect, ui.scope_id().with(lens), Role::Tab, &label);
    let selected = model.screen.lens == lens;
    if selected {
        painter.rect_filled(rect, 0.0, p.sel);
        painter.rect_filled(Rect::from_min_size(rect.min, vec2(3.0, rect.height())), 0.0, p.text);
    } else if response.hovered() {
        painter.rect_filled(rect, 0.0, p.hover);
    }
    button::focus_ring(ui, &response);
    let color = if selected { p.text } else { p.text2 };
    let middle = rect.center().y;
    let icon_x = if wide { rect.left() + 24.0 } else { rect.center().x };
    paint::icon(painter, pos2(icon_x, middle), Type::Icon(16), color, icon(lens));
    if wide {
        let kind = if selected { Type::BodyMedium } else { Type::Body };
        paint::text(painter, pos2(rect.left() + 42.0, middle), Side::Left, kind, p.text, name);
        if count > 0 {
            let at = pos2(rect.right() - 15.0, middle);
            let n = numbers::count(count as u64);
            paint::text(painter, at, Side::Right, Type::Small, p.text3, n);
        }
    }
    let response = if wide { response } else { response.on_hover_text(name) };
    if response.clicked() {
        commands.push(Command::SetLens(lens));
    }
}

fn icon(lens: Lens) -> &'static str {
    match lens {
        Lens::Everything => icons::EVERYTHING,
        Lens::Applications => icons::APPLICATIONS,
        Lens::Services => icons::SERVICES,
        Lens::Containers => icons::CONTAINERS,
        Lens::Users => icons::USERS,
        Lens::Secrets => icons::KEY,
        Lens::Rules => icons::RULES,
        Lens::Watchlist => icons::WATCHLIST,
        Lens::Coverage => icons::COVERAGE,
    }
}
