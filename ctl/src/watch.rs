//! `sekhmetctl watch`: each event as it happens.

use std::time::Duration;

use sekhmet_common::{event::Event, log, mirror::Mirror};

use crate::{
    kinds::{SnapshotSpan, kind},
    output::{Failure, Output},
    sentence::Teller,
    session::{Access, Asks, Happening, announce},
};

/// What to show of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// When to end.
    pub(crate) time: Option<Duration>,
    /// Which kinds of events; all if empty.
    pub(crate) kinds: Vec<String>,
    /// Whether to show what there was already.
    pub(crate) snapshot: bool,
}

/// Shows events until the end.
pub(crate) fn run(access: &Access, json: bool, choice: &Choice) -> Result<(), Failure> {
    let mut live = access.live(choice.time, Asks::default())?;
    let mut output = Output::new();
    let mut span = SnapshotSpan::default();
    let mut mirror = Mirror::new();
    let teller = Teller::new();
    while let Some(happening) = live.next()? {
        announce(&happening);
        let Happening::Events(events) = happening else { continue };
        for event in &events {
            let is_shown = (!span.covers(event) || choice.snapshot) && choice.takes(event);
            if json {
                if is_shown {
                    output.json(&log::to_json(event).map_err(no_json)?)?;
                }
                continue;
            }
            // The mirror still knows what the event is about to end.
            if is_shown {
                output.line(&teller.tell(&mirror, event))?;
            }
            mirror.apply(event);
        }
        output.flush()?;
    }
    Ok(())
}

impl Choice {
    fn takes(&self, event: &Event) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|k| k == kind(event))
    }
}

/// An event that JSON cannot hold.
pub(crate) fn no_json(error: serde_json::Error) -> Failure {
    Failure::Failed(format!("an event cannot be told in JSON: {error}"))
}
