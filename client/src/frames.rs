//! Reads frames from the stream's socket.

use std::{io, os::unix::net};

use rustix::net::{RecvFlags, recv};
use sekhmet_common::wire::FRAME_MAX;
use tokio::{io::Interest, net::UnixStream};
use zbus::OwnedFd;

/// The client's end of a stream.
#[derive(Debug)]
pub(crate) struct Frames {
    socket: UnixStream,
    buffer: Vec<u8>,
}

impl Frames {
    /// Takes over the descriptor that the helper gave.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        // tokio has no type for packet sockets. Its stream type waits for readiness just as well.
        let socket = net::UnixStream::from(std::os::fd::OwnedFd::from(fd));
        socket.set_nonblocking(true)?;
        // One byte more than a frame may have, so that a longer one is seen to be longer.
        Ok(Self { socket: UnixStream::from_std(socket)?, buffer: vec![0; FRAME_MAX + 1] })
    }

    /// The next frame; nothing when the helper has closed the stream.
    pub(crate) async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            self.socket.readable().await?;
            let read = self.socket.try_io(Interest::READABLE, || {
                Ok(recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT)?.0)
            });
            match read {
                Ok(0) => return Ok(None),
                Ok(length) => return Ok(Some(&self.buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
