//! Lines of JSON, and objects within them, that more than one client writes: their fields have one meaning everywhere.

use std::net::IpAddr;

use serde::Serialize;

use crate::{
    display::Text,
    file::{Access, AccessId, Contact, ContactId, ContactReason, FileAccess, Outcome},
    flow::{Endpoint, FlowId, NameSource, RemoteName},
    mirror::Mirror,
    process::{Process, ProcessId},
    time::Timestamp,
    watch::{EntryId, Severity},
};

/// A process beside what it has done.
#[derive(Debug, Serialize)]
pub struct Owner<'a> {
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
    /// What is told of a process.
    pub fn new(p: &'a Process) -> Self {
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
pub struct Remote<'a> {
    addr: IpAddr,
    port: u16,
    name: Option<&'a Text>,
    name_source: Option<NameSource>,
}

impl<'a> Remote<'a> {
    /// The other side, with its name if that is known.
    pub fn new(remote: Endpoint, name: Option<&'a RemoteName>) -> Self {
        Self {
            addr: remote.addr,
            port: remote.port,
            name: name.map(|n| &n.name),
            name_source: name.map(|n| n.source),
        }
    }
}

/// An access with what came after it: one line of `sekhmetctl files --json`.
#[derive(Debug, Serialize)]
pub struct AccessLine<'a> {
    id: AccessId,
    process: Option<Owner<'a>>,
    path: &'a Text,
    requested_path: Option<&'a Text>,
    entry: EntryId,
    severity: Severity,
    access: Access,
    result: Outcome,
    count: u64,
    at: Timestamp,
    first_time: bool,
    last_at: Timestamp,
    expected: bool,
    label: Option<&'a Text>,
    mount_ns: Option<u32>,
    contacts: Vec<After<'a>>,
    contacts_left_out: u64,
}

/// A remote that was reached after an access.
#[derive(Debug, Serialize)]
pub struct After<'a> {
    id: ContactId,
    process: ProcessId,
    pid: Option<u32>,
    flow: FlowId,
    remote: Remote<'a>,
    reason: ContactReason,
    at: Timestamp,
    tx_bytes: u64,
}

impl<'a> AccessLine<'a> {
    /// The line of an access by a process, as far as that is known.
    pub fn new(
        mirror: &'a Mirror,
        a: &'a FileAccess,
        process: Option<&'a Process>,
        contacts: impl IntoIterator<Item = &'a Contact>,
    ) -> Self {
        Self {
            id: a.id,
            process: process.map(Owner::new),
            path: &a.path,
            requested_path: a.requested_path.as_ref(),
            entry: a.entry,
            severity: a.severity,
            access: a.access,
            result: a.result,
            count: a.count,
            at: a.at,
            first_time: a.first_time,
            last_at: a.last_at,
            expected: a.expected,
            label: mirror.entry(a.entry).map(|entry| &entry.label),
            mount_ns: a.mount_ns,
            contacts: contacts.into_iter().map(|contact| After::new(mirror, contact)).collect(),
            contacts_left_out: a.contacts_left_out,
        }
    }
}

impl<'a> After<'a> {
    fn new(mirror: &Mirror, c: &'a Contact) -> Self {
        Self {
            id: c.id,
            process: c.process,
            pid: mirror.process(c.process).map(|process| process.pid),
            flow: c.flow,
            remote: Remote::new(c.remote, c.remote_name.as_ref()),
            reason: c.reason,
            at: c.at,
            tx_bytes: c.tx_bytes,
        }
    }
}
