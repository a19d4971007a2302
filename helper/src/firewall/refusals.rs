//! The reader of refused packets: a netlink log group that this process alone listens to.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use netlink_sys::Socket;
use sekhmet_common::time::Timestamp;

use super::{
    RefusedPacket,
    netlink::{self, ask},
    packet::read_packets,
    skeleton::LOG_GROUP,
};

// include/uapi/linux/netfilter/nfnetlink_log.h
const CONFIG: u16 = 4 << 8 | 1;
const COMMAND: u16 = 1;
const COMMAND_BIND: u8 = 1;
const MODE: u16 = 2;
const MODE_COPY_PACKET: u8 = 2;
const BUFFER: u16 = 3;
const TIMEOUT: u16 = 4;
const THRESHOLD: u16 = 5;
const FLAGS: u16 = 6;
const FLAG_SEQUENCE: u16 = 1;

/// Bytes of each packet that the kernel copies: the longest IPv4 header and ports, or IPv6 with extensions.
const COPIED: u32 = 96;
/// The kernel gathers packets until they fill this…
const BUFFER_BYTES: u32 = 32 * 1024;
/// …or are so many, …
const GATHERED: u32 = 64;
/// …or the first has waited so long, in hundredths of a second: less than a tick of the stream.
const GATHERED_CENTISECONDS: u32 = 5;
/// What may wait for us, as far as `net.core.rmem_max` allows. The table lets each rule's log have 100 packets a second, at most 256 bytes each here.
const RECEIVE_BYTES: u32 = 1 << 20;
/// How long a read waits, and so how long stopping takes.
const PATIENCE: Duration = Duration::from_millis(200);

/// What was read at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they were refused.
    pub packets: Vec<RefusedPacket>,
    /// Messages that the kernel made and nobody read since the last batch.
    pub lost: u64,
    /// Messages that do not tell of a packet with our mark.
    pub unreadable: u64,
}

/// The bound log group.
#[derive(Debug)]
pub struct Refusals {
    socket: Socket,
    buffer: Vec<u8>,
    /// The number that the next message should have; a group that was just bound begins with 0.
    next: u32,
}

impl Refusals {
    /// Binds the group in this thread's network namespace.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` if another process listens to group 74 or without CAP_NET_ADMIN, `EINVAL`
    /// without nfnetlink_log. Without the reader the table refuses all the same, and counts.
    pub fn open() -> io::Result<Self> {
        let socket = netlink::socket(PATIENCE)?;
        socket.set_rx_buf_sz(RECEIVE_BYTES)?;
        // A loss shows as a gap in the sequence; ENOBUFS would only say that there was one.
        socket.set_no_enobufs(true)?;
        let mode = [&COPIED.to_be_bytes()[..], &[MODE_COPY_PACKET, 0]].concat();
        let config = |attributes: &[(u16, &[u8])]| netlink::request(CONFIG, 0, LOG_GROUP, attributes);
        ask(&socket, &config(&[(COMMAND, &[COMMAND_BIND])]), |_| ())?;
        let settings = config(&[
            (MODE, &mode),
            (BUFFER, &BUFFER_BYTES.to_be_bytes()),
            (TIMEOUT, &GATHERED_CENTISECONDS.to_be_bytes()),
            (THRESHOLD, &GATHERED.to_be_bytes()),
            (FLAGS, &FLAG_SEQUENCE.to_be_bytes()),
        ]);
        ask(&socket, &settings, |_| ())?;
        Ok(Self { socket, buffer: vec![0; netlink::RECEIVE_MAX], next: 0 })
    }

    /// Waits for refused packets, at most 200 ms; an empty batch if there were none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read(&mut self) -> io::Result<Batch> {
        let bytes = match netlink::receive(&self.socket, &mut self.buffer) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(Batch::default());
            }
            Err(error) => return Err(error),
        };
        let mut batch = Batch::default();
        for packet in read_packets(bytes, Timestamp::now()) {
            if let Some(sequence) = packet.sequence {
                batch.lost += gap(self.next, sequence);
                self.next = sequence.wrapping_add(1);
            }
            match packet.refused {
                Some(refused) => batch.packets.push(refused),
                None => batch.unreadable += 1,
            }
        }
        Ok(batch)
    }
}

/// How many numbers were left out.
fn gap(next: u32, sequence: u32) -> u64 {
    sequence.wrapping_sub(next).into()
}

/// The thread `refusals`. Dropping it ends the thread.
#[derive(Debug)]
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// Reads until dropped, or `sink` says that nobody listens any more. The sink must not wait.
///
/// # Errors
/// If the system has no thread left.
pub fn start(
    mut refusals: Refusals,
    mut sink: impl FnMut(Batch) -> bool + Send + 'static,
) -> io::Result<Reader> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = thread::Builder::new().name("refusals".to_owned()).spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let batch = refusals.read()?;
            if batch != Batch::default() && !sink(batch) {
                break;
            }
        }
        Ok(())
    })?;
    Ok(Reader { stop, thread: Some(thread) })
}

impl Reader {
    /// Whether it still reads.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => tracing::warn!(%error, "refused packets were no longer read"),
            Some(Err(_panic)) => tracing::error!("the reader of refused packets had panicked"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_left_out_are_losses_across_the_turn() {
        assert_eq!(gap(5, 5), 0);
        assert_eq!(gap(5, 8), 3);
        assert_eq!(gap(u32::MAX, 1), 2);
    }
}
