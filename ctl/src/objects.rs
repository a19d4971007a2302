//! Objects that stand within lines of JSON of more than one command.

use std::net::IpAddr;

use sekhmet_common::{
    display::Text,
    flow::{Endpoint, NameSource, RemoteName},
    process::{Process, ProcessId},
};
use serde::Serialize;

/// A process beside what it has done.
#[derive(Debug, Serialize)]
pub(crate) struct Owner<'a> {
    id: ProcessId,
    pid: u32,
    name: &'a Text,
    exe: &'a Text,
    cmdline: &'a [Text],
    uid: u32,
    user: Option<&'a Text>,
    unit: Option<&'a Text>,
    container: Option<&'a Text>,
}

impl<'a> Owner<'a> {
    pub(crate) fn new(p: &'a Process) -> Self {
        Self {
            id: p.id,
            pid: p.pid,
            name: &p.name,
            exe: &p.exe,
            cmdline: &p.cmdline,
            uid: p.uid,
            user: p.user.as_ref(),
            unit: p.unit.as_ref(),
            container: p.container.as_ref(),
        }
    }
}

/// The other side of a flow.
#[derive(Debug, Serialize)]
pub(crate) struct Remote<'a> {
    addr: IpAddr,
    port: u16,
    name: Option<&'a Text>,
    name_source: Option<NameSource>,
}

impl<'a> Remote<'a> {
    pub(crate) fn new(remote: Endpoint, name: Option<&'a RemoteName>) -> Self {
        Self {
            addr: remote.addr,
            port: remote.port,
            name: name.map(|n| &n.name),
            name_source: name.map(|n| n.source),
        }
    }
}
