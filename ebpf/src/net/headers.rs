//! What a packet's headers say: both ends, the protocol, and where its payload begins.
//!
//! Two ways to the same answer. Nearly all packets have plain headers in the linear part of their buffer and are
//! read there; the others go the long way, through copies.

use core::ptr::{read_volatile, with_exposed_provenance};

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};
use sekhmet_common::kernel::Tuple;

use super::packet::Way;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const UDPLITE: u8 = 136;
const SCTP: u8 = 132;
const ICMPV6: u8 = 58;
/// Bytes of an IPv4 header without options (RFC 791), and its first byte.
const IPV4_HEADER: usize = 20;
const IPV4_PLAIN: u8 = 0x45;
/// Offset and "more fragments" of the field that holds them, in memory order.
const IPV4_FRAGMENT: u16 = u16::from_ne_bytes([0x3f, 0xff]);
/// The offset alone.
const IPV4_OFFSET: u16 = u16::from_ne_bytes([0x1f, 0xff]);
/// Bytes of an IPv6 header (RFC 8200).
const IPV6_HEADER: usize = 40;
/// Bytes of a UDP header (RFC 768), and of what is read behind an IP header at most.
const UDP_HEADER: u32 = 8;
/// Ports, in whatever protocol has them.
const PORTS: usize = 4;
/// IPv6 extension headers that are followed; more than any sane packet has.
const EXTENSIONS_MAX: usize = 4;

/// A tuple in words, so that comparing one is five comparisons.
pub type Words = [u64; size_of::<Tuple>() / 8];

/// What a packet's headers say.
pub struct Seen {
    /// Both ends, as a [`Tuple`] lies in memory.
    pub words: Words,
    /// Bytes before what is counted.
    pub headers: u32,
}

impl Seen {
    /// Both ends.
    #[inline(always)]
    pub fn tuple(&self) -> Tuple {
        // Tuple is repr(C), of integers, and as large as the words.
        unsafe { core::mem::transmute::<Words, Tuple>(self.words) }
    }
}

/// An address in the two words of its one form.
type Address = (u64, u64);

/// Reads the headers of a packet that begins with its IP header.
///
/// # Safety
/// `skb` is the context of a `cgroup_skb` program.
#[inline(always)]
pub unsafe fn read(skb: *mut __sk_buff, way: Way) -> Option<Seen> {
    unsafe {
        let protocol = u16::from_be((*skb).protocol as u16);
        match (protocol, plain(skb, protocol, way)) {
            (_, Some(seen)) => Some(seen),
            (ETHERTYPE_IPV4, None) => ipv4(skb, way),
            (ETHERTYPE_IPV6, None) => ipv6(skb, way),
            _ => None,
        }
    }
}

/// The short way: no options, no extension headers, no fragment, all in the buffer's linear part.
#[inline(always)]
unsafe fn plain(skb: *mut __sk_buff, protocol: u16, way: Way) -> Option<Seen> {
    unsafe {
        let (start, end) = ((*skb).data as usize, (*skb).data_end as usize);
        if protocol == ETHERTYPE_IPV4 {
            if start + IPV4_HEADER + PORTS > end
                || at::<u8>(start) != IPV4_PLAIN
                || at::<u16>(start + 6) & IPV4_FRAGMENT != 0
            {
                return None;
            }
            let (source, target) = (mapped(at(start + 12)), mapped(at(start + 16)));
            return Some(seen(
                way,
                source,
                target,
                at(start + 9),
                at(start + IPV4_HEADER),
                IPV4_HEADER as u32,
            ));
        }
        if protocol == ETHERTYPE_IPV6 {
            if start + IPV6_HEADER + PORTS > end {
                return None;
            }
            let next: u8 = at(start + 6);
            if !matches!(next, UDP | ICMPV6 | UDPLITE) {
                return None;
            }
            let (source, target) = (address(start + 8), address(start + 24));
            return Some(seen(way, source, target, next, at(start + IPV6_HEADER), IPV6_HEADER as u32));
        }
        None
    }
}

/// A field of the packet. Volatile, so that neighbours are not merged into accesses that are not aligned.
#[inline(always)]
unsafe fn at<T: Copy>(address: usize) -> T {
    unsafe { read_volatile(with_exposed_provenance::<T>(address)) }
}

#[inline(always)]
unsafe fn address(start: usize) -> Address {
    unsafe {
        let word = |at_byte: usize| pair(at(start + at_byte), at(start + at_byte + 4));
        (word(0), word(8))
    }
}

/// Two fields of four bytes as the word that they are in memory, on the little-endian machines that this is for.
#[inline(always)]
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2) from the four bytes as they lie in memory.
#[inline(always)]
fn mapped(address: u32) -> Address {
    (0, pair(u32::from_ne_bytes([0, 0, 0xff, 0xff]), address))
}

/// Puts it together. `ports` are the four bytes behind the IP headers, whatever they are.
#[inline(always)]
fn seen(way: Way, source: Address, target: Address, protocol: u8, ports: u32, ip_headers: u32) -> Seen {
    let has_ports = matches!(protocol, UDP | UDPLITE | SCTP);
    let (source_port, target_port) =
        if has_ports { (u16::from_be(ports as u16), u16::from_be((ports >> 16) as u16)) } else { (0, 0) };
    let own_header = if matches!(protocol, UDP | UDPLITE) { UDP_HEADER } else { 0 };
    let (local, remote, local_port, remote_port) = match way {
        Way::Out => (source, target, source_port, target_port),
        Way::In => (target, source, target_port, source_port),
    };
    let last = u64::from(local_port) | u64::from(remote_port) << 16 | u64::from(protocol) << 32;
    Seen { words: [local.0, local.1, remote.0, remote.1, last], headers: ip_headers + own_header }
}

/// The long way, also through options.
#[inline(always)]
unsafe fn ipv4(skb: *mut __sk_buff, way: Way) -> Option<Seen> {
    unsafe {
        let header: [u32; IPV4_HEADER / 4] = load(skb, 0)?;
        let length = u32::from(header[0].to_ne_bytes()[0] & 0x0f) * 4;
        let [.., high, low] = header[1].to_ne_bytes();
        let [_, protocol, ..] = header[2].to_ne_bytes();
        // Only the first fragment has the ports.
        let is_first = u16::from_ne_bytes([high, low]) & IPV4_OFFSET == 0;
        let ports = if is_first { load(skb, length).unwrap_or(0) } else { 0 };
        Some(seen(way, mapped(header[3]), mapped(header[4]), protocol, ports, length))
    }
}

/// The long way, also through extension headers.
#[inline(always)]
unsafe fn ipv6(skb: *mut __sk_buff, way: Way) -> Option<Seen> {
    unsafe {
        let mut protocol = load::<[u8; 1]>(skb, 6)?[0];
        let mut length = IPV6_HEADER as u32;
        for _ in 0..EXTENSIONS_MAX {
            let rule = read_volatile(EXTENSIONS.as_ptr().wrapping_add(protocol as usize));
            if rule.shift == 0 {
                break;
            }
            let [next, said] = load::<[u8; 2]>(skb, length)?;
            length += (u32::from(said & rule.mask) + u32::from(rule.plus)) << (rule.shift & 3);
            protocol = next;
        }
        let [a, b, c, d, e, f, g, h]: [u32; 8] = load(skb, 8)?;
        let (source, target) = ((pair(a, b), pair(c, d)), (pair(e, f), pair(g, h)));
        let ports = load(skb, length).unwrap_or(0);
        Some(seen(way, source, target, protocol, ports, length))
    }
}

/// How long an IPv6 extension header is: `((length & mask) + plus) << shift` bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Extension {
    mask: u8,
    plus: u8,
    /// 0 for a protocol that is no extension header.
    shift: u8,
    reserved: u8,
}

/// By protocol number. A table instead of a choice: each choice in the loop would double what the verifier walks.
static EXTENSIONS: [Extension; 256] = {
    let mut rules = [Extension { mask: 0, plus: 0, shift: 0, reserved: 0 }; 256];
    let in_units_of_8 = Extension { mask: 0xff, plus: 1, shift: 3, reserved: 0 };
    // Hop-by-hop options, routing, destination options (RFC 8200).
    rules[0] = in_units_of_8;
    rules[43] = in_units_of_8;
    rules[60] = in_units_of_8;
    // Fragment: always 8 bytes.
    rules[44] = Extension { mask: 0, plus: 1, shift: 3, reserved: 0 };
    // Authentication, in units of 4 less two (RFC 4302).
    rules[51] = Extension { mask: 0xff, plus: 2, shift: 2, reserved: 0 };
    rules
};

/// Reads from a packet, whose first byte is that of the IP header. Nothing if it is too short.
///
/// # Safety
/// `skb` is the program's context; every pattern of bits is a `T`.
#[inline(always)]
pub unsafe fn load<T: Copy>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    let size = size_of::<T>() as u32;
    let failed = unsafe { bpf_skb_load_bytes(skb.cast(), offset, value.as_mut_ptr().cast(), size) };
    if failed != 0 { None } else { Some(unsafe { value.assume_init() }) }
}
