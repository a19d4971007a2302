//! What can be said on the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// Shows in real time which program talks to whom.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "sekhmet", version, about)]
pub struct Settings {
    /// Show a recorded event log instead of the live view
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Take in the first seconds of the log at once
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "replay")]
    pub start: u64,
    /// Force a theme instead of following the desktop
    #[arg(long, value_enum)]
    pub theme: Option<ThemeChoice>,
    /// Save a picture of the window as PNG, with a list of what it shows beside it, and exit
    #[arg(long, value_name = "FILE")]
    pub screenshot: Option<PathBuf>,
    /// When to take the picture
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0, requires = "screenshot")]
    pub after: f64,
    /// Keep a list of what the window shows and says to screen readers in this file, anew with each frame
    #[arg(long, value_name = "FILE")]
    pub dump: Option<PathBuf>,
    /// Size of the window
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = parse_size)]
    pub size: Option<[f32; 2]>,
    /// Begin with this text in the search box
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Begin with every program unfolded down to this level: 1 processes, 2 hosts, 3 connections; a picture
    /// shows everything unless told otherwise
    #[arg(long, value_name = "LEVEL")]
    pub unfold: Option<u8>,
    /// Begin with the first row of this name selected
    #[arg(long, value_name = "NAME")]
    pub select: Option<String>,
    /// Begin with LAN and loopback shown
    #[arg(long)]
    pub local: bool,
    /// Begin with this page or lens
    #[arg(long, value_enum)]
    pub lens: Option<LensChoice>,
}

/// A theme that can be forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThemeChoice {
    /// Light text on a dark ground.
    Dark,
    /// Dark text on a light ground.
    Light,
    /// As the desktop says.
    System,
}

impl From<ThemeChoice> for egui::ThemePreference {
    fn from(choice: ThemeChoice) -> Self {
        match choice {
            ThemeChoice::Dark => Self::Dark,
            ThemeChoice::Light => Self::Light,
            ThemeChoice::System => Self::System,
        }
    }
}

/// A lens to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LensChoice {
    /// Every program.
    Everything,
    /// Neither services nor containers.
    Applications,
    /// Services.
    Services,
    /// Containers.
    Containers,
    /// One row for each user.
    Users,
    /// Who opened watched files.
    Secrets,
    /// What is blocked.
    Rules,
    /// What is watched.
    Watchlist,
    /// What can be seen here.
    Coverage,
}

impl From<LensChoice> for crate::model::screen::Lens {
    fn from(choice: LensChoice) -> Self {
        match choice {
            LensChoice::Everything => Self::Everything,
            LensChoice::Applications => Self::Applications,
            LensChoice::Services => Self::Services,
            LensChoice::Containers => Self::Containers,
            LensChoice::Users => Self::Users,
            LensChoice::Secrets => Self::Secrets,
            LensChoice::Rules => Self::Rules,
            LensChoice::Watchlist => Self::Watchlist,
            LensChoice::Coverage => Self::Coverage,
        }
    }
}

impl Settings {
    /// How much of the log is taken in at once.
    pub fn start(&self) -> Duration {
        Duration::from_secs(self.start)
    }

    /// Down to which level rows are unfolded at first.
    pub fn unfold(&self) -> u8 {
        self.unfold.unwrap_or(if self.screenshot.is_some() { 3 } else { 0 })
    }

    /// When the picture is taken; nonsense is the default.
    pub fn after(&self) -> Duration {
        Duration::try_from_secs_f64(self.after).unwrap_or(Duration::from_secs(4))
    }
}

fn parse_size(text: &str) -> Result<[f32; 2], String> {
    let (width, height) = text.split_once('x').ok_or("a size is WIDTHxHEIGHT, e.g. 1440x900")?;
    let side = |part: &str| match part.parse::<u16>() {
        Ok(n @ 200..=16_384) => Ok(f32::from(n)),
        _ => Err(format!("{part} is not a length between 200 and 16384")),
    };
    Ok([side(width)?, side(height)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        use clap::CommandFactory as _;
        Settings::command().debug_assert();
        let s = Settings::try_parse_from([
            "sekhmet", "--replay", "x.jsonl", "--start", "90", "--size", "1280x720",
        ]);
        let s = s.unwrap();
        assert_eq!((s.start(), s.size), (Duration::from_secs(90), Some([1280.0, 720.0])));
        assert!(Settings::try_parse_from(["sekhmet", "--after", "3"]).is_err());
        assert!(Settings::try_parse_from(["sekhmet", "--size", "0x5"]).is_err());
    }
}
