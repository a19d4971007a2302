//! What this executable does when the suite starts it as somebody's child.

use std::{
    net::{Ipv4Addr, UdpSocket},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use crate::{
    blocking::{random, victim, walled},
    files::jail,
    succession,
};

/// The first argument of a child.
pub(crate) const WORD: &str = "--child";

/// A command that runs this executable with `arguments`; its lines go nowhere.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(WORD).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// `exit STATUS [ANYTHING…]`, `send PORT` a datagram of 50 bytes, `abort`, or `thread`: the first thread ends before the second.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    match arguments.first().map(String::as_str) {
        Some("exit") => ExitCode::from(arguments.get(1).and_then(|s| s.parse().ok()).unwrap_or(255)),
        Some(victim::WORD) => victim::serve(),
        Some(walled::WORD) => walled::helper(),
        Some(succession::OUTSIDE) => succession::renumber(),
        Some(succession::INSIDE) => succession::renumbered(),
        Some(random::WORD) => {
            let number = |at: usize| arguments.get(at).and_then(|number| number.parse().ok());
            random::rounds(number(1).unwrap_or(100), number(2).unwrap_or(1000) as usize)
        }
        Some("stranger") => jail::stranger(&arguments[1]),
        Some("vandal") => jail::vandal(&arguments[1]),
        Some("gone") => jail::gone(&arguments[1], &arguments[2]),
        Some("jail") => jail::jail(&arguments[1]),
        Some("once") => victim::once(&arguments[1..].join(" ")),
        Some("send") => {
            let port = arguments.get(1).and_then(|port| port.parse().ok()).unwrap_or(0);
            let target = (Ipv4Addr::LOCALHOST, port);
            let sent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|s| s.send_to(&[5; 50], target));
            if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Some("abort") => std::process::abort(),
        Some("thread") => {
            let second = std::thread::Builder::new().spawn(|| {
                std::thread::sleep(Duration::from_millis(150));
                std::process::exit(9);
            });
            assert!(second.is_ok(), "no thread");
            end_this_thread()
        }
        _ => ExitCode::from(255),
    }
}

#[expect(unsafe_code, reason = "only this call ends one thread and leaves its process")]
fn end_this_thread() -> ! {
    // SAFETY: the thread holds nothing that anybody waits for.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    std::process::abort()
}
