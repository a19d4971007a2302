//! Sends the helper a command, with somebody at hand who can be asked for a password.

use std::{
    io::{self, IsTerminal},
    time::Instant,
};

use sekhmet_client::{Command, CommandError, Outcome, Reason, command::run_blocking};
use sekhmet_common::display::Text;

use crate::{
    agent::Agent,
    output::{Failure, complain},
    session::{Access, HELPER_MAX, PAUSE},
};

/// Runs a command. At a terminal, or with `--interactive`, polkit may ask the person.
pub(crate) fn run(access: &Access, command: &Command) -> Result<Outcome, Failure> {
    let interactive = access.request.interactive || io::stdin().is_terminal();
    // Most of what is changed about the watchlist needs no password, and so no agent to ask for one.
    if let Command::Watchlist(_) = command {
        match patiently(|| run_blocking(access.address.as_deref(), command, false)) {
            Err(CommandError::InteractionRequired) if interactive => {}
            result => return result.map_err(|error| failure(error, false)),
        }
    }
    let _agent = interactive.then(Agent::start).flatten();
    patiently(|| run_blocking(access.address.as_deref(), command, interactive))
        .map_err(|error| failure(error, interactive))
}

/// Tells on standard error, after something was ended, if that could not be written down: it holds, but `what` would
/// be in force again after a restart. Capability and cost are those of [`sekhmet_common::coverage`].
pub(crate) fn tell_if_not_kept(access: &Access, capability: &str, cost: &str, what: &str) {
    // It was done; a helper that has gone since changes nothing about that.
    let Ok(status) = access.status() else { return };
    if let Some(reason) = status.owed(capability, cost) {
        complain(format_args!(
            "done, but it could not be written down ({}): {what} again after a restart, unless it can be written before",
            Text::from(reason)
        ));
    }
}

/// Says something again while there is no helper to hear it, for a helper may be just starting.
pub(crate) fn patiently<T>(say: impl Fn() -> Result<T, CommandError>) -> Result<T, CommandError> {
    let begun = Instant::now();
    loop {
        match say() {
            Err(CommandError::NoHelper(_)) if begun.elapsed() + PAUSE < HELPER_MAX => {
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

/// What to tell about a command that was not done.
pub(crate) fn failure(error: CommandError, interactive: bool) -> Failure {
    match error {
        CommandError::NoHelper(reason @ (Reason::NoHelper | Reason::NoBus(_))) => Failure::NoHelper(reason),
        CommandError::NotAuthorized if interactive => Failure::Failed(
            "not authorised, nothing was changed: polkit does not allow this to you, the question was \
             dismissed, or no agent runs that could ask it (at a terminal pkttyagent can)"
                .into(),
        ),
        CommandError::InteractionRequired => Failure::Failed(
            "not authorised, nothing was changed: an administrator would have to authenticate; \
             try --interactive"
                .into(),
        ),
        other => Failure::Failed(other.to_string()),
    }
}
