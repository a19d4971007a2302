//! The service manager's side of sd_notify(3): state messages and stored descriptors.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// systemd's limit for one service in our unit file.
const STORE_MAX: usize = 16;

/// Stored descriptors live above the numbers that a restarted helper expects them at (3 and up).
const STORE_FROM: i32 = 100;

/// A descriptor that the helper left with its service manager.
#[derive(Debug)]
pub(super) struct Stored {
    /// FDNAME, `stored` when none was given.
    pub name: String,
    /// The descriptor, close-on-exec.
    pub fd: OwnedFd,
}

/// What one message said that matters to us.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// READY=1
    pub is_ready: bool,
    /// STOPPING=1
    pub is_stopping: bool,
    /// STATUS=…
    pub status: Option<String>,
    stores: bool,
    removes: bool,
    name: Option<String>,
}

/// The socket that NOTIFY_SOCKET names, with the descriptors that came over it.
pub(super) struct Listener {
    socket: UnixDatagram,
    /// The descriptor store, kept over restarts.
    pub store: Vec<Stored>,
}

impl Listener {
    /// Binds the socket where a helper that has given up root can still write.
    ///
    /// # Errors
    /// When the path is taken or cannot be written.
    pub(super) fn bind(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path).with_context(|| format!("cannot bind {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(Self { socket, store: Vec::new() })
    }

    /// Waits up to 50 ms for one message.
    ///
    /// # Errors
    /// When the socket fails.
    pub(super) fn receive(&mut self) -> Result<Option<Message>> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STORE_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let length = match received {
            Ok(message) => message.bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(error) => return Err(error).context("cannot read the notification socket"),
        };
        let mut fds = Vec::new();
        for item in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = item {
                fds.extend(received);
            }
        }
        let message = Message::read(&String::from_utf8_lossy(&bytes[..length]));
        self.keep(&message, fds)?;
        Ok(Some(message))
    }

    fn keep(&mut self, message: &Message, fds: Vec<OwnedFd>) -> Result<()> {
        let name = message.name.as_deref().unwrap_or("stored");
        if message.removes {
            self.store.retain(|stored| stored.name != name);
        }
        if message.stores {
            for fd in fds {
                if self.store.len() < STORE_MAX {
                    let fd = fcntl_dupfd_cloexec(&fd, STORE_FROM).context("cannot keep a descriptor")?;
                    self.store.push(Stored { name: name.to_owned(), fd });
                }
            }
        }
        Ok(())
    }
}

impl Message {
    fn read(text: &str) -> Self {
        let mut message = Self::default();
        for line in text.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => message.is_ready = true,
                Some(("STOPPING", "1")) => message.is_stopping = true,
                Some(("STATUS", text)) => message.status = Some(text.to_owned()),
                Some(("FDSTORE", "1")) => message.stores = true,
                Some(("FDSTOREREMOVE", "1")) => message.removes = true,
                Some(("FDNAME", name)) => message.name = Some(name.to_owned()),
                _ => {}
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::io::IoSlice;
    use std::os::fd::{AsFd as _, AsRawFd as _};

    #[test]
    fn reads_the_messages_of_a_starting_service() {
        let message = Message::read("READY=1\nSTATUS=watching\nX_EXTRA=1\n");
        assert!(message.is_ready && !message.is_stopping);
        assert_eq!(message.status.as_deref(), Some("watching"));
        assert!(!Message::read("READY=0\n").is_ready);
    }

    #[test]
    fn descriptors_are_stored_by_name_and_removed_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let mut listener = Listener::bind(&path).unwrap();
        assert_eq!(listener.receive().unwrap(), None, "nothing was sent yet");
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(&path).unwrap();

        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let file = tempfile::tempfile().unwrap();
        let fds = [file.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&sender, &[IoSlice::new(b"FDSTORE=1\nFDNAME=table")], &mut control, SendFlags::empty())
            .unwrap();
        assert!(listener.receive().unwrap().is_some());
        assert_eq!(listener.store.len(), 1);
        assert_eq!(listener.store[0].name, "table");
        assert!(listener.store[0].fd.as_raw_fd() >= STORE_FROM);

        sender.send(b"FDSTOREREMOVE=1\nFDNAME=table").unwrap();
        listener.receive().unwrap();
        assert!(listener.store.is_empty());
    }
}
