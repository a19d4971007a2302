//! Chooses what feeds the engine: the kernel's own events, or polling where they cannot be had.

use std::{io, thread};

use crossbeam_channel::{Sender, bounded};
use sekhmet_common::{
    coverage::{Mode, Source as Line, SourceStatus},
    display::{Text, escape},
};

use crate::{
    engine::input::{Input, StatusReport},
    kernel::{self, INTERVAL_ALONE, INTERVAL_WATCHED, Kernel, Names, Reader, policy::Policies},
    reduced, rights,
    run::{RunError, owner::LookFor},
};

/// The programs without which there is nobody to name.
const PROCESS_PROBES: [&str; 3] = ["process_fork", "process_exec", "process_exit"];

/// How many changes of "somebody watches" may wait for the poller.
const WATCHED_MAX: usize = 16;

/// What feeds the engine.
pub(super) struct Source {
    /// The ring's reader, if the kernel tells.
    pub(super) reader: Option<Reader>,
    /// The polling thread, if it does not.
    pub(super) poller: Option<thread::JoinHandle<()>>,
    /// What can be seen with it, as far as is known yet.
    pub(super) status: StatusReport,
    /// The hold on what the kernel programs refuse, if they are there.
    pub(super) policies: Option<Policies>,
    /// Told whether anybody watches.
    pub(super) watched: Box<dyn FnMut(bool) + Send>,
    /// Told which names to look for in the paths of opened files, and which files.
    pub(super) names: Box<dyn FnMut(LookFor) + Send>,
}

/// Starts the best source there is, and gives back the rights that were needed for it. To be called before any
/// other thread runs.
///
/// # Errors
/// If there can be no thread, or if rights could not be given back in order.
pub(super) fn watch(
    reduced: bool,
    options: &kernel::Options,
    seen: &Sender<Input>,
) -> Result<Source, RunError> {
    match load(reduced, options) {
        Ok(mut kernel) => {
            let line = given_back(rights::give_back(|| kernel.rehearse())?);
            kernel.note(line);
            Ok(watch_kernel(kernel, seen)?)
        }
        Err(reason) => {
            tracing::warn!(reason, "reduced view");
            rights::give_back(|| Ok(()))?;
            Ok(poll(reason, seen)?)
        }
    }
}

/// The line on the coverage panel about the rights that only loading needs.
fn given_back(refusal: Option<io::Error>) -> Line {
    let capability = Text::from("rights given back");
    let Some(refusal) = refusal else {
        tracing::info!(rights = rights::words(rights::LOADING), "given back for good");
        let source = Text::from("CAP_BPF and CAP_PERFMON");
        return Line {
            capability,
            source,
            status: SourceStatus::Best,
            cost: Text::default(),
            reason: Text::default(),
        };
    };
    tracing::warn!(%refusal, rights = rights::words(rights::LOADING), "this kernel wants them for every use");
    Line {
        capability,
        source: Text::from("none"),
        status: SourceStatus::Reduced,
        cost: Text::from("the helper keeps the right to load kernel programs"),
        reason: Text::from(refusal.to_string()),
    }
}

/// The kernel programs, or why there are none.
fn load(reduced: bool, options: &kernel::Options) -> Result<Kernel, String> {
    if reduced {
        return Err("left out by the option --reduced".into());
    }
    let shown = |text: String| escape(text.as_bytes());
    let kernel = kernel::load(options).map_err(|error| shown(error.to_string()))?;
    // Without the process events the rest has nobody to name.
    let refused =
        kernel.outcomes().iter().find(|o| PROCESS_PROBES.contains(&o.probe.program) && !o.attached());
    match refused {
        Some(outcome) => Err(shown(format!(
            "{}: {}",
            outcome.probe.program,
            outcome.refused.as_deref().unwrap_or("refused")
        ))),
        None => Ok(kernel),
    }
}

fn watch_kernel(mut kernel: Kernel, seen: &Sender<Input>) -> io::Result<Source> {
    let status = StatusReport { mode: kernel.mode(), sources: kernel.sources(), balance: Vec::new() };
    let coverage = Input::Coverage { mode: status.mode, sources: status.sources.clone() };
    // The channel is empty and its receiver is held by the caller.
    if seen.try_send(coverage).is_err() {
        tracing::error!("no room for the first word");
    }
    let policies = kernel.take_policies();
    let names = kernel.take_names();
    let reader = kernel::start(kernel, seen.clone())?;
    let pace = reader.pace();
    let watched = move |watched| pace.set(if watched { INTERVAL_WATCHED } else { INTERVAL_ALONE });
    Ok(Source {
        reader: Some(reader),
        poller: None,
        status,
        policies,
        watched: Box::new(watched),
        names: look_for(names),
    })
}

/// Tells the kernel programs which names to look for, and which files.
fn look_for(names: Option<Names>) -> Box<dyn FnMut(LookFor) + Send> {
    let Some(mut names) = names else { return Box::new(|_names| {}) };
    Box::new(move |wanted| match wanted {
        LookFor::Names(filters) => {
            if let Err(error) = names.set(&filters) {
                tracing::error!(%error, count = filters.len(), "not every watched file is looked for");
            }
        }
        LookFor::Links(links) => {
            for (file, is_watched) in links {
                if let Err(error) = names.link(file, is_watched) {
                    tracing::error!(%error, "not every watched file is recognised by its other names");
                }
            }
        }
    })
}

fn poll(reason: String, seen: &Sender<Input>) -> io::Result<Source> {
    let status = StatusReport { mode: Mode::Reduced, ..StatusReport::default() };
    let (sender, receiver) = bounded(WATCHED_MAX);
    let options = reduced::Options { reason: reason.into(), ..reduced::Options::default() };
    let poller = reduced::spawn(options, receiver, seen.clone())?;
    let watched = move |watched| {
        // The poller takes these at once but while it looks around, which is short.
        if sender.try_send(watched).is_err() {
            tracing::debug!("the poller is busy");
        }
    };
    Ok(Source {
        reader: None,
        poller: Some(poller),
        status,
        policies: None,
        watched: Box::new(watched),
        names: Box::new(|_names| {}),
    })
}

#[cfg(test)]
mod tests {
    use crate::kernel::PROBES;

    #[test]
    fn the_probes_of_processes_exist() {
        for name in super::PROCESS_PROBES {
            assert!(PROBES.iter().any(|probe| probe.program == name), "{name}");
        }
    }
}
