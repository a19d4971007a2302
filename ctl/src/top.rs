//! `sekhmetctl top`: what goes on just now, drawn anew each second.

use std::{
    io,
    time::{Duration, Instant},
};

use sekhmet_common::{display::escape, mirror::Mirror, time::Timestamp};

use crate::{
    output::{self, Failure, Output},
    session::{Access, Asks, Happening, announce},
};

mod line;
mod picture;
mod rates;
mod screen;

use picture::Heading;
use rates::Rates;
use screen::Screen;

/// How often it is drawn.
const TICK: Duration = Duration::from_secs(1);

/// How many lines a block has that is not drawn on a terminal.
const BLOCK_LINES: usize = 40;

/// Draws until the end.
pub(crate) fn run(access: &Access, json: bool, time: Option<Duration>) -> Result<(), Failure> {
    let mut live = access.live(time, Asks { terminal: true, ..Asks::default() })?;
    let mut output = Output::new();
    // It restores the terminal when it is dropped, whatever the way out.
    let mut screen = match output::size() {
        Some(_) if !json => {
            Some(Screen::open(live.stopper()).map_err(|e| Failure::Failed(format!("terminal: {e}")))?)
        }
        _ => None,
    };
    let mut top = Top { mirror: Mirror::new(), rates: Rates::default(), trouble: None };
    let mut due = Instant::now();
    while let Some(happening) = live.next_before(due)? {
        if screen.is_none() {
            announce(&happening);
        }
        top.hear(happening);
        if Instant::now() < due {
            continue;
        }
        due = Instant::now() + TICK;
        if top.mirror.is_complete() || screen.is_some() {
            top.draw(&mut output, screen.as_mut(), json)?;
        }
    }
    Ok(())
}

struct Top {
    mirror: Mirror,
    rates: Rates,
    trouble: Option<String>,
}

impl Top {
    fn hear(&mut self, happening: Happening) {
        match happening {
            Happening::Connected { .. } => {
                // Another helper gives other ids.
                self.rates = Rates::default();
                self.trouble = None;
            }
            Happening::Events(events) => events.iter().for_each(|event| self.mirror.apply(event)),
            Happening::Lost(reason) => {
                self.trouble = Some(format!("{}; trying again", escape(reason.to_string().as_bytes())));
            }
            Happening::Quiet => {}
        }
    }

    fn draw(&mut self, output: &mut Output, screen: Option<&mut Screen>, json: bool) -> Result<(), Failure> {
        // While there is no stream nothing moves, and the last rates would be a lie.
        if self.mirror.is_complete() {
            self.rates.take(&self.mirror, Instant::now());
        }
        let summary = self.rates.summary(&self.mirror);
        if json {
            output.json(&summary.line(Timestamp::now()))?;
            return output.flush();
        }
        let heading = Heading {
            header: self.mirror.header(),
            others: *self.mirror.others(),
            trouble: self.trouble.as_deref(),
        };
        match (screen, output::size()) {
            (Some(screen), Some(size)) => {
                let lines = picture::lines(&heading, &summary, Some(size.0), size.1);
                screen.draw(&lines).map_err(|error| match error.kind() {
                    io::ErrorKind::BrokenPipe => Failure::OutputClosed,
                    _ => Failure::Failed(format!("terminal: {error}")),
                })
            }
            _ => {
                for line in picture::lines(&heading, &summary, None, BLOCK_LINES) {
                    output.line(&line)?;
                }
                output.line("")?;
                output.flush()
            }
        }
    }
}
