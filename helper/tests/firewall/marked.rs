//! Sockets with a mark, and what happens to what they send.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, Protocol, SocketType, bind, connect, ipproto, listen, socket,
    sockopt::{self, Timeout},
};

pub(crate) use crate::sys::mark;

/// Long enough for what should happen on this machine, short enough for what should not.
pub(crate) const SOON: Duration = Duration::from_millis(700);

pub(crate) fn addr(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// A TCP socket that was marked before it connected.
pub(crate) fn tcp_connect(bits: u32, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let fd = socket(family(to), SocketType::STREAM, None)?;
    mark(&fd, bits);
    // connect(2) waits as long as a send would (socket(7), SO_SNDTIMEO).
    sockopt::set_socket_timeout(&fd, Timeout::Send, Some(patience))?;
    connect(&fd, &to)?;
    Ok(TcpStream::from(fd))
}

/// A marked listener.
pub(crate) fn tcp_listen(bits: u32, at: SocketAddr) -> TcpListener {
    let fd = socket(family(at), SocketType::STREAM, None).unwrap();
    mark(&fd, bits);
    sockopt::set_socket_reuseaddr(&fd, true).unwrap();
    bind(&fd, &at).unwrap();
    listen(&fd, 16).unwrap();
    TcpListener::from(fd)
}

/// A marked UDP socket on every address of the family.
pub(crate) fn udp(bits: u32, v6: bool, port: u16) -> UdpSocket {
    let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, port)).unwrap();
    mark(&socket, bits);
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// A marked ICMP socket: of the ping kind, or raw.
pub(crate) fn icmp(bits: u32, v6: bool, raw: bool) -> OwnedFd {
    let (family, protocol): (_, Protocol) =
        if v6 { (AddressFamily::INET6, ipproto::ICMPV6) } else { (AddressFamily::INET, ipproto::ICMP) };
    let kind = if raw { SocketType::RAW } else { SocketType::DGRAM };
    let fd = socket(family, kind, Some(protocol)).unwrap();
    mark(&fd, bits);
    fd
}

/// An echo request. The kernel fills in the checksum but on raw IPv4 sockets, for which this one is right.
pub(crate) fn echo(v6: bool) -> [u8; 8] {
    let kind = if v6 { 128 } else { 8 };
    let checksum = !((u16::from(kind) << 8) + 1 + 1);
    let [high, low] = checksum.to_be_bytes();
    [kind, 0, high, low, 0, 1, 0, 1]
}

/// The words that a test compares: the kind of error, or how many milliseconds it took to fail.
pub(crate) fn refused_at_once<T: std::fmt::Debug>(what: impl FnOnce() -> io::Result<T>) -> ErrorKind {
    let began = Instant::now();
    let error = what().unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(300), "{error}: {:?}", began.elapsed());
    error.kind()
}

/// Sends what must be refused. The mark in the message tells whether the firewall let it through, or somebody
/// took the mark away.
pub(crate) fn send_refused(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) {
    match socket.send_to(bytes, to) {
        Ok(_) => panic!("sent to {to}, with the mark {:#x}", crate::sys::marked(socket)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{to}"),
    }
}

/// A server that answers each byte with itself until the peer closes, on its own thread.
pub(crate) fn echo_server(at: SocketAddr) {
    let listener = TcpListener::bind(at).unwrap();
    std::thread::Builder::new()
        .name("echo".to_owned())
        .spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut byte = [0];
                while stream.read(&mut byte).is_ok_and(|length| length == 1) {
                    stream.write_all(&byte).unwrap();
                }
            }
        })
        .unwrap();
}

/// Whether a byte goes there and comes back.
pub(crate) fn echoes(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut byte = [0];
    stream.write_all(b"x").is_ok() && stream.read(&mut byte).is_ok_and(|length| length == 1)
}

/// What a socket receives within [`SOON`].
pub(crate) fn received(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 64];
    socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
}
