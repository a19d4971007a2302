//! Both ends of a flow in their one form: IPv4 as an IPv4-mapped IPv6 address.

use core::ptr::addr_of_mut;

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};
use sekhmet_common::kernel::Tuple;

use crate::offsets::*;

/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// Writes the ends of a socket whose type the verifier knows, its port as long as it holds one.
///
/// Into the record's own memory: a stack of 512 bytes has no room for copies.
///
/// # Safety
/// `socket` is a `struct sock` or larger; `out` is room for a tuple.
#[inline(always)]
pub unsafe fn write(out: *mut Tuple, socket: *const u8) {
    unsafe {
        let family: u16 = read(socket, &SKC_FAMILY);
        if family == AF_INET6 {
            // An IPv6 socket that talks IPv4 has the mapped address here already.
            address(addr_of_mut!((*out).local), socket, &SKC_V6_RCV_SADDR);
            address(addr_of_mut!((*out).remote), socket, &SKC_V6_DADDR);
        } else {
            write_mapped(addr_of_mut!((*out).local), read(socket, &SKC_RCV_SADDR));
            write_mapped(addr_of_mut!((*out).remote), read(socket, &SKC_DADDR));
        }
        addr_of_mut!((*out).local_port).write(read(socket, &SKC_NUM));
        addr_of_mut!((*out).remote_port).write(u16::from_be(read(socket, &SKC_DPORT)));
        addr_of_mut!((*out).protocol).write(read::<u16>(socket, &SK_PROTOCOL) as u8);
        addr_of_mut!((*out).reserved).write([0; 3]);
    }
}

#[inline(always)]
unsafe fn address(out: *mut [u8; 16], socket: *const u8, field: &Global<u32>) {
    unsafe {
        let from = socket.wrapping_add(field.load() as usize);
        bpf_probe_read_kernel(out.cast(), 16, from.cast());
    }
}

/// `::ffff:a.b.c.d`, from the four bytes as they lie in memory, in whole words. `out` is aligned to 8 bytes in
/// every record that has a tuple.
#[inline(always)]
unsafe fn write_mapped(out: *mut [u8; 16], address: u32) {
    unsafe {
        let words: *mut u32 = out.cast();
        words.write(0);
        words.add(1).write(0);
        // Bytes 0, 0, 0xff, 0xff.
        words.add(2).write(u32::from_ne_bytes([0, 0, 0xff, 0xff]));
        words.add(3).write(address);
    }
}
