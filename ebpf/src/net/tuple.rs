//! Both ends of a flow in their one form: IPv4 as an IPv4-mapped IPv6 address.

use aya_ebpf::Global;
use sekhmet_common::kernel::Tuple;

use crate::offsets::*;

/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// `::ffff:a.b.c.d` from the four bytes in network order.
#[inline(always)]
pub fn mapped(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// The ends of a socket whose type the verifier knows, its port as long as it holds one.
///
/// # Safety
/// `socket` is a `struct sock` or larger.
#[inline(always)]
pub unsafe fn of_socket(socket: *const u8) -> Tuple {
    unsafe {
        let family: u16 = read(socket, &SKC_FAMILY);
        Tuple {
            local: address(socket, family, &SKC_RCV_SADDR, &SKC_V6_RCV_SADDR),
            remote: address(socket, family, &SKC_DADDR, &SKC_V6_DADDR),
            local_port: read(socket, &SKC_NUM),
            remote_port: u16::from_be(read(socket, &SKC_DPORT)),
            protocol: read::<u16>(socket, &SK_PROTOCOL) as u8,
            reserved: [0; 3],
        }
    }
}

#[inline(always)]
unsafe fn address(socket: *const u8, family: u16, v4: &Global<u32>, v6: &Global<u32>) -> [u8; 16] {
    unsafe {
        // An IPv6 socket that talks IPv4 has the mapped address here already.
        if family == AF_INET6 { probe(socket, v6) } else { mapped(read::<u32>(socket, v4).to_ne_bytes()) }
    }
}
