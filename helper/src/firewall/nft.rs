//! The real firewall: nf_tables of this network namespace through libnftables.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::{
    Counters, Error, Firewall, Shape, State,
    library::{Form, Library},
    report, skeleton,
    table::{self, Table},
};

/// Times that a change by somebody else in the same moment is tried again.
const TRIES: usize = 3;

/// The table in nf_tables.
///
/// Dropping it closes the owner's socket: with an owner, the table goes too, unless a copy of the socket is
/// held elsewhere.
#[derive(Debug)]
pub struct NftFirewall {
    library: Library,
    /// The listing right after it was installed.
    installed: Option<String>,
}

impl NftFirewall {
    /// Opens the firewall of this thread's network namespace; changes nothing.
    ///
    /// # Errors
    /// [`Error::Library`] or [`Error::Netlink`]: there is no firewall to be had on this machine.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { library: Library::open()?, installed: None })
    }

    /// The socket that owns the table, to be kept by the service manager (`FDSTORE=1`) or another process.
    ///
    /// It changes with [`NftFirewall::adopt`] only.
    pub fn socket_fd(&self) -> BorrowedFd<'_> {
        self.library.socket()
    }

    /// Takes over the socket of a helper that has ended, and with it the table, as it is and with its counts.
    ///
    /// [`State::Intact`] says that it is in force and made from the same text. Anything else wants
    /// [`Firewall::install`], which puts a new table in the old one's place without a gap; who wants the old
    /// counts reads them before that.
    ///
    /// # Errors
    /// [`Error::Netlink`] if that is no such socket; then the own one is still in use.
    pub fn adopt(&mut self, stored: OwnedFd) -> Result<State, Error> {
        self.library.adopt(&stored)?;
        drop(stored);
        self.installed = None;
        let Some(table) = look_up()? else { return Ok(State::Missing) };
        if table.owner != Some(self.library.port()?) {
            return Ok(if table.owner.is_some() { State::Foreign } else { State::Changed });
        }
        let listing = self.list()?;
        if table.is_dormant || !listing.contains(&format!("chain {} {{", skeleton::layout())) {
            return Ok(State::Changed);
        }
        // Nobody but the owner could have changed anything else.
        self.installed = Some(listing);
        Ok(State::Intact)
    }

    /// Installs in this shape or not at all: [`Firewall::install`] without the trying, to see what a machine
    /// gets that cannot do better.
    ///
    /// # Errors
    /// As [`Firewall::install`].
    pub fn install_as(&mut self, shape: Shape) -> Result<(), Error> {
        let there = look_up()?;
        if there.is_some_and(|table| table.owner.is_some()) && !self.owns(there)? {
            return Err(Error::Foreign);
        }
        let mut last = Error::Foreign;
        for flags in skeleton::flags(shape.hold) {
            match self.library.run(Form::Text, &skeleton::commands(flags, shape, there.is_some())) {
                Ok(_nothing) => {
                    self.installed = Some(self.list()?);
                    return Ok(());
                }
                Err(error) => {
                    tracing::debug!(flags = flags.trim(), ?shape, %error, "the table is not made this way");
                    last = error;
                }
            }
        }
        Err(last)
    }

    fn owns(&self, table: Option<Table>) -> Result<bool, Error> {
        let owner = table.and_then(|table| table.owner);
        Ok(owner.is_some() && owner == Some(self.library.port()?))
    }

    /// The table without its counts and without what packets brought into its sets.
    fn list(&mut self) -> Result<String, Error> {
        self.library.run(Form::Text, &format!("list table inet {}\n", skeleton::TABLE))
    }
}

impl Firewall for NftFirewall {
    fn install(&mut self) -> Result<Shape, Error> {
        let [best, ..] = Shape::ALL;
        // The best is tried more than once: it may have failed for a change by somebody else in the same moment.
        let mut result = Err(Error::Foreign);
        for shape in [best; TRIES].into_iter().chain(Shape::ALL) {
            result = self.install_as(shape).map(|()| shape);
            if matches!(result, Ok(_) | Err(Error::Foreign)) {
                break;
            }
        }
        result
    }

    fn check(&mut self) -> Result<State, Error> {
        let Some(table) = look_up()? else { return Ok(State::Missing) };
        if table.owner.is_some() && !self.owns(Some(table))? {
            return Ok(State::Foreign);
        }
        let is_same = self.installed.is_some() && Some(self.list()?) == self.installed;
        Ok(if is_same && !table.is_dormant { State::Intact } else { State::Changed })
    }

    fn release(&mut self) -> Result<(), Error> {
        self.installed = None;
        match look_up()? {
            None => Ok(()),
            Some(_) => {
                let command = format!("delete table inet {}\n", skeleton::TABLE);
                self.library.run(Form::Text, &command).map(drop)
            }
        }
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        report::read(&self.library.run(Form::Json, report::QUESTION)?)
    }

    fn owner(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket_fd())
    }
}

fn look_up() -> Result<Option<Table>, Error> {
    table::look_up().map_err(Error::Netlink)
}
