//! `cargo xtask run`: from a fresh clone to the open window with what this machine offers.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::setup::{self, Purpose};
use crate::with_helper::{self, Bus, exit_code};
use crate::{build, shell};

/// What the person asked for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Install without asking.
    pub yes: bool,
    /// Draw on a virtual display, write a picture here, and end.
    pub screenshot: Option<PathBuf>,
    /// How long the window watches before the picture is taken.
    pub seconds: u32,
    /// Debug builds.
    pub is_debug: bool,
}

/// Which client shows what the helper sees.
#[derive(Debug, PartialEq, Eq)]
enum View {
    Window,
    Picture(PathBuf),
    Terminal,
}

/// Sets up, builds, starts the helper and the view; returns when the view ends.
///
/// # Errors
/// When any of these fails or the view ends with an error.
pub(crate) fn run(options: &Options) -> Result<()> {
    let has_display =
        ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| env::var_os(name).is_some_and(|v| !v.is_empty()));
    let view = match &options.screenshot {
        Some(file) => View::Picture(std::path::absolute(file)?),
        None if has_display => View::Window,
        None => View::Terminal,
    };
    let mut purposes = vec![Purpose::Build, Purpose::Bus];
    match view {
        View::Window => purposes.push(Purpose::Window),
        View::Picture(_) => purposes.push(Purpose::Screenshot),
        View::Terminal => {}
    }
    setup::ensure(&purposes, options.yes)?;
    let programs = build::all(options.is_debug)?;
    if view == View::Terminal {
        shell::say("there is no display here: showing the terminal view (a picture: --screenshot FILE)");
    }
    let bus = choose_bus(options.yes)?;
    let helper = with_helper::Options {
        user: invoking_user(),
        is_debug: options.is_debug,
        bus,
        ..with_helper::Options::default()
    };
    let argv = view_command(&view, &programs, options.seconds)?;
    let mut command = with_helper::command(&helper, argv)?;
    let status = command.status().with_context(|| format!("cannot start `{}`", shell::shown(&command)))?;
    if !status.success() {
        bail!("the view ended with status {}", exit_code(status));
    }
    if let View::Picture(file) = view {
        let bytes =
            file.metadata().with_context(|| format!("no picture was written to {}", file.display()))?.len();
        shell::say(format!("{} ({bytes} bytes)", file.display()));
    }
    Ok(())
}

fn choose_bus(yes: bool) -> Result<Bus> {
    if !with_helper::has_system_bus() {
        shell::say("no system bus with polkit runs here: using private ones");
        return Ok(Bus::Private);
    }
    let lines = with_helper::to_install_on_system()?;
    if !lines.is_empty() {
        shell::say("the running system bus and polkit will be used; this is installed for them:");
        for line in &lines {
            eprintln!("  {line}");
        }
        setup::confirm(yes, "Install this now?")?;
    }
    Ok(Bus::System)
}

/// Who sits here: the window must not run as root only because root had to start the helper.
fn invoking_user() -> Option<String> {
    let name = if shell::is_root() { env::var("SUDO_USER").ok() } else { env::var("USER").ok() };
    name.filter(|name| !name.is_empty() && name != "root")
}

fn view_command(view: &View, programs: &Path, seconds: u32) -> Result<Vec<OsString>> {
    let window = programs.join("sekhmet").into_os_string();
    Ok(match view {
        View::Window => vec![window],
        View::Terminal => vec![programs.join("sekhmetctl").into_os_string(), "top".into()],
        View::Picture(file) => {
            let xtask = env::current_exe().context("cannot tell where xtask lies")?.into_os_string();
            let mut argv = vec![xtask, "on-display".into(), "--".into(), window];
            argv.extend(["--screenshot".into(), file.into(), "--after".into(), seconds.to_string().into()]);
            argv
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_drawn_on_a_display_of_its_own() {
        let view = View::Picture("/tmp/shot.png".into());
        let argv = view_command(&view, Path::new("/b"), 5).unwrap();
        let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
        assert_eq!(
            words[1..],
            ["on-display", "--", "/b/sekhmet", "--screenshot", "/tmp/shot.png", "--after", "5"]
        );
    }
}
