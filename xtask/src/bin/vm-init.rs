//! The first process of the test machine: mounts what the kernel suite looks at, runs it, powers off.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::Command;

use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, SendFlags, SocketType, netlink};

/// What is mounted where, in order. Some kernels lack one or another; the suite tells what it misses.
const MOUNTS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
    ("bpf", "/sys/fs/bpf"),
];

fn main() {
    for (kind, place) in MOUNTS {
        if let Err(error) = mount(*kind, *place, *kind, MountFlags::empty(), None) {
            tell(format_args!("# cannot mount {kind} at {place}: {error}"));
        }
    }
    load_modules();
    // Who may have a ping socket (icmp(7)): root in a virtual machine, too.
    if let Err(error) = std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647") {
        tell(format_args!("# no ping sockets: {error}"));
    }
    if let Err(error) = loopback_up() {
        tell(format_args!("# cannot bring lo up: {error}"));
    }
    // The firmware leaves the cursor behind words of its own.
    tell(format_args!("\n# the suite begins"));
    let status = Command::new("/suite")
        .env_clear()
        .envs([("HOME", "/root"), ("PATH", "/"), ("TMPDIR", "/tmp"), ("RUST_BACKTRACE", "1")])
        .envs([("SEKHMET_BPF_OBJECT", "/sekhmet.bpf.o"), ("SEKHMET_VM", "1")])
        .status();
    match status {
        // A suite that a signal ended has no code; any number but 0 says that it failed.
        Ok(status) => tell(format_args!("# suite ended with status {}", status.code().unwrap_or(255))),
        Err(error) => tell(format_args!("# cannot start the suite: {error}")),
    }
    rustix::fs::sync();
    if let Err(error) = rustix::system::reboot(rustix::system::RebootCommand::PowerOff) {
        tell(format_args!("# cannot power off: {error}"));
    }
}

/// Loads what lies in `/modules`, in the order of the names.
fn load_modules() {
    let entries = std::fs::read_dir("/modules").into_iter().flatten();
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    for file in files {
        let loaded =
            std::fs::File::open(&file).and_then(|module| Ok(rustix::system::finit_module(module, c"", 0)?));
        if let Err(error) = loaded {
            tell(format_args!("# cannot load {}: {error}", file.display()));
        }
    }
}

/// Prints a line on the console; where that fails there is nobody left to tell.
fn tell(line: std::fmt::Arguments<'_>) {
    let mut text = String::new();
    if writeln!(text, "{line}").is_ok() {
        let _nobody_to_tell = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    }
}

/// Sets IFF_UP on interface 1 by RTM_NEWLINK (rtnetlink(7)): a netlink header of 16 bytes, then `struct ifinfomsg`.
fn loopback_up() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const IFF_UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(&32_u32.to_ne_bytes()); // length
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // sequence, port
    message.extend_from_slice(&[0; 4]); // family, padding, device type
    message.extend_from_slice(&1_i32.to_ne_bytes()); // lo is always interface 1
    message.extend_from_slice(&IFF_UP.to_ne_bytes()); // flags
    message.extend_from_slice(&IFF_UP.to_ne_bytes()); // which flags change
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?; // protocol 0: NETLINK_ROUTE
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
    Ok(())
}
