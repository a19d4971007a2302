//! A ring that nobody reads: what finds no room is counted, and no byte is missing from the process's total.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
};

use sekhmet_common::kernel::{Residue, kind, socket_flag, stat};
use sekhmet_helper::kernel::Kernel;

use crate::{
    child,
    tap::Tap,
    watch::{is_me, me},
};

/// Room in the flow map here; ten times the records that the ring has room for.
pub(crate) const FLOWS: u32 = 8192;

pub(crate) fn run(tap: &mut Tap, kernel: Kernel) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // One flow, and so one record, for each port; half as many again as the flow map has room for.
    let mut sent = 0u64;
    for port in (1u16..).take(FLOWS as usize * 3 / 2) {
        // Errors are the answers of ports on which nobody listens; then nothing was sent.
        while socket.send_to(&[1; 10], (Ipv4Addr::LOCALHOST, port)).is_err() {}
        sent += 1;
    }
    let counts = kernel.counts().unwrap();
    let packets = kind::PACKET_FLOW as usize;
    // Who else starts programs now may have filled the ring before.
    let (made, lost): (u64, u64) = (counts.made.iter().sum(), counts.lost.iter().sum());
    let good = counts.lost[packets] > 0 && made > lost;
    tap.check("a full ring is counted", good, &format!("{counts:?}"));
    let full = kernel.stat(stat::FLOW_MAP_FULL).unwrap();
    tap.check("a full flow map is counted", full > 0, "it is not");

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(&[2; 5000]).unwrap();
    server.read_exact(&mut [0; 5000]).unwrap();
    // What a dump has told is not told again.
    let rows = kernel.dump_sockets().unwrap().unwrap_or_default();
    let mine = rows.iter().filter(|row| row.process.tgid == me().0 && row.counters.tx_bytes == 5000).count();
    tap.check("the dump shows the connection", mine == 1, &format!("{mine} rows"));
    client.write_all(&[2; 1234]).unwrap();
    server.read_exact(&mut [0; 1234]).unwrap();
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    drop(server);

    let in_map: u64 = kernel
        .read_flows()
        .unwrap()
        .iter()
        .filter(|(key, value)| value.process.tgid == me().0 && key.tuple.protocol == 17)
        .map(|(_, value)| value.counters.tx_bytes)
        .sum();
    // The socket's first flow is counted beside the socket.
    let rows = kernel.dump_sockets().unwrap().unwrap_or_default();
    let first = rows.iter().find(|row| row.process.tgid == me().0 && row.flags & socket_flag::FIRST != 0);
    let first = first.map_or(0, |row| row.counters.tx_bytes);
    tap.check("the first flow is beside its socket", first == 10, &format!("{first} bytes"));
    let in_flows = in_map + first;
    let wanted = Residue { tx_bytes: sent * 10 - in_flows + 1234, rx_bytes: 1234 };
    // The ring is still full: what the first flow had counted moves to the map, which is full, so to the residue.
    let unheard = release_unheard(tap, &kernel);
    let wanted = Residue { tx_bytes: wanted.tx_bytes + unheard, rx_bytes: wanted.rx_bytes + unheard };
    let residues = kernel.read_residues().unwrap();
    let found = residues.iter().find(|(key, _)| {
        is_me(Some(sekhmet_helper::engine::input::ProcessKey { tgid: key.tgid, start_ns: key.start_ns }))
    });
    let good = found.is_some_and(|(_, residue)| *residue == wanted);
    let name = format!("no byte is missing: {in_flows} in flows, {} beside them", wanted.tx_bytes);
    tap.check(&name, good, &format!("wanted {wanted:?}, found {found:?}"));
    forget(tap, &kernel);
}

/// What a process that is gone leaves is told once and takes no room after that.
fn forget(tap: &mut Tap, kernel: &Kernel) {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = receiver.local_addr().unwrap().port().to_string();
    let mut sender = child::command(&["send", &port]).spawn().unwrap();
    let tgid = sender.id();
    assert!(sender.wait().unwrap().success());
    let taken = kernel.take_residues_of_gone().unwrap();
    let its = taken.iter().find(|(key, _)| key.tgid == tgid).map(|(_, residue)| *residue);
    let good = its == Some(Residue { tx_bytes: 50, rx_bytes: 0 });
    tap.check("the residue of a process that is gone is taken", good, &format!("{taken:?}"));
    let left = kernel.read_residues().unwrap();
    let good = left.keys().all(|key| key.tgid != tgid) && left.keys().any(|key| key.tgid == me().0);
    tap.check("and is no longer there, those of others are", good, &format!("{left:?}"));
}

/// Closes two sockets whose ends find room nowhere. What went from one to the other since the last dump.
fn release_unheard(tap: &mut Tap, kernel: &Kernel) -> u64 {
    let (a, b) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
    let (a, b) = (a.unwrap(), b.unwrap());
    a.send_to(&[3; 400], b.local_addr().unwrap()).unwrap();
    kernel.dump_sockets().unwrap();
    a.send_to(&[3; 77], b.local_addr().unwrap()).unwrap();
    let lost = |kernel: &Kernel| kernel.counts().unwrap().lost[kind::SOCKET_CLOSED as usize];
    let before = lost(kernel);
    drop((a, b));
    tap.check("the ends of two sockets find no room", lost(kernel) >= before + 2, "they do");
    77
}
