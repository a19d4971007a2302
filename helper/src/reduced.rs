//! The reduced view: the same observations by polling, for where the kernel's own events cannot be had.
//!
//! It needs no right at all. Without the right to trace others, their sockets have no owner; each loss is
//! told as a line of the coverage.

mod flows;
mod sockets;
mod sources;
mod tasks;

use std::{
    io,
    path::PathBuf,
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendError, Sender};
use sekhmet_common::{coverage::Mode, display::Text, time::Timestamp};

use self::{flows::Flows, sources::Findings, tasks::Tasks};
use crate::{
    engine::input::{Input, Observation},
    identify::process_dir::ProcessDir,
};

/// The most observations handed over at once.
const BATCH_MAX: usize = 4_096;

/// How to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// The proc file system.
    pub proc: PathBuf,
    /// The time from one look to the next while somebody watches.
    pub watched: Duration,
    /// The time from one look to the next while nobody does.
    pub unwatched: Duration,
    /// Why the kernel's own events are not used; shown with each source.
    pub reason: Text,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            watched: Duration::from_secs(1),
            unwatched: Duration::from_secs(5),
            reason: Text::default(),
        }
    }
}

/// Starts the thread `reduced`, which looks at once and then again and again.
///
/// `watched` tells whether anybody watches (`Effect::Watched`). The thread ends when either channel is
/// closed; it waits for room in `inputs`.
///
/// # Errors
/// If the system has no room for a thread.
pub fn spawn(options: Options, watched: Receiver<bool>, inputs: Sender<Input>) -> io::Result<JoinHandle<()>> {
    Builder::new().name("reduced".into()).spawn(move || {
        let mut poller = Poller::new(options.clone());
        let mut is_watched = false;
        loop {
            let began = Instant::now();
            for input in poller.look(Timestamp::now()) {
                if let Err(SendError(_)) = inputs.send(input) {
                    return;
                }
            }
            loop {
                let pause = if is_watched { options.watched } else { options.unwatched };
                match watched.recv_deadline(began + pause) {
                    Ok(now) => is_watched = now,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    })
}

/// One look after the other.
#[derive(Debug)]
struct Poller {
    tasks: Tasks,
    flows: Flows,
    reason: Text,
    told: Option<Findings>,
}

impl Poller {
    fn new(options: Options) -> Self {
        let me = ProcessDir::open(&options.proc, std::process::id()).ok();
        let net_ns = me.and_then(|dir| dir.namespace("net")).unwrap_or(0);
        Self {
            tasks: Tasks::new(options.proc.clone()),
            flows: Flows::new(options.proc, net_ns),
            reason: options.reason,
            told: None,
        }
    }

    /// Everything that one look has to tell.
    fn look(&mut self, at: Timestamp) -> Vec<Input> {
        let mut findings = Findings::default();
        let mut observations = self.tasks.look(at).unwrap_or_else(|error| {
            findings.processes_error = Some(error.to_string());
            Vec::new()
        });
        match sockets::list() {
            Ok(listing) => {
                let mut looked = self.flows.look(at, listing, &self.tasks.youngest_first());
                findings.owners_missing = looked.without_owner > 0;
                observations.append(&mut looked.observations);
            }
            Err(error) => findings.sockets_error = Some(error.to_string()),
        }
        let first = self.told.is_none();
        observations.push(Observation::PollComplete { at });
        if first {
            observations.push(Observation::SeedComplete);
        }
        let mut inputs = Vec::new();
        if self.told.as_ref() != Some(&findings) {
            let sources = sources::sources(&findings, &self.reason);
            inputs.push(Input::Coverage { mode: Mode::Reduced, sources });
            self.told = Some(findings);
        }
        while !observations.is_empty() {
            let rest = observations.split_off(observations.len().min(BATCH_MAX));
            inputs.push(Input::Observed(std::mem::replace(&mut observations, rest)));
        }
        inputs
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    };

    use crossbeam_channel::bounded;
    use sekhmet_common::{
        flow::{Direction, Endpoint, Flow, FlowState, Protocol},
        mirror::Mirror,
    };

    use super::*;
    use crate::engine::{Engine, Limits, Start};

    fn engine() -> Engine {
        let at = Timestamp::now();
        Engine::new(Start {
            version: "test".into(),
            at,
            booted_at: at,
            limits: Limits::default(),
            host_mnt_ns: 0,
        })
    }

    fn look(poller: &mut Poller, engine: &mut Engine) {
        for input in poller.look(Timestamp::now()) {
            let _effects = engine.step(input, Timestamp::now());
        }
    }

    fn flow(mirror: &Mirror, local: SocketAddr, remote: SocketAddr) -> Flow {
        let (local, remote) = (Endpoint::from(local), Endpoint::from(remote));
        mirror.flows().find(|f| f.local == local && f.remote == remote).unwrap().clone()
    }

    fn a_pair_over(address: SocketAddr) {
        let (mut poller, mut engine) = (Poller::new(Options::default()), engine());
        look(&mut poller, &mut engine);
        let listener = TcpListener::bind(address).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let (here, there) = (client.local_addr().unwrap(), listener.local_addr().unwrap());
        look(&mut poller, &mut engine);
        let (out, inn) = (flow(engine.mirror(), here, there), flow(engine.mirror(), there, here));
        assert_eq!(
            (out.protocol, out.state, out.direction),
            (Protocol::Tcp, FlowState::Open, Direction::Outbound)
        );
        assert_eq!((inn.state, inn.direction), (FlowState::Open, Direction::Inbound));
        for f in [&out, &inn] {
            let owner = engine.mirror().process(f.process.unwrap()).unwrap();
            assert_eq!(owner.pid, std::process::id());
        }
        client.write_all(&[7; 5_000]).unwrap();
        server.write_all(&[7; 300]).unwrap();
        server.read_exact(&mut [0; 5_000]).unwrap();
        client.read_exact(&mut [0; 300]).unwrap();
        look(&mut poller, &mut engine);
        let bytes = |f: Flow| (f.counters.tx_bytes, f.counters.rx_bytes);
        assert_eq!(bytes(flow(engine.mirror(), here, there)), (5_000, 300));
        assert_eq!(bytes(flow(engine.mirror(), there, here)), (300, 5_000));
        // Half closed: the FIN is no byte.
        drop(client);
        look(&mut poller, &mut engine);
        assert_eq!(bytes(flow(engine.mirror(), there, here)), (300, 5_000));
        drop(server);
        look(&mut poller, &mut engine);
        for f in [flow(engine.mirror(), here, there), flow(engine.mirror(), there, here)] {
            assert_eq!(f.state, FlowState::Closed);
        }
    }

    #[test]
    fn a_connection_over_ipv4_has_owner_direction_bytes_and_end() {
        a_pair_over((Ipv4Addr::LOCALHOST, 0).into());
    }

    #[test]
    fn a_connection_over_ipv6_has_owner_direction_bytes_and_end() {
        a_pair_over((Ipv6Addr::LOCALHOST, 0).into());
    }

    #[test]
    fn a_connected_udp_socket_is_a_flow_and_ends_with_it() {
        let (mut poller, mut engine) = (Poller::new(Options::default()), engine());
        let one = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let two = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        one.connect(two.local_addr().unwrap()).unwrap();
        look(&mut poller, &mut engine);
        let (here, there) = (one.local_addr().unwrap(), two.local_addr().unwrap());
        let found = flow(engine.mirror(), here, there);
        assert_eq!((found.protocol, found.state), (Protocol::Udp, FlowState::Open));
        assert!(found.process.is_some());
        drop(one);
        look(&mut poller, &mut engine);
        assert_eq!(flow(engine.mirror(), here, there).state, FlowState::Closed);
    }

    #[test]
    fn the_thread_looks_at_once_says_what_it_sees_and_ends_with_its_channels() {
        let (say, watched) = bounded(1);
        let (inputs, hear) = bounded(64);
        let thread = spawn(Options::default(), watched, inputs).unwrap();
        let wait = Duration::from_secs(10);
        let Input::Coverage { mode, sources } = hear.recv_timeout(wait).unwrap() else {
            panic!("coverage first")
        };
        assert_eq!(mode, Mode::Reduced);
        assert!(!sources.is_empty());
        assert!(matches!(hear.recv_timeout(wait).unwrap(), Input::Observed(_)));
        say.send(true).unwrap();
        assert!(matches!(hear.recv_timeout(wait).unwrap(), Input::Observed(_)));
        drop(say);
        thread.join().unwrap();
    }
}
