//! A client's end of an event stream.

use std::{collections::HashMap, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, recv},
};
use sekhmet_common::{bus::OPTION_SCOPE, event::Event, wire};
use zbus::{Connection, Variant, message::Flags};

use super::{MONITOR, call};

/// Opens a stream.
pub(crate) async fn open(connection: &Connection, scope: &str, flags: Flags) -> Result<OwnedFd, String> {
    let options = HashMap::from([(OPTION_SCOPE, Variant::from(scope))]);
    let reply = call(connection, MONITOR, "OpenEventStream", flags, &options).await?;
    let fd: zbus::OwnedFd = reply.body().deserialize().unwrap();
    Ok(fd.into())
}

/// The next frame, or nothing at the end of the stream.
pub(crate) fn frame(stream: &OwnedFd) -> Option<Vec<Event>> {
    assert!(wait(stream, Duration::from_secs(20)), "no frame came");
    let mut buffer = vec![0; wire::FRAME_MAX + 1];
    match recv(stream, &mut buffer, RecvFlags::DONTWAIT).unwrap().0 {
        0 => None,
        length => Some(wire::decode(&buffer[..length]).unwrap()),
    }
}

/// Whether there is something to read, or an end, within a time.
pub(crate) fn wait(stream: &OwnedFd, time: Duration) -> bool {
    let timeout =
        Timespec { tv_sec: time.as_secs().try_into().unwrap(), tv_nsec: time.subsec_nanos().into() };
    poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&timeout)).unwrap() > 0
}

/// Reads until the stream ends.
pub(crate) fn drain(stream: &OwnedFd) -> usize {
    let mut frames = 0;
    while frame(stream).is_some() {
        frames += 1;
    }
    frames
}
