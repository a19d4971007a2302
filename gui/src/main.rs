//! Opens the window.

use anyhow::Context as _;
use clap::Parser as _;
use sekhmet_gui::{app, link, notify, preferences::Preferences, settings::Settings};
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let replay = match &settings.replay {
        Some(path) => {
            let link = link::replay(path, settings.start());
            Some(link.with_context(|| format!("cannot play {}", path.display()))?)
        }
        None => None,
    };
    let options = app::native_options(&settings);
    eframe::run_native(
        sekhmet_common::bus::APP_ID,
        options,
        Box::new(move |creation| {
            let ctx = &creation.egui_ctx;
            let link = match replay {
                Some(link) => link,
                None => link::live(ctx.clone())?,
            };
            let app = app::App::new(ctx, link, &settings);
            // Without a desktop to tell, everything else works.
            let wake = ctx.clone();
            Ok(Box::new(match notify::Session::spawn(None, move || wake.request_repaint()) {
                Ok(session) => app.with_desktop(Box::new(session), Preferences::of_user()),
                Err(error) => {
                    tracing::warn!(%error, "no thread for notifications");
                    app
                }
            }))
        }),
    )
    .map_err(|err| anyhow::anyhow!("the window cannot be opened: {err}"))
}
