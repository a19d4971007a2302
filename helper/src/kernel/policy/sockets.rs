//! Open sockets follow the rules: bound in the kernel, marked for the firewall, and closed where nobody would
//! notice the block otherwise.

use std::{
    cell::OnceCell,
    collections::HashSet,
    io,
    net::{IpAddr, Ipv6Addr},
    os::fd::AsFd,
};

use sekhmet_common::kernel::{
    CoverRow, Switch, Tuple,
    mark::Mark,
    policy::{Began, LENT, refuses},
    socket_flag, tcp_state,
};

use super::{Policies, destroy::Destroyer, held, own};
use crate::kernel::reading::rows;

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// Passes until nothing new is found: one that finds all, one that finds what was accepted meanwhile, and some for
/// a machine that is busy.
const PASSES_MAX: usize = 5;

/// What became of open sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enforced {
    /// Sockets that got the mark of a rule.
    pub marked: usize,
    /// Sockets that got their program's own mark back.
    pub restored: usize,
    /// Connections that were closed: their programs read an error, their peers a reset.
    pub closed: usize,
    /// Connections that were shut down, in other network namespaces or where the kernel cannot close them: their
    /// programs read the end, their peers learn nothing.
    pub shut: usize,
    /// Sockets whose mark could not be changed: their holder was faster, or may not be looked into. What is
    /// refused to them is refused by the kernel programs alone.
    pub unmarked: usize,
    /// Connections that are still open. Nothing passes, and nobody tells their programs.
    pub silenced: usize,
}

impl Policies {
    /// Makes open sockets follow the rules as they are now. When it returns, no further byte passes through a
    /// socket that a bound process owns or holds, and sockets that are free again have their own marks.
    ///
    /// To be called after every change of rules and bindings; without any it does nothing. The first time it also
    /// takes off the marks that a former helper left on sockets of processes that are bound to nothing any more.
    ///
    /// # Errors
    /// The iterators cannot be read: sockets that are open already are not bound then.
    pub fn enforce(&mut self) -> io::Result<Enforced> {
        // First every bound holder is seen, then bindings through others are taken off.
        let walk = (self.now.walk | 1).wrapping_add(1);
        self.flip(Switch { walk, ..self.now }).map_err(io::Error::other)?;
        let first = self.cover()?;
        self.flip(Switch { walk: walk | 1, ..self.now }).map_err(io::Error::other)?;
        let mut work = Work::new(self);
        work.take(first);
        for _pass in 1..PASSES_MAX {
            if !work.take(self.cover()?) {
                break;
            }
        }
        let (done, found) = work.finish();
        self.has_settled = true;
        self.former.clear();
        self.patrol.note(found);
        Ok(done)
    }

    /// Binds what is open in the kernel; gives what is refused something or has a mark left over.
    pub(super) fn cover(&self) -> io::Result<Vec<CoverRow>> {
        let mut all: Vec<CoverRow> = Vec::new();
        for link in [&self.held, &self.owned].into_iter().flatten() {
            all.extend(rows::<CoverRow>(link)?);
        }
        Ok(all)
    }
}

/// One time that open sockets are made to follow.
pub(super) struct Work<'a> {
    policies: &'a Policies,
    /// On some kernels a module that cannot be loaded; then connections are shut down.
    destroyer: OnceCell<Option<Destroyer>>,
    own: OnceCell<HashSet<IpAddr>>,
    /// Sockets and the mark that they have got.
    marked: HashSet<(u64, u32)>,
    unmarked: HashSet<(u64, u32)>,
    closed: HashSet<u64>,
    adopted: HashSet<u64>,
    found: Found,
    done: Enforced,
}

/// What the last look has shown, for further ones.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Sockets that keep the mark of a rule that is gone.
    pub(super) stale: HashSet<u64>,
    /// Sockets that are bound only because a bound process holds them.
    pub(super) lent: HashSet<u64>,
}

impl<'a> Work<'a> {
    pub(super) fn new(policies: &'a Policies) -> Self {
        Self {
            policies,
            destroyer: OnceCell::new(),
            own: OnceCell::new(),
            marked: HashSet::new(),
            unmarked: HashSet::new(),
            closed: HashSet::new(),
            adopted: HashSet::new(),
            found: Found::default(),
            done: Enforced::default(),
        }
    }

    /// Does what these rows ask for. Whether there was anything to do.
    pub(super) fn take(&mut self, rows: Vec<CoverRow>) -> bool {
        let before = (self.marked.len(), self.closed.len());
        self.found = Found::default();
        for mut row in rows {
            if !self.policies.has_settled && row.fd != u32::MAX && self.adopted.insert(row.cookie) {
                self.adopt(&mut row);
            }
            if row.began & LENT != 0 {
                self.found.lent.insert(row.cookie);
            }
            self.mark(&row);
            self.cut(&row);
        }
        self.found.stale.retain(|cookie| !self.marked.iter().any(|(marked, _)| marked == cookie));
        before != (self.marked.len(), self.closed.len())
    }

    /// What became of it, and what the last rows have shown.
    pub(super) fn finish(mut self) -> (Enforced, Found) {
        self.done.unmarked = self.unmarked.len();
        self.done.marked = self.marked.iter().filter(|(_, mark)| Mark::from_bits(*mark).is_some()).count();
        self.done.restored = self.marked.len() - self.done.marked;
        (self.done, self.found)
    }

    /// A former helper may have marked the socket, and may know what its program had set before.
    fn adopt(&self, row: &mut CoverRow) {
        match held::adopt(row, &self.policies.former, self.policies.bound_sockets.as_fd()) {
            // The kernel does not know it yet, or has no binding of it at all.
            Ok(own) if row.refused == 0 || Mark::from_bits(row.wanted).is_none() => row.wanted = own,
            Ok(_kept) => {}
            Err(error) => tracing::debug!(%error, tgid = row.holder.tgid, "a program's own mark is unknown"),
        }
    }

    fn mark(&mut self, row: &CoverRow) {
        let change = (row.cookie, row.wanted);
        if row.mark == row.wanted || self.marked.contains(&change) {
            return;
        }
        // Another holder may be reached where this one cannot.
        let set = if row.fd == u32::MAX { Err(io::ErrorKind::NotFound.into()) } else { held::set_mark(row) };
        match set {
            Ok(()) => {
                self.marked.insert(change);
                self.unmarked.remove(&change);
            }
            Err(error) => {
                tracing::debug!(%error, tgid = row.holder.tgid, "a socket keeps its mark");
                if row.fd != u32::MAX {
                    self.unmarked.insert(change);
                }
                if row.refused == 0 {
                    self.found.stale.insert(row.cookie);
                }
            }
        }
    }

    fn cut(&mut self, row: &CoverRow) {
        let is_near = row.net_ns == self.policies.net_ns;
        if !may_be_cut(row) {
            return;
        }
        let own = is_near.then(|| self.own.get_or_init(own::addresses));
        if !is_cut(row, own) || !self.closed.insert(row.cookie) {
            return;
        }
        let destroyer = self.destroyer.get_or_init(|| Destroyer::open().ok());
        let near = destroyer.as_ref().filter(|_| is_near);
        if near.is_some_and(|destroyer| destroyer.destroy(row).is_ok()) {
            self.done.closed += 1;
            return;
        }
        match held::shut(row) {
            Ok(true) => self.done.shut += 1,
            // The other end was here, too, and was closed before.
            Ok(false) => self.done.closed += 1,
            Err(_unreachable) => self.done.silenced += 1,
        }
    }
}

/// Whether this is a connection at all, which is to be asked before addresses are.
fn may_be_cut(row: &CoverRow) -> bool {
    row.refused != 0
        && row.tuple.protocol == TCP
        && !matches!(row.state, tcp_state::LISTEN | tcp_state::CLOSE)
}

/// Whether this is a connection that is refused; `own` are the addresses of its network namespace, if that is ours.
fn is_cut(row: &CoverRow, own: Option<&HashSet<IpAddr>>) -> bool {
    if !may_be_cut(row) {
        return false;
    }
    let began = match u32::from(row.began & !LENT) {
        socket_flag::INBOUND => Began::There,
        socket_flag::OUTBOUND => Began::Here,
        _ => Began::Unknown,
    };
    refuses(row.refused, stays_here(&row.tuple, own), row.tuple.remote_port, began)
}

/// Whether the packets go through the loopback interface of their namespace. In another one that is known of plain
/// loopback addresses only.
fn stays_here(tuple: &Tuple, own: Option<&HashSet<IpAddr>>) -> bool {
    let remote = address(tuple.remote);
    remote.is_loopback() || tuple.remote == tuple.local || own.is_some_and(|own| own.contains(&remote))
}

pub(super) fn address(bytes: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
}

#[cfg(test)]
mod tests {
    use sekhmet_common::kernel::mark::{INBOUND_FREE, LOCAL_TOO};

    use super::*;

    fn row(remote: [u8; 4], flags: u32, began: u32, state: u8) -> CoverRow {
        let [a, b, c, d] = remote;
        let remote = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d];
        CoverRow {
            tuple: Tuple { remote, remote_port: 80, protocol: TCP, ..Tuple::default() },
            refused: Mark::refused(1, flags).unwrap().bits(),
            state,
            began: began as u8,
            ..CoverRow::default()
        }
    }

    #[test]
    fn only_what_is_refused_is_cut() {
        let here = [127, 0, 0, 1];
        let there = [192, 0, 2, 1];
        let established = tcp_state::ESTABLISHED;
        let own = HashSet::from([IpAddr::from([198, 51, 100, 7])]);
        assert!(!is_cut(&row([198, 51, 100, 7], 0, socket_flag::OUTBOUND, established), Some(&own)));
        assert!(is_cut(&row([198, 51, 100, 7], 0, socket_flag::OUTBOUND, established), None));
        assert!(is_cut(&row(there, 0, socket_flag::OUTBOUND, established), Some(&own)));
        assert!(is_cut(&row(there, 0, 0, established), Some(&own)));
        assert!(!is_cut(&row(there, 0, 0, tcp_state::LISTEN), Some(&own)));
        assert!(!is_cut(&row(here, 0, socket_flag::OUTBOUND, established), Some(&own)));
        assert!(is_cut(&row(here, LOCAL_TOO, socket_flag::OUTBOUND, established), Some(&own)));
        assert!(!is_cut(&row(there, INBOUND_FREE, socket_flag::INBOUND, established), Some(&own)));
        assert!(is_cut(&row(there, INBOUND_FREE, socket_flag::OUTBOUND, established), Some(&own)));
        let free = CoverRow { refused: 0, ..row(there, 0, 0, established) };
        assert!(!is_cut(&free, Some(&own)));
    }
}
