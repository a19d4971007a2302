//! Sockets used through io_uring(7): by the process itself, by the kernel's own thread, and those that only a ring has.

use std::{
    io::Read,
    net::{SocketAddrV4, TcpListener, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use io_uring::{IoUring, opcode, squeue::Entry, types};
use rustix::io::Errno;

use super::{
    Stage,
    victim::{Answer, V4, Victim},
};

const REFUSED: Answer = Err(libc::EPERM);

/// How long a ring may take for something that is neither done nor refused.
static PATIENCE: types::Timespec = types::Timespec::new().nsec(400_000_000);

pub(super) fn run(stage: &mut Stage<'_>) {
    for (how, name) in [("plain", "io_uring"), ("polled", "io_uring by the kernel's thread")] {
        let mut victim = Victim::start();
        match victim.ask(&format!("ring {how}")) {
            Ok(_) => through(stage, &mut victim, name),
            Err(errno) => {
                stage.tap.skip(&format!("{name}, a connection is refused"), &format!("errno {errno}"))
            }
        }
    }
}

fn through(stage: &mut Stage<'_>, victim: &mut Victim, name: &str) {
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let peer = UdpSocket::bind((V4, 0)).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (to, to_peer) = (listener.local_addr().unwrap(), peer.local_addr().unwrap());
    let udp = victim.connected("udp4", to_peer).unwrap();
    let works = (victim.ask(&format!("ring-send {udp} 5")), peer.recv(&mut [0; 9]).ok());
    stage.check(&format!("{name}, works without a rule"), works == (Ok(5), Some(5)), works);
    // These two have no descriptor any more: nobody finds them in /proc.
    let kept = victim.connected("tcp4", to).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let hidden = victim.connected("udp4", to_peer).unwrap();
    for (slot, place) in [kept, hidden].into_iter().enumerate() {
        victim.ask(&format!("ring-keep {slot} {place}")).unwrap();
    }
    let works = (victim.ask("ring-kept-send 0 7"), victim.ask("ring-kept-send 1 8"));
    let heard = (far.read(&mut [0; 64]).ok(), peer.recv(&mut [0; 64]).ok());
    let good = (works, heard) == ((Ok(7), Ok(8)), (Some(7), Some(8)));
    stage.check(&format!("{name}, sockets without descriptors work"), good, (works, heard));

    stage.block(victim);
    let new = victim.open("tcp4");
    let answer = victim.ask(&format!("ring-connect {new} {to}"));
    stage.check(&format!("{name}, a connection is refused"), answer == REFUSED, answer);
    let answer = victim.ask(&format!("ring-send {udp} 5"));
    stage.check(&format!("{name}, a datagram from a socket of before is refused"), answer == REFUSED, answer);
    let answer = victim.ask("ring-kept-send 1 5");
    stage.check(&format!("{name}, and from one without a descriptor"), answer == REFUSED, answer);
    let answer = victim.ask("ring-kept-send 0 50");
    far.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let mut room = [0; 64];
    let heard = far.read(&mut room).map_err(|error| error.kind());
    // A connection that is closed says so to the peer; of one that is only silent nothing comes.
    let good = heard != Ok(50) && peer.recv(&mut room).is_err();
    stage.check(&format!("{name}, nothing passes a connection without a descriptor"), good, (answer, heard));
    let answer = victim.ask("ring-kept-recv 0");
    let noticed = !matches!(answer, Err(libc::ETIME | libc::ECANCELED));
    stage.check(&format!("{name}, whoever waits for its bytes notices"), noticed, answer);
    match victim.ask("ring-socket 2") {
        Ok(_) => {
            let answer = victim.ask(&format!("ring-kept-connect 2 {to}"));
            stage.check(
                &format!("{name}, a socket that the ring makes is refused"),
                answer == REFUSED,
                answer,
            );
        }
        Err(errno) => {
            let name = format!("{name}, a socket that the ring makes is refused");
            stage.tap.skip(&name, &format!("errno {errno}: a ring makes sockets since Linux 5.19"));
        }
    }
    listener.set_nonblocking(true).unwrap();
    let came = listener.accept();
    stage.check(&format!("{name}, no connection has come through"), came.is_err(), &came);
    stage.free();
    let answer = victim.ask("ring-kept-send 1 6");
    stage.check(&format!("{name}, and works again afterwards"), answer == Ok(6), answer);
}

/// The victim's own ring.
#[derive(Default)]
pub(super) struct Ring(Option<IoUring>);

impl Ring {
    /// Does a line that begins with `ring`.
    pub(super) fn act(&mut self, sockets: &mut [Option<OwnedFd>], words: &[&str]) -> Result<i64, Errno> {
        let number = |at: usize| words[at].parse::<u32>().unwrap();
        let mut bytes = [7_u8; 4096];
        let start = bytes.as_mut_ptr();
        let plain = |at: usize| types::Fd(sockets[number(at) as usize].as_ref().unwrap().as_raw_fd());
        let address = |at: usize| to_kernel(words[at].parse().unwrap());
        let length = size_of::<libc::sockaddr_in>() as u32;
        match words[0] {
            "ring" => {
                let mut builder = IoUring::builder();
                if words[1] == "polled" {
                    builder.setup_sqpoll(2_000);
                }
                let ring = builder.build(8).map_err(raw)?;
                ring.submitter().register_files(&[-1; 4]).map_err(raw)?;
                self.0 = Some(ring);
                Ok(0)
            }
            "ring-keep" => {
                let place = number(2) as usize;
                let socket = sockets[place].take().unwrap();
                let submitter = self.0.as_ref().unwrap().submitter();
                submitter.register_files_update(number(1), &[socket.as_raw_fd()]).map_err(raw)?;
                Ok(0)
            }
            "ring-send" => self.wait(opcode::Send::new(plain(1), start, number(2)).build()),
            "ring-connect" => {
                let to = address(2);
                self.wait(opcode::Connect::new(plain(1), (&raw const to).cast(), length).build())
            }
            "ring-kept-send" => {
                let send = opcode::Send::new(types::Fixed(number(1)), start, number(2));
                self.wait(send.flags(libc::MSG_NOSIGNAL).build())
            }
            "ring-kept-recv" => self.wait(opcode::Recv::new(types::Fixed(number(1)), start, 64).build()),
            "ring-kept-connect" => {
                let to = address(2);
                let slot = types::Fixed(number(1));
                self.wait(opcode::Connect::new(slot, (&raw const to).cast(), length).build())
            }
            "ring-socket" => {
                let slot = types::DestinationSlot::try_from_slot_target(number(1)).unwrap();
                let make = opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0);
                self.wait(make.file_index(Some(slot)).build())
            }
            other => unreachable!("no such word: {other}"),
        }
    }

    /// Has one thing done and waits for it; what takes too long is given up as `ECANCELED`.
    #[expect(unsafe_code, reason = "the queue takes entries that point to memory")]
    fn wait(&mut self, entry: Entry) -> Result<i64, Errno> {
        let ring = self.0.as_mut().unwrap();
        let entry = entry.flags(io_uring::squeue::Flags::IO_LINK).user_data(1);
        let limit = opcode::LinkTimeout::new(&raw const PATIENCE).build().user_data(2);
        // SAFETY: what the entries point to lives until both have come back, which is waited for here.
        unsafe { ring.submission().push_multiple(&[entry, limit]).unwrap() };
        let (mut result, mut left) = (None, 2);
        while left > 0 {
            ring.submit_and_wait(1).map_err(raw)?;
            for done in ring.completion() {
                left -= 1;
                result = result.or((done.user_data() == 1).then_some(done.result()));
            }
        }
        match result {
            Some(number @ 0..) => Ok(number.into()),
            Some(errno) => Err(Errno::from_raw_os_error(-errno)),
            None => Err(Errno::IO),
        }
    }
}

fn raw(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap()
}

fn to_kernel(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}
