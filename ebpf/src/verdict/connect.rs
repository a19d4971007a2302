//! Sockets as they are used: the mark is put on or taken off each time a process connects or sends.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{bpf_sock, bpf_sock_addr},
    helpers::generated::bpf_setsockopt,
    programs::{SockAddrContext, SockContext},
};
use sekhmet_common::kernel::{
    ProcessKey, RefusalKey, SocketPolicy,
    mark::INBOUND_FREE,
    policy::{Began, refusal_flag, refuses},
    stat,
};

use super::{is_active, is_alone, is_host_socket, is_ours, mark_of_socket, refusal, subject};
use crate::{
    maps::{BOUND_SOCKETS, SOCKETS, STATS, bump},
    net::socket::TCP,
    task,
};

/// Go on.
const ALLOW: i32 = 1;
/// The call fails with `EPERM`.
const REFUSE: i32 = 0;

const SOL_SOCKET: i32 = 1;
const SO_MARK: i32 = 36;
const UDP: u32 = 17;
/// A DHCP client and its servers (RFC 2131).
const DHCP_PORTS: (u32, u16) = (68, 67);

/// An IPv6 address as it lies in memory.
type Address = [u32; 4];
/// The third word of an IPv4 address in its IPv6 form.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// What the program asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// connect(2), or the first send of TCP Fast Open.
    Connect,
    /// A datagram to an address, from a socket that is not connected.
    Send,
}

/// The other side, as the program named it.
struct Remote {
    address: [u8; 16],
    port: u16,
    is_loopback: bool,
}

/// cgroup/connect4 and cgroup/sendmsg4.
#[inline(always)]
pub fn ipv4(ctx: &SockAddrContext, call: Call) -> i32 {
    decide(ctx, call, |address| unsafe { [0, 0, MAPPED, (*address).user_ip4] })
}

/// cgroup/connect6 and cgroup/sendmsg6; the former also for IPv4 addresses in their IPv6 form.
#[inline(always)]
pub fn ipv6(ctx: &SockAddrContext, call: Call) -> i32 {
    decide(ctx, call, |address| unsafe {
        // One by one: the context is no memory of which a part could be copied.
        [(*address).user_ip6[0], (*address).user_ip6[1], (*address).user_ip6[2], (*address).user_ip6[3]]
    })
}

/// Where packets to this address go. The unspecified address is this machine's own, too.
#[inline(always)]
fn is_loopback([a, b, c, d]: Address) -> bool {
    if a != 0 || b != 0 {
        return false;
    }
    let is_ipv4 = c == MAPPED && (d == 0 || d.to_ne_bytes()[0] == 127);
    is_ipv4 || (c == 0 && (d == 0 || d == u32::from_ne_bytes([0, 0, 0, 1])))
}

#[inline(always)]
fn decide(ctx: &SockAddrContext, call: Call, address: impl FnOnce(*mut bpf_sock_addr) -> Address) -> i32 {
    unsafe {
        let socket = (*ctx.sock_addr).__bindgen_anon_1.sk;
        if socket.is_null() {
            return ALLOW;
        }
        // A mark that was left on a socket is taken off also when no rule is in force any more.
        if !is_active() && !is_ours((*socket).mark) {
            return ALLOW;
        }
        let user = task::current_key();
        let (owner, net_ns) = owner(socket, &user);
        let is_host = is_host_socket(ctx.sock_addr.cast(), net_ns);
        let bound = bind(socket, &owner, &user);
        let mark = bound.map_or(0, |bound| mark_of_socket(&*bound));
        set_mark(ctx, socket, bound, if is_host { mark } else { 0 });
        if mark == 0 {
            return ALLOW;
        }
        let address = address(ctx.sock_addr);
        let remote = Remote {
            address: core::mem::transmute::<Address, [u8; 16]>(address),
            port: u16::from_be((*ctx.sock_addr).user_port as u16),
            is_loopback: is_loopback(address),
        };
        judge(socket, call, mark, &user, &remote, net_ns, is_host && !is_alone())
    }
}

/// What is said and done about a call of a process to which `mark` applies.
#[inline(always)]
unsafe fn judge(
    socket: *mut bpf_sock,
    call: Call,
    mark: u32,
    user: &ProcessKey,
    remote: &Remote,
    net_ns: u32,
    firewall_acts: bool,
) -> i32 {
    let (protocol, local_port) = unsafe { ((*socket).protocol, (*socket).src_port) };
    if !refuses(mark, remote.is_loopback, remote.port, Began::Here) {
        return ALLOW;
    }
    if protocol == UDP && (local_port, remote.port) == DHCP_PORTS {
        return ALLOW;
    }
    // What is no connection may be an answer, and stay on this machine under another address than loopback's:
    // that is known once there is a packet, whose refusal the caller learns as well.
    let waits = call == Call::Send || (protocol != TCP && mark & INBOUND_FREE != 0);
    if !firewall_acts && waits {
        return ALLOW;
    }
    let flags = if firewall_acts { refusal_flag::ATTEMPT } else { 0 };
    let local = if remote.is_loopback { refusal_flag::LOCAL } else { 0 };
    let key = RefusalKey {
        process: *user,
        remote: remote.address,
        rule: mark & sekhmet_common::kernel::mark::RULE_MASK,
        remote_port: remote.port,
        protocol: protocol as u8,
        flags: flags | local,
    };
    refusal::count(&key, net_ns);
    if firewall_acts { ALLOW } else { REFUSE }
}

/// Who owns the socket, and in which network namespace it is. One that nobody has seen before is its user's. A
/// TCP socket that was created while no rule was in force does not know its namespace yet: it is taken for its
/// user's.
#[inline(always)]
unsafe fn owner(socket: *mut bpf_sock, user: &ProcessKey) -> (ProcessKey, u32) {
    unsafe {
        match SOCKETS.get(socket.cast()) {
            Some(state) if (*state).net_ns != 0 => ((*state).process, (*state).net_ns),
            Some(state) => ((*state).process, task::current_net_ns()),
            None => (*user, task::current_net_ns()),
        }
    }
}

/// Brings the socket's binding up to what its owner and its user are bound to now.
#[inline(always)]
unsafe fn bind(socket: *mut bpf_sock, owner: &ProcessKey, user: &ProcessKey) -> Option<*mut SocketPolicy> {
    unsafe {
        let is_owner = owner.tgid == user.tgid && owner.start_ns == user.start_ns;
        let owner_policy = subject::policy(owner);
        let user_policy = if is_owner { None } else { subject::policy(user) };
        if let Some(bound) = BOUND_SOCKETS.get(socket.cast()) {
            // An owner that is gone has left its rules here.
            if is_owner || owner_policy.is_some() {
                (*bound).owner = owner_policy.unwrap_or(subject::UNBOUND);
            }
            (*bound).user = user_policy.unwrap_or(subject::UNBOUND);
            return Some(bound);
        }
        if owner_policy.is_none() && user_policy.is_none() {
            return None;
        }
        let mut fresh = SocketPolicy {
            owner: owner_policy.unwrap_or(subject::UNBOUND),
            user: user_policy.unwrap_or(subject::UNBOUND),
            own_mark: 0,
            seen: 0,
        };
        let bound = BOUND_SOCKETS.get_or_insert(socket.cast(), &mut fresh);
        if bound.is_none() {
            bump(&STATS, stat::SOCKET_UNBOUND);
        }
        bound
    }
}

/// Puts the mark on, or the program's own back.
#[inline(always)]
unsafe fn set_mark(
    ctx: &SockAddrContext,
    socket: *mut bpf_sock,
    bound: Option<*mut SocketPolicy>,
    mark: u32,
) {
    unsafe {
        let now = (*socket).mark;
        let wanted = if mark != 0 {
            if !is_ours(now)
                && let Some(bound) = bound
            {
                (*bound).own_mark = now;
            }
            mark
        } else if is_ours(now) {
            bound.map_or(0, |bound| (*bound).own_mark)
        } else {
            now
        };
        if wanted != now {
            let mut value = wanted;
            let (pointer, length) = ((&raw mut value).cast::<c_void>(), size_of::<u32>() as i32);
            // If it fails, the packet hooks still refuse.
            bpf_setsockopt(ctx.sock_addr.cast(), SOL_SOCKET, SO_MARK, pointer, length);
        }
    }
}

/// For a socket that is just made: its mark, where the firewall acts on it.
///
/// # Safety
/// The program's own context, as it came.
#[inline(always)]
pub unsafe fn created(ctx: &SockContext, owner: &ProcessKey, net_ns: u32) {
    unsafe {
        let mark = subject::bind_socket(ctx.sock.cast(), owner);
        if mark != 0 && is_host_socket(ctx.sock.cast(), net_ns) {
            (*ctx.sock).mark = mark;
        }
    }
}
