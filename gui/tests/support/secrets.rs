//! Watched files of the made-up machine: who opens them, and whom they reach after.

use sekhmet_common::{
    event::Event,
    file::{Access, AccessId, Contact, ContactId, ContactReason, FileAccess, Outcome},
    flow::{Endpoint, FlowId, NameSource, RemoteName},
    process::ProcessId,
    time::Timestamp,
    watch::{Entry, EntryId, Owner, Severity},
};

use super::scene;

const LONG: &str = "/home/ana/src/shop/packages/checkout-and-payment-gateway/services/invoice-renderer/deploy/production/.env";

/// The moment so many milliseconds into the scene.
pub(crate) fn ms(milliseconds: i64) -> Timestamp {
    scene::at(0).plus_nanos(milliseconds * 1_000_000)
}

/// An entry of the watchlist that came with the program.
pub(crate) fn entry(
    id: u32,
    group: &str,
    label: &str,
    pattern: &str,
    severity: Severity,
    readers: &[&str],
) -> Entry {
    Entry {
        id: EntryId(id),
        pattern: pattern.into(),
        label: label.into(),
        group: group.into(),
        severity,
        expected: readers.iter().map(|r| (*r).into()).collect(),
        owner: Owner::Default,
        enabled: true,
    }
}

/// The watchlist.
pub(crate) fn entries() -> Vec<Entry> {
    use Severity::{High, Low, Medium};
    let mut all = vec![
        entry(1, "SSH and GPG", "SSH key", "~/.ssh/id_*", High, &["/usr/bin/ssh", "/usr/bin/ssh-add"]),
        entry(
            2,
            "SSH and GPG",
            "GPG private key",
            "~/.gnupg/private-keys-v1.d/**",
            High,
            &["/usr/bin/gpg-agent"],
        ),
        entry(3, "SSH and GPG", "host keys", "/etc/ssh/ssh_host_*_key", High, &["/usr/sbin/sshd"]),
        entry(
            4,
            "Browsers",
            "saved logins",
            "~/.mozilla/**/logins.json",
            High,
            &["/usr/lib/firefox/firefox"],
        ),
        entry(5, "Browsers", "cookies", "~/.mozilla/**/cookies.sqlite", High, &["/usr/lib/firefox/firefox"]),
        entry(6, "Developer credentials", "npm token", "~/.npmrc", High, &["/usr/bin/npm"]),
        entry(7, "Developer credentials", "cloud key", "~/.aws/credentials", High, &["/usr/bin/aws"]),
        entry(8, "Developer credentials", "environment file", "**/.env", Medium, &[]),
        entry(9, "Mail", "mail store", "~/.thunderbird/**", Medium, &["/usr/lib/thunderbird/thunderbird"]),
        entry(
            10,
            "Shell histories",
            "shell history",
            "~/.*_history",
            Low,
            &["/usr/bin/bash", "/usr/bin/zsh"],
        ),
        entry(11, "System", "passwords", "/etc/shadow", High, &["/usr/bin/sudo", "/usr/sbin/sshd"]),
    ];
    let mut own = entry(12, "Own entries", "Demo tokens", "~/.config/demo/**", Medium, &[]);
    own.owner = Owner::User(1000);
    let mut off = entry(13, "Shell histories", "less history", "~/.lesshst", Low, &[]);
    off.enabled = false;
    all.extend([own, off]);
    all
}

/// A file opened by a process at a moment in milliseconds.
pub(crate) fn access(id: u64, process: u64, path: &str, entry: u32, milliseconds: i64) -> FileAccess {
    let severity = entries().iter().find(|e| e.id.0 == entry).map(|e| e.severity).unwrap_or_default();
    FileAccess {
        id: AccessId(id),
        process: ProcessId(process),
        path: path.into(),
        requested_path: None,
        entry: EntryId(entry),
        severity,
        access: Access::Read,
        result: Outcome::OK,
        count: 1,
        at: ms(milliseconds),
        last_at: ms(milliseconds),
        first_time: false,
        expected: false,
        mount_ns: None,
        contacts_left_out: 0,
    }
}

/// A remote that was reached after.
pub(crate) fn contact(id: u64, access: &FileAccess, flow: u64, host: &str, milliseconds: i64) -> Contact {
    Contact {
        id: ContactId(id),
        access: access.id,
        read_at: access.at,
        process: access.process,
        flow: FlowId(flow),
        remote: Endpoint::new(std::net::Ipv4Addr::new(192, 0, 2, 200).into(), 443),
        remote_name: Some(RemoteName { name: host.into(), source: NameSource::Dns }),
        reason: ContactReason::NewRemote,
        at: ms(milliseconds),
        tx_bytes: 3_100,
    }
}

fn accesses() -> Vec<FileAccess> {
    let expected = |a: FileAccess| FileAccess { expected: true, ..a };
    let token = FileAccess {
        count: 2,
        last_at: ms(129_400),
        first_time: true,
        requested_path: Some("../../.npmrc".into()),
        ..access(5, 211, "/home/ana/.npmrc", 6, 129_204)
    };
    let missing =
        FileAccess { result: Outcome(2), ..access(6, 211, "/home/ana/.aws/credentials", 7, 129_231) };
    vec![
        expected(FileAccess {
            access: Access::ReadWrite,
            count: 7,
            ..access(1, 10, "/home/ana/.mozilla/firefox/k3/cookies.sqlite", 5, 20_100)
        }),
        expected(FileAccess {
            count: 2,
            ..access(2, 10, "/home/ana/.mozilla/firefox/k3/logins.json", 4, 21_400)
        }),
        expected(access(3, 11, "/home/ana/.gnupg/private-keys-v1.d/4A1C.key", 2, 44_800)),
        expected(access(4, 70, "/home/ana/.ssh/id_ed25519", 1, 60_000)),
        token,
        missing,
        access(7, 190, LONG, 8, 112_000),
        expected(FileAccess { count: 3, ..access(8, 90, "/etc/ssh/ssh_host_ed25519_key", 3, 141_000) }),
        expected(FileAccess {
            access: Access::ReadWrite,
            count: 4,
            ..access(9, 80, "/home/ana/.thunderbird/p1.default/Mail/Local Folders/Inbox", 9, 150_700)
        }),
    ]
}

/// Everything about watched files, in the order in which it happens.
pub(crate) fn events() -> Vec<Event> {
    let at = scene::at(0);
    let mut events: Vec<Event> =
        entries().into_iter().map(|entry| Event::WatchEntryAdded { at, entry }).collect();
    let accesses = accesses();
    let contacts = [
        contact(1, &accesses[4], 47, "in.pkgstat.example", 130_019),
        contact(2, &accesses[5], 47, "in.pkgstat.example", 130_019),
        Contact {
            reason: ContactReason::Sent,
            tx_bytes: 1_060_000,
            ..contact(3, &accesses[3], 70, "build7.lab.example", 90_000)
        },
        Contact {
            reason: ContactReason::Sent,
            tx_bytes: 4_310_000,
            ..contact(4, &accesses[0], 1, "video.example", 61_000)
        },
    ];
    let mut later: Vec<Event> =
        accesses.into_iter().map(|access| Event::FileAccessed { at: access.last_at, access }).collect();
    later.extend(contacts.into_iter().map(|contact| Event::ContactAfter { at: contact.at, contact }));
    later.sort_by_key(Event::at);
    events.extend(later);
    events
}

/// Puts these events where they belong among others.
pub(crate) fn woven_into(events: Vec<Event>) -> Vec<Event> {
    let mut all = events;
    let snapshot = all.iter().position(|e| matches!(e, Event::SnapshotEnd { .. })).map_or(0, |at| at + 1);
    let mut rest = all.split_off(snapshot);
    rest.extend(self::events());
    rest.sort_by_key(Event::at);
    all.extend(rest);
    all
}
