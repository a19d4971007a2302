//! The kernel's list of IP sockets, through sock_diag(7).

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use sekhmet_common::flow::{Counters, Endpoint, Protocol};

/// The most sockets taken from one list.
const SOCKETS_MAX: usize = 131_072;
/// The kernel writes dumps in pieces of at most 32 KiB (`netlink_dump()`).
const RECEIVE_MAX: usize = 64 * 1024;

// include/net/tcp_states.h
const TCP_SYN_SENT: u8 = 2;
const TCP_CLOSE_WAIT: u8 = 8;
const TCP_LAST_ACK: u8 = 9;
const TCP_LISTEN: u8 = 10;
const TCP_CLOSING: u8 = 11;
const TCP_ESTABLISHED: u8 = 1;

/// Where a socket is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It waits for others to connect.
    Listening,
    /// `SYN_SENT`.
    Opening,
    /// Connected.
    Open,
    /// FINs are under way.
    Closing,
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// `SO_COOKIE`.
    pub(super) cookie: u64,
    /// The protocol.
    pub(super) protocol: Protocol,
    /// Where it is in its life.
    pub(super) state: State,
    /// This machine's side.
    pub(super) local: Endpoint,
    /// The other side.
    pub(super) remote: Endpoint,
    /// The inode number that `/proc/PID/fd` shows; 0 if no process has it open any more.
    pub(super) inode: u64,
    /// What passed; zero where the kernel does not tell.
    pub(super) counters: Counters,
}

/// All sockets of this network namespace at about one moment.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The sockets.
    pub(super) sockets: Vec<Found>,
    /// Whether some may be missing: there were too many, or the list changed while it was read.
    pub(super) is_partial: bool,
}

/// Asks the kernel for every TCP socket and every connected UDP socket, IPv4 and IPv6.
///
/// # Errors
/// If the kernel has no sock_diag, refuses it, or answers with what is not an answer.
pub(super) fn list() -> io::Result<Listing> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let tcp = StateFlags::all() - StateFlags::CLOSE - StateFlags::TIME_WAIT - StateFlags::SYN_RECV;
    let mut listing = Listing::default();
    for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        for (protocol, states) in [(IPPROTO_TCP, tcp.clone()), (IPPROTO_UDP, StateFlags::ESTABLISHED)] {
            let extensions = ExtensionFlags::INFO;
            let request = InetRequest { family, protocol, extensions, states, socket_id: id.clone() };
            dump(&socket, request, &mut listing)?;
        }
    }
    Ok(listing)
}

fn dump(socket: &Socket, request: InetRequest, listing: &mut Listing) -> io::Result<()> {
    let protocol = Protocol::from_ip(request.protocol);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut buffer = vec![0; RECEIVE_MAX];
    loop {
        let size = socket.recv(&mut &mut buffer[..], 0)?;
        if size == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if read_messages(buffer.get(..size).unwrap_or_default(), protocol, listing)? {
            return Ok(());
        }
    }
}

/// Takes in one run of netlink messages. Whether it was the last one.
fn read_messages(mut bytes: &[u8], protocol: Protocol, listing: &mut Listing) -> io::Result<bool> {
    while !bytes.is_empty() {
        let length = NetlinkBuffer::new_checked(&bytes).map_err(malformed)?.length();
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes).map_err(malformed)?;
        listing.is_partial |= message.header.flags & NLM_F_DUMP_INTR != 0;
        match message.payload {
            NetlinkPayload::Done(done) if done.code == 0 => return Ok(true),
            NetlinkPayload::Done(done) => {
                return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
            }
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                if listing.sockets.len() < SOCKETS_MAX {
                    listing.sockets.extend(found(protocol, &response));
                } else {
                    listing.is_partial = true;
                }
            }
            _ => {}
        }
        // Messages begin at multiples of four (NLMSG_ALIGN).
        let step = usize::try_from(length).unwrap_or(usize::MAX).checked_next_multiple_of(4);
        bytes = step.filter(|&s| s > 0).and_then(|s| bytes.get(s..)).unwrap_or_default();
    }
    Ok(false)
}

fn malformed(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn found(protocol: Protocol, response: &InetResponse) -> Option<Found> {
    let header = &response.header;
    let state = match header.state {
        TCP_LISTEN => State::Listening,
        TCP_SYN_SENT => State::Opening,
        TCP_ESTABLISHED => State::Open,
        _ => State::Closing,
    };
    let id = &header.socket_id;
    // Two halves in this machine's byte order, the lower one first (sock_diag_save_cookie()).
    let (low, high) = id.cookie.split_first_chunk::<4>()?;
    let high: [u8; 4] = high.try_into().ok()?;
    let cookie = u64::from(u32::from_ne_bytes(*low)) | u64::from(u32::from_ne_bytes(high)) << 32;
    let info = response.nlas.iter().find_map(|nla| match nla {
        Nla::TcpInfo(bytes) => Some(tcp_counters(bytes, header.state)),
        _ => None,
    });
    Some(Found {
        cookie,
        protocol,
        state,
        local: Endpoint::new(id.source_address, id.source_port),
        remote: Endpoint::new(id.destination_address, id.destination_port),
        inode: header.inode.into(),
        counters: info.flatten().unwrap_or_default(),
    })
}

/// Reads the counters of `struct tcp_info` (include/uapi/linux/tcp.h), which only ever grows at its end.
fn tcp_counters(info: &[u8], state: u8) -> Option<Counters> {
    let u32_at = |at: usize| Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_ne_bytes(info.get(at..at + 8)?.try_into().ok()?));
    let (acked, received) = (u64_at(120)?, u64_at(128)?);
    // tcpi_bytes_sent and tcpi_bytes_retrans, since Linux 4.19. Before, what was acknowledged comes near.
    let sent = u64_at(200).zip(u64_at(208)).map(|(all, again)| all.saturating_sub(again));
    // The other side's FIN counts as one byte received.
    let fin = u64::from(matches!(state, TCP_CLOSE_WAIT | TCP_LAST_ACK | TCP_CLOSING));
    Some(Counters {
        tx_bytes: sent.unwrap_or(acked),
        rx_bytes: received.saturating_sub(fin),
        tx_packets: u32_at(136)?.into(),
        rx_packets: u32_at(140)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_fin_is_no_byte_and_old_kernels_tell_less() {
        let mut info = vec![0; 232];
        info[120..128].copy_from_slice(&90_u64.to_ne_bytes());
        info[128..136].copy_from_slice(&51_u64.to_ne_bytes());
        info[136..140].copy_from_slice(&7_u32.to_ne_bytes());
        info[200..208].copy_from_slice(&100_u64.to_ne_bytes());
        info[208..216].copy_from_slice(&4_u64.to_ne_bytes());
        let counters = tcp_counters(&info, TCP_CLOSE_WAIT).unwrap();
        assert_eq!((counters.tx_bytes, counters.rx_bytes, counters.tx_packets), (96, 50, 7));
        let counters = tcp_counters(&info[..160], TCP_ESTABLISHED).unwrap();
        assert_eq!((counters.tx_bytes, counters.rx_bytes), (90, 51));
        assert_eq!(tcp_counters(&info[..100], TCP_ESTABLISHED), None);
    }

    proptest! {
        #[test]
        fn hostile_messages_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            length in 0_u32..220,
            family in prop_oneof![Just(2_u8), Just(10_u8), any::<u8>()],
        ) {
            let mut message = length.to_ne_bytes().to_vec();
            message.extend_from_slice(&20_u16.to_ne_bytes());
            message.extend_from_slice(&[0; 10]);
            message.push(family);
            message.extend_from_slice(&bytes);
            let mut listing = Listing::default();
            let _read = read_messages(&message, Protocol::Tcp, &mut listing);
            let _read = read_messages(&bytes, Protocol::Tcp, &mut listing);
            prop_assert!(listing.sockets.len() <= 2);
        }
    }
}
