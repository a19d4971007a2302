//! Standard output, and the ways in which a command can fail.

use std::{
    fmt,
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
    process::ExitCode,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::tcgetwinsize,
};
use sekhmet_client::{Reason, Refusal};
use serde::Serialize;

use crate::table::{Table, clip};

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no helper to ask.
    NoHelper(Reason),
    /// The helper, or polkit for it, said no.
    Refused(Refusal),
    /// What was asked for cannot be.
    Usage(String),
    /// Something else went wrong.
    Failed(String),
    /// Nobody reads standard output any more, which is no error.
    OutputClosed,
}

impl Failure {
    /// The program's exit status: 0 for a reader who has seen enough, 2 for what cannot be asked for, 3 without a
    /// helper, else 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Usage(_) => ExitCode::from(2),
            Self::NoHelper(_) => ExitCode::from(3),
            Self::Refused(_) | Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHelper(Reason::NoHelper) => f.write_str("the helper is not running"),
            Self::NoHelper(reason) => write!(f, "the helper is not running: {reason}"),
            Self::Refused(Refusal::NotAuthorized) => {
                f.write_str("not authorised: polkit does not allow this to you")
            }
            Self::Refused(Refusal::InteractionRequired) => {
                f.write_str("not authorised: an administrator would have to authenticate; try --interactive")
            }
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Usage(why) | Self::Failed(why) => f.write_str(why),
            Self::OutputClosed => f.write_str("nobody reads the output"),
        }
    }
}

/// Standard output, buffered until [`Output::flush`].
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { stdout: BufWriter::with_capacity(64 * 1024, io::stdout().lock()) }
    }

    /// One value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(value).map_err(|e| Failure::Failed(format!("no JSON: {e}")))?;
        self.raw(&line)?;
        self.raw("\n")
    }

    /// One line for people, cut at the terminal's width.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        let cut = size().map_or(text.into(), |(columns, _rows)| clip(text, columns));
        self.raw(&cut)?;
        self.raw("\n")
    }

    /// A table for people.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let width = size().map(|(columns, _rows)| columns);
        for line in table.lines(width) {
            self.raw(&line)?;
            self.raw("\n")?;
        }
        Ok(())
    }

    /// Text as it stands.
    pub(crate) fn raw(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout.write_all(text.as_bytes()).map_err(failure)
    }

    /// Hands everything to whoever reads.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(failure)
    }
}

/// Columns and rows of the terminal, if standard output is one.
pub(crate) fn size() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// Whether the reader of a pipe has gone. A quiet stream would not notice it by writing.
pub(crate) fn is_closed() -> bool {
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0) && fds[0].revents().contains(PollFlags::ERR)
}

/// Tells the user on standard error. If nobody can hear it there, there is nobody to tell that either.
pub(crate) fn complain(what: impl fmt::Display) {
    let _heard = writeln!(io::stderr(), "sekhmetctl: {what}");
}

fn failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Failed(format!("standard output: {error}")),
    }
}
