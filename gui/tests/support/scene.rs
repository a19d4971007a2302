//! A made-up machine for tests and pictures: a browser, a back-up, an installation, services, a container.

use std::net::IpAddr;

use sekhmet_common::{
    coverage::{KindBalance, Mode, RecordKind, Source, SourceStatus},
    display::Text,
    event::{Event, FlowCounters},
    flow::{
        Counters, Direction, EndReason, Endpoint, Flow, FlowId, FlowState, NameSource, Protocol, RemoteName,
    },
    process::{Process, ProcessId},
    time::Timestamp,
};

/// When the scene begins: 14:01:50 UTC.
pub(crate) const BEGIN: i64 = 1_794_319_310;
/// How long it lasts, in seconds.
pub(crate) const SECONDS: i64 = 335;

/// The moment so many seconds into the scene.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp((BEGIN + seconds) * 1_000_000_000)
}

/// A process with the usual values.
pub(crate) fn process(id: u64, exe: &str, arguments: &[&str]) -> Process {
    Process {
        id: ProcessId(id),
        pid: 48_000 + u32::try_from(id).unwrap_or(0),
        parent_id: None,
        name: exe.rsplit('/').next().unwrap_or(exe).into(),
        exe: exe.into(),
        cmdline: arguments.iter().map(|a| Text::from(*a)).collect(),
        cmdline_truncated: false,
        uid: 1000,
        user: Some("ana".into()),
        unit: None,
        container: None,
        application: None,
        application_name: None,
        net_ns: 4_026_531_840,
        started_at: at(-200),
        exited_at: None,
        exit_status: None,
        tx_bytes: 0,
        rx_bytes: 0,
    }
}

/// An open TCP flow to a remote endpoint.
#[expect(clippy::expect_used, reason = "the addresses are written in this file and its tests")]
pub(crate) fn flow(id: u64, process: u64, remote: &str, port: u16, name: Option<&str>) -> Flow {
    let remote: IpAddr = remote.parse().expect("an address");
    let local = if remote.is_ipv4() { "192.0.2.15" } else { "2001:db8::15" };
    Flow {
        id: FlowId(id),
        process: Some(ProcessId(process)),
        protocol: Protocol::Tcp,
        direction: Direction::Outbound,
        local: Endpoint::new(
            local.parse().expect("an address"),
            51_000 + u16::try_from(id % 9_000).unwrap_or(0),
        ),
        remote: Endpoint::new(remote, port),
        remote_name: name.map(|n| RemoteName { name: n.into(), source: NameSource::Dns }),
        net_ns: 4_026_531_840,
        state: FlowState::Open,
        opened_at: at(-180),
        closed_at: None,
        end_reason: None,
        counters: Counters::default(),
    }
}

/// How a flow talks: bytes down and up in a given second.
type Talk = fn(i64) -> (u64, u64);

struct Talker {
    flow: Flow,
    from: i64,
    until: i64,
    talk: Talk,
}

fn application(mut p: Process, id: &str, name: &str) -> Process {
    p.application = Some(id.into());
    p.application_name = Some(name.into());
    p.unit = Some(format!("app-{id}-4021.scope").into());
    p
}

fn service(id: u64, exe: &str, unit: &str, user: &str) -> Process {
    let mut p = process(id, exe, &[exe]);
    p.unit = Some(unit.into());
    p.user = Some(user.into());
    p.uid = if user == "root" { 0 } else { 990 };
    p.started_at = at(-21_000);
    p
}

fn child(mut p: Process, parent: u64) -> Process {
    p.parent_id = Some(ProcessId(parent));
    p
}

/// Every process of the scene.
pub(crate) fn processes() -> Vec<Process> {
    let mut shell = process(3, "/usr/bin/zsh", &["zsh"]);
    shell.parent_id = Some(ProcessId(2));
    let terminal = application(process(2, "/usr/bin/ptyxis", &["ptyxis"]), "org.gnome.Ptyxis", "Ptyxis");
    let mut container = process(60, "/usr/local/bin/node", &["node", "/srv/n8n/bin/n8n"]);
    container.container = Some("n8n-prod".into());
    container.net_ns = 4_026_532_871;
    let mut backup = process(11, "/usr/bin/python3.11", &["python3", "/home/ana/bin/backup.py", "--all"]);
    backup.unit = Some("backup.timer".into());
    vec![
        service(1, "/usr/lib/systemd/systemd", "init.scope", "root"),
        terminal,
        shell,
        child(application(process(10, "/usr/lib/firefox/firefox", &["firefox"]), "firefox", "Firefox"), 1),
        child(backup, 1),
        child(process(190, "/usr/bin/node", &["node", "/usr/bin/npm", "install"]), 3),
        child(
            process(
                211,
                "/usr/bin/node",
                &["node", "/home/ana/src/shop/node_modules/pkgstat/postinstall.js"],
            ),
            190,
        ),
        child(process(207, "/usr/lib/git-core/git-remote-https", &["git-remote-https", "origin"]), 190),
        child(container, 1),
        child(process(70, "/usr/bin/ssh", &["ssh", "build7.lab.example"]), 3),
        child(
            application(
                process(80, "/usr/lib/thunderbird/thunderbird", &["thunderbird"]),
                "thunderbird",
                "Thunderbird",
            ),
            1,
        ),
        child(service(90, "/usr/sbin/sshd", "sshd.service", "root"), 1),
        child(
            service(91, "/usr/lib/systemd/systemd-resolved", "systemd-resolved.service", "systemd-resolve"),
            1,
        ),
        child(service(92, "/usr/sbin/NetworkManager", "NetworkManager.service", "root"), 1),
        child(
            service(
                93,
                "/usr/lib/systemd/systemd-timesyncd",
                "systemd-timesyncd.service",
                "systemd-timesync",
            ),
            1,
        ),
        child(process(94, "/usr/bin/psql", &["psql", "shop"]), 3),
    ]
}

fn noise(t: i64, seed: i64) -> u64 {
    let mut x = u64::try_from(t * 7919 + seed * 104_729).unwrap_or(0).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^= x >> 29;
    x % 1000
}

fn burst(t: i64, every: i64, long: i64, peak: u64, seed: i64) -> u64 {
    let phase = (t + seed) % every;
    if phase >= long {
        return 0;
    }
    let fade = u64::try_from(long - phase).unwrap_or(0) * peak / u64::try_from(long).unwrap_or(1);
    fade * (600 + noise(t, seed) * 2 / 5) / 1000
}

fn talkers() -> Vec<Talker> {
    let mut all = Vec::new();
    let mut add = |flow: Flow, from, until, talk: Talk| all.push(Talker { flow, from, until, talk });
    add(flow(1, 10, "198.51.100.40", 443, Some("video.example")), 0, 999, |t| {
        (burst(t, 29, 9, 3_900_000, 3) + 40_000 + noise(t, 1) * 120, 8_000 + noise(t, 2) * 20)
    });
    add(flow(2, 10, "198.51.100.41", 443, Some("static.news.example")), 0, 999, |t| {
        (burst(t, 17, 3, 260_000, 5), burst(t, 17, 3, 22_000, 5))
    });
    for i in 0..6 {
        let mut f = flow(20 + i, 10, &format!("203.0.113.{}", 10 + i), 443, Some("cdn.news.example"));
        if i % 2 == 0 {
            f.protocol = Protocol::Udp;
        }
        add(f, 0, 999, |t| (burst(t, 41, 4, 90_000, 11), 500));
    }
    add(flow(30, 11, "198.51.100.77", 443, Some("vault.backup.example")), 45, 999, |t| {
        if (150..162).contains(&t) {
            (900, 40_000)
        } else {
            (1_500 + noise(t, 8), 1_500_000 + noise(t, 3) * 250)
        }
    });
    add(flow(40, 190, "203.0.113.35", 443, Some("registry.npmjs.example")), 95, 999, |t| {
        (burst(t, 60, 14, 180_000, 25), 700)
    });
    add(flow(44, 211, "203.0.113.35", 443, Some("registry.npmjs.example")), 108, 999, |t| {
        (
            if t < 124 { 1_050_000 - 40_000 * noise(t, 4) / 100 } else { 11_000 + noise(t, 5) },
            700 + noise(t, 6) / 4,
        )
    });
    add(flow(46, 211, "203.0.113.35", 443, Some("registry.npmjs.example")), 110, 999, |t| {
        (if t % 7 == 0 { 4_000 } else { 0 }, if t % 7 == 0 { 220 } else { 0 })
    });
    add(flow(47, 211, "192.0.2.200", 443, Some("in.pkgstat.example")), 130, 190, |t| {
        (noise(t, 9) / 90, noise(t, 7) / 12)
    });
    add(flow(48, 207, "198.51.100.9", 443, Some("git.example")), 60, 100, |t| {
        (burst(t, 60, 30, 64_000, 0), 900)
    });
    add(flow(60, 60, "198.51.100.120", 443, Some("api.crm.example")), 0, 999, |t| {
        (burst(t, 23, 8, 90_000, 1) + 800, 9_000)
    });
    add(flow(61, 60, "198.51.100.121", 5432, None), 0, 999, |t| (noise(t, 20), 1_000 + noise(t, 21) * 2));
    add(flow(70, 70, "203.0.113.7", 22, Some("build7.lab.example")), 0, 999, |t| {
        (900 + noise(t, 22), 3_300 + noise(t, 23) * 2)
    });
    add(flow(80, 80, "2001:db8:25::7", 993, Some("imap.mail.example")), 0, 999, |t| {
        (burst(t, 60, 2, 120_000, 30), burst(t, 60, 2, 20_000, 30))
    });
    let mut inbound = flow(90, 90, "203.0.113.150", 50_112, None);
    inbound.direction = Direction::Inbound;
    inbound.local.port = 22;
    add(inbound, 0, 999, |t| (600 + noise(t, 31) / 2, 2_600 + noise(t, 32) * 2));
    let mut dns = flow(91, 91, "198.51.100.53", 53, Some("resolver.example"));
    dns.protocol = Protocol::Udp;
    add(dns, 0, 999, |t| (noise(t, 33) / 2, noise(t, 34) / 4));
    add(flow(92, 92, "198.51.100.99", 80, Some("connectivity.example")), 0, 999, |t| {
        if t % 100 == 40 { (4_000, 1_300) } else { (0, 0) }
    });
    let mut ntp = flow(93, 93, "203.0.113.123", 123, Some("time.example"));
    ntp.protocol = Protocol::Udp;
    add(ntp, 0, 999, |t| if t % 128 == 40 { (76, 76) } else { (0, 0) });
    add(flow(94, 94, "127.0.0.1", 5432, None), 0, 999, |t| {
        (130_000 + noise(t, 41) * 30, 120_000 + noise(t, 42) * 20)
    });
    add(flow(95, 10, "192.168.1.9", 8009, Some("tv.local")), 0, 999, |_| (300, 200));
    all
}

/// The snapshot with which the scene begins.
pub(crate) fn snapshot() -> Vec<Event> {
    let now = at(0);
    let mut events = vec![Event::SnapshotBegin {
        at: now,
        version: "0.1.0".into(),
        watching_since: at(-21_000),
        mode: Mode::Full,
    }];
    events.extend(processes().into_iter().map(|process| Event::ProcessStarted { at: now, process }));
    events.push(Event::Coverage { at: now, mode: Mode::Full, sources: sources() });
    events.push(balance(0));
    events.push(Event::SnapshotEnd { at: now });
    events
}

fn sources() -> Vec<Source> {
    let source = |capability: &str, source: &str, status, cost: &str, reason: &str| Source {
        capability: capability.into(),
        source: source.into(),
        status,
        cost: cost.into(),
        reason: reason.into(),
    };
    vec![
        source("process start and end", "tp_btf sched_process_exec, fork, exit", SourceStatus::Best, "", ""),
        source("socket owner", "cgroup/sock_create, sk_storage", SourceStatus::Best, "", ""),
        source("TCP state", "tp_btf inet_sock_set_state", SourceStatus::Best, "", ""),
        source("TCP bytes", "tcp_sock by map iterator", SourceStatus::Best, "", ""),
        source("UDP bytes", "cgroup_skb ingress, egress", SourceStatus::Best, "", ""),
        source(
            "accepted connections",
            "owner of the listening socket",
            SourceStatus::Reduced,
            "A process that passes sockets on is named by its parent.",
            "fexit: not supported (524)",
        ),
    ]
}

fn balance(t: u64) -> Event {
    let kind = |kind, made: u64, filtered: u64, lost: u64| KindBalance {
        kind,
        made,
        delivered: made - filtered - lost,
        lost,
        filtered,
        in_flight: 0,
    };
    Event::Balance {
        at: at(t as i64),
        kinds: vec![
            kind(RecordKind::Exec, 41_207 + t, 0, 0),
            kind(RecordKind::Fork, 98_114 + 3 * t, 41_006, 0),
            kind(RecordKind::Exit, 97_922 + 3 * t, 41_006, 0),
            kind(RecordKind::TcpState, 1_204_511 + 40 * t, 2_665, 0),
            kind(RecordKind::PacketFlow, 18_312 + t, 0, 0),
            kind(RecordKind::SocketClosed, 211_840 + 5 * t, 0, 0),
            kind(RecordKind::Stream, 88_120 + 4 * t, 0, 0),
        ],
    }
}

/// The whole scene, a second after the other.
pub(crate) fn events() -> Vec<Event> {
    let mut events = snapshot();
    let mut talkers = talkers();
    for t in 0..SECONDS {
        let now = at(t);
        let mut moved = Vec::new();
        for talker in &mut talkers {
            let flow = &mut talker.flow;
            if t == talker.from {
                flow.opened_at = if t == 0 { flow.opened_at } else { now };
                events.push(Event::FlowOpened { at: now, flow: flow.clone() });
            }
            if t == talker.until {
                events.push(Event::FlowClosed {
                    at: now,
                    id: flow.id,
                    end_reason: EndReason::Closed,
                    counters: flow.counters,
                });
            }
            if (talker.from..talker.until).contains(&t) {
                let (down, up) = (talker.talk)(t);
                flow.counters.rx_bytes += down;
                flow.counters.tx_bytes += up;
                flow.counters.rx_packets += down.div_ceil(1400);
                flow.counters.tx_packets += up.div_ceil(1400);
                if down + up > 0 {
                    moved.push(FlowCounters { id: flow.id, counters: flow.counters });
                }
            }
        }
        events.push(Event::Traffic { at: now.plus_nanos(400_000_000), flows: moved });
        match t {
            101 => events.push(Event::ProcessExited { at: now, id: ProcessId(207), exit_status: Some(0) }),
            161 => {
                events.push(Event::FlowGone { at: now, id: FlowId(48) });
                events.push(Event::ProcessGone { at: now, id: ProcessId(207) });
            }
            t if t % 30 == 0 => events.push(balance(t.unsigned_abs())),
            _ => {}
        }
    }
    events
}
