//! Sends the helper a command, with somebody at hand who can be asked for a password.

use std::{
    io::{self, IsTerminal},
    time::Instant,
};

use sekhmet_client::{Command, CommandError, Outcome, Reason, command::run_blocking};

use crate::{
    agent::Agent,
    output::Failure,
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
