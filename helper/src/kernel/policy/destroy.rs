//! Closes TCP connections of others, so that programs that only wait for bytes notice that none will come.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagDestroy, SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use sekhmet_common::kernel::CoverRow;

use super::sockets::address;

/// Room for an acknowledgement that repeats the request.
const RECEIVE_MAX: usize = 4096;

/// A way to sock_diag(7).
pub(super) struct Destroyer(Socket);

impl Destroyer {
    /// # Errors
    /// The kernel has no sock_diag.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Closes the connection of this row: its program reads `ECONNABORTED`.
    ///
    /// `SOCK_DESTROY` is in Linux since 4.9 (`CONFIG_INET_DIAG_DESTROY`), needs `CAP_NET_ADMIN`, and reaches this
    /// network namespace only. The cookie makes sure that it is this connection.
    ///
    /// # Errors
    /// What the kernel says. `ENOENT` means that the connection is gone, or that there is no `tcp_diag`.
    pub(super) fn destroy(&self, row: &CoverRow) -> io::Result<()> {
        let family = if row.family == u16::from(AF_INET6) { AF_INET6 } else { AF_INET };
        let (source_address, destination_address) = if family == AF_INET6 {
            // An IPv6 socket is looked up by IPv6 addresses, those of IPv4 in their mapped form.
            (row.tuple.local.into(), row.tuple.remote.into())
        } else {
            (address(row.tuple.local), address(row.tuple.remote))
        };
        let mut cookie = [0; 8];
        let (low, high) = cookie.split_at_mut(4);
        low.copy_from_slice(&((row.cookie & u64::from(u32::MAX)) as u32).to_ne_bytes());
        high.copy_from_slice(&((row.cookie >> 32) as u32).to_ne_bytes());
        let socket_id = SocketId {
            source_port: row.tuple.local_port,
            destination_port: row.tuple.remote_port,
            source_address,
            destination_address,
            interface_id: 0,
            cookie,
        };
        let request = InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all(),
            socket_id,
        };
        self.ask(SockDiagDestroy::new(SockDiagMessage::InetRequest(request)))
    }

    fn ask(&self, request: SockDiagDestroy) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let mut buffer = vec![0; RECEIVE_MAX];
        let size = self.0.recv(&mut &mut buffer[..], 0)?;
        let answer = buffer.get(..size).unwrap_or_default();
        let answer = NetlinkMessage::<SockDiagMessage>::deserialize(answer)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
