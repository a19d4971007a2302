//! Open sockets follow the rules: bound in the kernel, marked for the firewall, and closed where nobody would
//! notice the block otherwise.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv6Addr},
};

use sekhmet_common::kernel::{
    CoverRow, Tuple,
    mark::Mark,
    policy::{Began, refuses},
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
    /// To be called after every change of rules and bindings; without any it does nothing.
    ///
    /// # Errors
    /// The iterators cannot be read: sockets that are open already are not bound then.
    pub fn enforce(&self) -> io::Result<Enforced> {
        let mut done = Enforced::default();
        let (mut marked, mut unmarked, mut closed) = (HashSet::new(), HashSet::new(), HashSet::new());
        // On some kernels a module that cannot be loaded; then they are shut down.
        let destroyer = Destroyer::open().ok();
        let own = own::addresses();
        for _pass in 0..PASSES_MAX {
            let rows = self.cover()?;
            let before = (marked.len(), closed.len());
            for row in &rows {
                let change = (row.cookie, row.wanted);
                if row.mark != row.wanted && row.fd != u32::MAX && !marked.contains(&change) {
                    // Another holder may be reached where this one cannot.
                    if let Err(error) = held::set_mark(row) {
                        tracing::debug!(%error, tgid = row.holder.tgid, "a socket keeps its mark");
                        unmarked.insert(change);
                    } else {
                        marked.insert(change);
                        unmarked.remove(&change);
                    }
                }
                let is_near = row.net_ns == self.net_ns;
                if is_cut(row, is_near.then_some(&own)) && closed.insert(row.cookie) {
                    let near = destroyer.as_ref().filter(|_| is_near);
                    if near.is_some_and(|destroyer| destroyer.destroy(row).is_ok()) {
                        done.closed += 1;
                        continue;
                    }
                    match held::shut(row) {
                        Ok(true) => done.shut += 1,
                        // The other end was here, too, and was closed before.
                        Ok(false) => done.closed += 1,
                        Err(_unreachable) => done.silenced += 1,
                    }
                }
            }
            if before == (marked.len(), closed.len()) {
                break;
            }
        }
        done.unmarked = unmarked.len();
        done.marked = marked.iter().filter(|(_, mark)| Mark::from_bits(*mark).is_some()).count();
        done.restored = marked.len() - done.marked;
        Ok(done)
    }

    /// Binds what is open in the kernel; gives what is refused something or has a mark left over.
    fn cover(&self) -> io::Result<Vec<CoverRow>> {
        let mut all: Vec<CoverRow> = Vec::new();
        for link in [&self.held, &self.owned].into_iter().flatten() {
            all.extend(rows::<CoverRow>(link)?);
        }
        Ok(all)
    }
}

/// Whether this is a connection that is refused; `own` are the addresses of its network namespace, if that is ours.
fn is_cut(row: &CoverRow, own: Option<&HashSet<IpAddr>>) -> bool {
    if row.tuple.protocol != TCP || matches!(row.state, tcp_state::LISTEN | tcp_state::CLOSE) {
        return false;
    }
    let began = match u32::from(row.began) {
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
