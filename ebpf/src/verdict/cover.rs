//! Iterators that bind sockets which exist already, and tell which of them need another mark.

use core::{ffi::c_void, ptr::read_volatile};

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_get_socket_cookie};
use sekhmet_common::kernel::{
    CoverRow, FileRow, Policy, ProcessKey, SocketPolicy, SocketState, Tuple, policy::LENT, socket_flag, stat,
};

use super::{add_rules, is_host, is_ours, mark_of_socket, prune, subject};
use crate::{
    maps::{BOUND_SOCKETS, SOCKETS, STATS, SWITCH, bump},
    net::{
        copy_key,
        dump::{held_socket, iterated, write_row},
        tuple,
    },
    offsets::*,
    task,
};

/// What stands for a descriptor that nobody knows.
const NO_FD: u32 = u32::MAX;

/// iter/task_file: `task` at 8, `fd` at 16, `file` at 24 of the context. Binds what a bound process holds, whoever
/// made it, and brings bindings of others up to date.
#[inline(always)]
pub fn held(ctx: *mut c_void) -> i32 {
    unsafe {
        let Some((holder, socket)) = held_socket(ctx) else { return 0 };
        let holder = task::key(holder);
        let (mut is_owner, mut flags) = (false, 0);
        if let Some(state) = SOCKETS.get(socket) {
            let mut owner = ProcessKey { tgid: 0, reserved: 0, start_ns: 0 };
            copy_key(&mut owner, &raw const (*state).process);
            is_owner = owner.tgid == holder.tgid && owner.start_ns == holder.start_ns;
            // The other bits of these flags mean nothing here.
            flags = read_volatile(&raw const (*state).flags) & (socket_flag::INBOUND | socket_flag::OUTBOUND);
        }
        let fd: u32 = read_volatile(ctx.cast::<u8>().add(16).cast());
        let policy = subject::policy(&holder);
        if policy.is_some() && !is_owner {
            flags |= u32::from(LENT);
        }
        let bound = bind(socket, policy, is_owner);
        if let Some(bound) = bound
            && walk() & 1 != 0
            && (*bound).seen != walk() >> 1
        {
            // Whoever held it and was bound holds it no more, or is none any more.
            (*bound).user = subject::UNBOUND;
        }
        tell(ctx, socket, bound, holder, fd, flags);
    }
    0
}

/// iter/bpf_sk_storage_map over all sockets with an owner: `sk` at 16, `value` at 24 of the context. Finds what
/// is in no file table: sockets of io_uring, and closed ones that still have something to send.
#[inline(always)]
pub fn owned(ctx: *mut c_void) -> i32 {
    unsafe {
        let socket: *const u8 = iterated(ctx, 16);
        let state: *mut SocketState = iterated(ctx, 24);
        if socket.is_null() || state.is_null() {
            return 0;
        }
        let mut owner = ProcessKey { tgid: 0, reserved: 0, start_ns: 0 };
        copy_key(&mut owner, &raw const (*state).process);
        let policy = subject::policy(&owner);
        let is_bound = policy.is_some();
        if !is_bound && BOUND_SOCKETS.get(socket).is_none() {
            return 0;
        }
        let flags = read_volatile(&raw const (*state).flags) & (socket_flag::INBOUND | socket_flag::OUTBOUND);
        tell(ctx, socket, bind(socket, policy, is_bound), owner, NO_FD, flags);
    }
    0
}

/// iter/task_file: what whoever reads this has open, by the names that programs have in the kernel.
#[inline(always)]
pub fn files(ctx: *mut c_void) -> i32 {
    unsafe {
        let holder: *const u8 = iterated(ctx, 8);
        let file: *const u8 = iterated(ctx, 24);
        // The kernel's own number of the reader: in a PID namespace of its own it knows itself by another one.
        let reader = (bpf_get_current_pid_tgid() >> 32) as u32;
        if holder.is_null() || file.is_null() || read::<u32>(holder, &TASK_TGID) != reader {
            return 0;
        }
        let fd: u32 = read_volatile(ctx.cast::<u8>().add(16).cast());
        write_row(ctx, &FileRow { program: task::file(file), fd, reserved: 0 });
    }
    0
}

/// [`Switch::walk`](sekhmet_common::kernel::Switch).
#[inline(always)]
fn walk() -> u32 {
    SWITCH.get(0).map_or(0, |switch| switch.walk)
}

/// The socket's binding, if it has or needs one. `policy` is that of the holder.
#[inline(always)]
unsafe fn bind(socket: *const u8, policy: Option<Policy>, is_owner: bool) -> Option<*mut SocketPolicy> {
    unsafe {
        let mut bound = BOUND_SOCKETS.get(socket);
        if bound.is_none() {
            policy?;
            let mut fresh =
                SocketPolicy { owner: subject::UNBOUND, user: subject::UNBOUND, own_mark: 0, seen: 0 };
            bound = BOUND_SOCKETS.get_or_insert(socket, &mut fresh);
            if bound.is_none() {
                bump(&STATS, stat::SOCKET_UNBOUND);
            }
        }
        let bound = bound?;
        prune(&mut (*bound).owner);
        prune(&mut (*bound).user);
        match policy {
            Some(policy) if is_owner => (*bound).owner = policy,
            Some(policy) => {
                (*bound).seen = walk() >> 1;
                // Several processes may hold it.
                if !add_rules(&mut (*bound).user, &policy) {
                    bump(&STATS, stat::POLICY_FULL);
                }
            }
            // The owner lives and is bound to nothing any more.
            None if is_owner => (*bound).owner = subject::UNBOUND,
            None => {}
        }
        Some(bound)
    }
}

/// Writes a row about a socket that is refused something or has a mark left over.
#[inline(always)]
unsafe fn tell(
    ctx: *mut c_void,
    socket: *const u8,
    bound: Option<*mut SocketPolicy>,
    holder: ProcessKey,
    fd: u32,
    flags: u32,
) {
    unsafe {
        let refused = bound.map_or(0, |bound| mark_of_socket(&*bound));
        let mark: u32 = read(socket, &SK_MARK);
        if refused == 0 && !is_ours(mark) {
            return;
        }
        let net: *const u8 = read(socket, &SKC_NET);
        let net_ns = read(net, &NET_INUM);
        let wanted = match bound {
            Some(bound) => {
                if !is_ours(mark) {
                    (*bound).own_mark = mark;
                }
                if refused != 0 && is_host(net_ns) { refused } else { (*bound).own_mark }
            }
            // A former helper's: here nobody knows what was there before.
            None => mark,
        };
        let mut row = CoverRow {
            holder,
            cookie: bpf_get_socket_cookie(socket.cast_mut().cast()),
            tuple: Tuple {
                local: [0; 16],
                remote: [0; 16],
                local_port: 0,
                remote_port: 0,
                protocol: 0,
                reserved: [0; 3],
            },
            fd,
            mark,
            wanted,
            net_ns,
            refused,
            family: read(socket, &SKC_FAMILY),
            state: read(socket, &SKC_STATE),
            began: flags as u8,
        };
        tuple::write(&raw mut row.tuple, socket);
        write_row(ctx, &row);
    }
}
