//! Flows by looking at the kernel's list of sockets again and again.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use sekhmet_common::{
    flow::{Direction, Endpoint, Protocol},
    time::Timestamp,
};

use super::sockets::{Found, Listing, State};
use crate::{
    engine::input::{FlowEnd, FlowKey, FlowPhase, FlowSight, Observation, ProcessKey},
    identify::process_dir::{ProcessDir, SocketMount},
};

/// How often the owner of a socket is searched before it counts as unknown.
const SEARCHES_MAX: u8 = 3;
/// The most open files of one process that are looked at.
const FILES_MAX: usize = 16_384;

/// The flows that were there at the last look.
#[derive(Debug)]
pub(super) struct Flows {
    proc: PathBuf,
    net_ns: u32,
    mount: Option<SocketMount>,
    known: HashMap<FlowKey, Known>,
    looked: bool,
}

#[derive(Debug)]
struct Known {
    sight: FlowSight,
    inode: u64,
    searches: u8,
    present: bool,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// What it means.
    pub(super) observations: Vec<Observation>,
    /// Sockets that are open somewhere, but not in a process whose files may be read.
    pub(super) without_owner: usize,
}

impl Flows {
    /// Nothing was looked at yet. `net_ns` is the namespace whose sockets are listed.
    pub(super) fn new(proc: PathBuf, net_ns: u32) -> Self {
        let mount = SocketMount::find(&proc);
        Self { proc, net_ns, mount, known: HashMap::new(), looked: false }
    }

    /// Compares the kernel's list with the last one. `owners` are the processes to search for sockets in,
    /// the likeliest first.
    pub(super) fn look(&mut self, at: Timestamp, listing: Listing, owners: &[ProcessKey]) -> Looked {
        let listening: HashSet<(Protocol, Endpoint)> = listing
            .sockets
            .iter()
            .filter(|s| s.state == State::Listening)
            .map(|s| (s.protocol, s.local))
            .collect();
        for known in self.known.values_mut() {
            known.present = false;
        }
        let mut changed = Vec::new();
        for socket in listing.sockets.iter().filter(|s| s.state != State::Listening) {
            let sight = self.sight(at, socket, &listening);
            match self.known.get_mut(&sight.key) {
                Some(known) => {
                    known.present = true;
                    known.inode = socket.inode;
                    if (known.sight.phase, known.sight.counters) != (sight.phase, sight.counters) {
                        (known.sight.phase, known.sight.counters) = (sight.phase, sight.counters);
                        changed.push(sight.key);
                    }
                }
                None => {
                    let key = sight.key;
                    let known = Known { sight, inode: socket.inode, searches: 0, present: true };
                    self.known.insert(key, known);
                    changed.push(key);
                }
            }
        }
        changed.extend(self.find_owners(owners));
        changed.sort_unstable();
        changed.dedup();
        let mut observations: Vec<_> = changed
            .iter()
            .filter_map(|key| self.known.get(key))
            .map(|known| Observation::Flow(FlowSight { at, ..known.sight.clone() }))
            .collect();
        if !listing.is_partial {
            self.known.retain(|_, known| {
                if !known.present {
                    let sight = known.sight.clone();
                    observations.push(Observation::FlowEnded { at, sight, end: FlowEnd::Vanished });
                }
                known.present
            });
        }
        self.looked = true;
        let without_owner = self.known.values().filter(|k| k.sight.owner.is_none() && k.inode != 0).count();
        Looked { observations, without_owner }
    }

    fn sight(&self, at: Timestamp, socket: &Found, listening: &HashSet<(Protocol, Endpoint)>) -> FlowSight {
        let Found { cookie, protocol, local, remote, counters, .. } = *socket;
        let key = match protocol {
            Protocol::Tcp => FlowKey::Stream { cookie },
            _ => FlowKey::Datagram { cookie, protocol, local, remote },
        };
        let listens = |end: Endpoint| {
            let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED), end.addr];
            any.iter().any(|&a| listening.contains(&(protocol, Endpoint::new(a, end.port))))
        };
        let direction = match socket.state {
            State::Opening => Direction::Outbound,
            _ if listens(local) => Direction::Inbound,
            // Between two sockets of this machine the listener tells; one that is gone again leaves no trace.
            _ if remote.addr.is_loopback() || remote.addr == local.addr => {
                if listens(remote) {
                    Direction::Outbound
                } else {
                    Direction::Unknown
                }
            }
            _ if self.looked && protocol == Protocol::Tcp => Direction::Outbound,
            _ => Direction::Unknown,
        };
        let phase = match socket.state {
            State::Opening => FlowPhase::Opening,
            State::Open => FlowPhase::Open,
            State::Closing | State::Listening => FlowPhase::Closing,
        };
        let (owner, net_ns) = (None, self.net_ns);
        FlowSight { at, key, owner, protocol, direction, local, remote, net_ns, phase, counters }
    }

    /// Searches the open files of processes for sockets without owner. The flows that got one.
    fn find_owners(&mut self, owners: &[ProcessKey]) -> Vec<FlowKey> {
        let mut wanted: HashMap<u64, FlowKey> = HashMap::new();
        for (key, known) in &mut self.known {
            if known.sight.owner.is_none() && known.inode != 0 && known.searches < SEARCHES_MAX {
                known.searches += 1;
                wanted.insert(known.inode, *key);
            }
        }
        let mut found = Vec::new();
        for &owner in owners {
            if wanted.is_empty() {
                break;
            }
            for inode in inodes(&self.proc, owner, self.mount) {
                if let Some(key) = wanted.remove(&inode)
                    && let Some(known) = self.known.get_mut(&key)
                {
                    known.sight.owner = Some(owner);
                    found.push(key);
                }
            }
        }
        found
    }
}

/// Inode numbers of a process's sockets; none if it is another process by now, or may not be read.
fn inodes(proc: &Path, owner: ProcessKey, mount: Option<SocketMount>) -> Vec<u64> {
    let dir = ProcessDir::open(proc, owner.tgid).ok().filter(|d| d.is(owner));
    dir.and_then(|d| d.socket_inodes(FILES_MAX, mount).ok()).unwrap_or_default()
}
