//! Every hook of Sekhmet in the kernel, one line each; what they do is in the file of their family.
//!
//! The hooks are independent: the loader tries each by itself and lives with those that the kernel accepts.
//! The programs count, record, and return "go on" unless a rule that user space has made refuses it.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "atomic_xadd: core has no fetch_add for a target without compare-and-swap"
)]

mod file;
mod maps;
mod net;
mod offsets;
mod process;
mod ring;
mod task;
mod verdict;

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    macros::{
        btf_tracepoint, cgroup_skb, cgroup_sock, cgroup_sock_addr, fexit, kprobe, kretprobe, tracepoint,
    },
    programs::{
        BtfTracePointContext, FExitContext, ProbeContext, RetProbeContext, SkBuffContext, SockAddrContext,
        SockContext, TracePointContext,
    },
};

use sekhmet_common::kernel::operation;

/// Present under this name in every object whose records have the layout of this version.
#[unsafe(no_mangle)]
static SEKHMET_ABI_4: Global<u32> = Global::new(sekhmet_common::kernel::ABI_VERSION);

// tp_btf sched_process_exec(task, old_pid, bprm), since Linux 5.8 for the argument order and the ring
#[btf_tracepoint(function = "sched_process_exec")]
fn process_exec(ctx: BtfTracePointContext) -> i32 {
    process::exec(&ctx)
}

// tp_btf sched_process_fork(parent, child), since Linux 5.5
#[btf_tracepoint(function = "sched_process_fork")]
fn process_fork(ctx: BtfTracePointContext) -> i32 {
    process::fork(&ctx)
}

// tp_btf sched_process_exit(task), since Linux 5.5
#[btf_tracepoint(function = "sched_process_exit")]
fn process_exit(ctx: BtfTracePointContext) -> i32 {
    process::exit(&ctx)
}

// tp_btf inet_sock_set_state(sk, old, new), since Linux 5.12 for the cookie of a socket in tracing programs
#[btf_tracepoint(function = "inet_sock_set_state")]
fn tcp_state(ctx: BtfTracePointContext) -> i32 {
    net::tcp::set_state(&ctx)
}

// The same hook once more, for the changes that find the first program at work
#[btf_tracepoint(function = "inet_sock_set_state")]
fn tcp_state_again(ctx: BtfTracePointContext) -> i32 {
    net::tcp::set_state_again(&ctx)
}

// cgroup/sock_create, since Linux 4.10; with socket storage since 5.10
#[cgroup_sock(sock_create)]
fn socket_create(ctx: SockContext) -> i32 {
    net::socket::create(&ctx)
}

// cgroup/sock_release, since Linux 5.9
#[cgroup_sock(sock_release)]
fn socket_release(ctx: SockContext) -> i32 {
    net::socket::release(&ctx)
}

// cgroup/connect4, since Linux 4.17; with socket storage since 5.10 and typed sockets since 5.8
#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    verdict::connect::ipv4(&ctx, verdict::connect::Call::Connect)
}

// cgroup/connect6, since Linux 4.17
#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    verdict::connect::ipv6(&ctx, verdict::connect::Call::Connect)
}

// cgroup/sendmsg4, since Linux 4.18; with bpf_setsockopt since 5.15
#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    verdict::connect::ipv4(&ctx, verdict::connect::Call::Send)
}

// cgroup/sendmsg6, since Linux 4.18; with bpf_setsockopt since 5.15
#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    verdict::connect::ipv6(&ctx, verdict::connect::Call::Send)
}

// cgroup_skb/ingress, since Linux 4.10; with socket storage since 5.2
#[cgroup_skb(ingress)]
fn packet_in(ctx: SkBuffContext) -> i32 {
    net::packet::count(&ctx, net::packet::Way::In)
}

// cgroup_skb/egress, since Linux 4.10; with socket storage since 5.2
#[cgroup_skb(egress)]
fn packet_out(ctx: SkBuffContext) -> i32 {
    net::packet::count(&ctx, net::packet::Way::Out)
}

// iter/bpf_sk_storage_map, since Linux 5.10
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_sk_storage_map")]
extern "C" fn dump_sockets(ctx: *mut c_void) -> i32 {
    net::dump::socket(ctx)
}

// iter/task, since Linux 5.8
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn seed_tasks(ctx: *mut c_void) -> i32 {
    process::seed(ctx)
}

// iter/task_file, since Linux 5.8; with bpf_sock_from_file since 5.11
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn seed_sockets(ctx: *mut c_void) -> i32 {
    net::dump::seed(ctx)
}

// iter/task_file, since Linux 5.8; with bpf_sock_from_file since 5.11
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn cover_held(ctx: *mut c_void) -> i32 {
    verdict::cover::held(ctx)
}

// iter/bpf_sk_storage_map, since Linux 5.10; with storage of another map since 5.11
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_sk_storage_map")]
extern "C" fn cover_owned(ctx: *mut c_void) -> i32 {
    verdict::cover::owned(ctx)
}

// iter/task_file, since Linux 5.8
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn name_files(ctx: *mut c_void) -> i32 {
    verdict::cover::files(ctx)
}

// fexit do_filp_open, since Linux 5.8; on arm64 since 6.4
#[fexit(function = "do_filp_open")]
fn file_looked_up(ctx: FExitContext) -> i32 {
    file::lookup::leave(&ctx)
}

// kprobe do_filp_open, since Linux 5.8
#[kprobe]
fn file_lookup_begins(ctx: ProbeContext) -> u32 {
    file::lookup::enter(&ctx)
}

// kretprobe do_filp_open
#[kretprobe]
fn file_lookup_ends(ctx: RetProbeContext) -> u32 {
    file::lookup::leave_probe(&ctx)
}

// tp_btf io_uring_submit_req, since Linux 6.4, or io_uring_submit_sqe, since 6.0
#[btf_tracepoint]
fn file_by_uring(ctx: BtfTracePointContext) -> i32 {
    file::uring::submit(&ctx)
}

// syscalls:sys_exit_open, _openat, _openat2 and _creat, since Linux 5.8
#[tracepoint]
fn file_opened(ctx: TracePointContext) -> u32 {
    file::syscall::opened(&ctx)
}

// syscalls:sys_exit_unlink, _rename, _chmod, _truncate and those with a folder, since Linux 5.8
#[tracepoint]
fn file_changed(ctx: TracePointContext) -> u32 {
    file::syscall::changed(&ctx)
}

// syscalls:sys_exit_rename, _renameat and _renameat2, since Linux 5.8
#[tracepoint]
fn file_renamed(ctx: TracePointContext) -> u32 {
    file::syscall::renamed(&ctx)
}

// kprobe security_path_unlink, since Linux 5.8 with CONFIG_SECURITY_PATH
#[kprobe]
fn file_unlink_begins(ctx: ProbeContext) -> u32 {
    file::change::unlink(&ctx)
}

// kretprobe vfs_unlink
#[kretprobe]
fn file_unlink_ends(ctx: RetProbeContext) -> u32 {
    file::change::end(&ctx, operation::UNLINK)
}

// kprobe security_path_rename, since Linux 5.8 with CONFIG_SECURITY_PATH
#[kprobe]
fn file_rename_begins(ctx: ProbeContext) -> u32 {
    file::change::rename(&ctx)
}

// kretprobe vfs_rename
#[kretprobe]
fn file_rename_ends(ctx: RetProbeContext) -> u32 {
    file::change::end(&ctx, operation::RENAME)
}

// kprobe security_path_chmod, since Linux 5.8 with CONFIG_SECURITY_PATH
#[kprobe]
fn file_chmod_begins(ctx: ProbeContext) -> u32 {
    file::change::chmod(&ctx)
}

// kretprobe chmod_common
#[kretprobe]
fn file_chmod_ends(ctx: RetProbeContext) -> u32 {
    file::change::end(&ctx, operation::CHMOD)
}

// kprobe vfs_truncate, since Linux 5.8
#[kprobe]
fn file_truncate_begins(ctx: ProbeContext) -> u32 {
    file::change::truncate(&ctx)
}

// kretprobe vfs_truncate
#[kretprobe]
fn file_truncate_ends(ctx: RetProbeContext) -> u32 {
    file::change::end(&ctx, operation::TRUNCATE)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Never reached: the verifier refuses a program with an endless loop in it.
    loop {}
}

/// Some helpers are for programs under the GPL only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
