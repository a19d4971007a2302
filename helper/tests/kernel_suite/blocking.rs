//! Blocking: what is refused to a bound process and its family, and that everybody else goes on.
//!
//! Traffic stays on the loopback interface, so rules concern that, too, unless a test says otherwise. There is no
//! firewall here: the programs are told that they are alone, but where a test says otherwise.

mod existing;
mod families;
mod following;
mod links;
mod many;
mod namespaces;
mod new;
pub(crate) mod random;
mod refusals;
mod ring;
pub(crate) mod victim;
pub(crate) mod walled;

use std::os::fd::{FromRawFd, OwnedFd};

use sekhmet_common::kernel::{
    ProcessKey,
    mark::{LOCAL_TOO, Mark},
};
use sekhmet_helper::kernel::policy::{Enforced, Policies};

use crate::{blocking::victim::Victim, tap::Tap, watch::Watch};

/// The rule's number in all tests.
const RULE: u32 = 7;

pub(crate) fn run(tap: &mut Tap, watch: &mut Watch, policies: &mut Policies) {
    let missing = policies.missing();
    tap.check("everything that a block needs is attached", missing.is_empty(), &format!("{missing:?}"));
    policies.set_firewall(false).unwrap();
    let mut stage = Stage { tap, watch, policies };
    new::run(&mut stage);
    existing::run(&mut stage);
    ring::run(&mut stage);
    families::run(&mut stage);
    following::run(&mut stage);
    many::run(&mut stage);
    namespaces::run(&mut stage);
    refusals::run(&mut stage);
    walled::run(&mut stage);
    random::run(&mut stage);
    stage.table();
    let left = stage.policies.sweep().unwrap();
    stage.tap.check("nobody is bound in the end", left == 0, &format!("{left} processes"));
}

/// What every test works with.
struct Stage<'a> {
    tap: &'a mut Tap,
    watch: &'a mut Watch,
    policies: &'a mut Policies,
}

impl Stage<'_> {
    fn check<T: std::fmt::Debug>(&mut self, name: &str, good: bool, found: T) {
        self.tap.check(name, good, &format!("{found:?}"));
    }

    /// Blocks a process and its family, on this machine too, and says what became of open sockets.
    fn block(&mut self, victim: &Victim) -> Enforced {
        self.block_with(victim, LOCAL_TOO)
    }

    fn block_with(&mut self, victim: &Victim, flags: u32) -> Enforced {
        self.policies.set_rule(Mark::refused(RULE, flags).unwrap()).unwrap();
        let key = self.key(victim);
        self.policies.bind_family(&[key], RULE).unwrap();
        self.policies.enforce().unwrap()
    }

    fn free(&mut self) -> Enforced {
        self.policies.clear_rule(RULE).unwrap();
        self.policies.enforce().unwrap()
    }

    fn key(&self, victim: &Victim) -> ProcessKey {
        self.policies.find_process(victim.pid()).unwrap().unwrap()
    }

    /// The table of rules itself.
    fn table(&mut self) {
        let mark = |rule| Mark::refused(rule, 0).unwrap();
        let policies = &mut *self.policies;
        policies.set_rule(mark(5)).unwrap();
        let taken = policies.set_rule(mark(5 + 1024)).is_err();
        let numbers = (policies.free_number(4), policies.free_number(5 + 1023));
        let unknown = policies.bind(ProcessKey { tgid: 1, reserved: 0, start_ns: 1 }, 6).is_err();
        policies.clear_rule(5 + 1024).unwrap();
        let stays = policies.set_rule(mark(5 + 1024)).is_err();
        policies.clear_rule(5).unwrap();
        let free = policies.set_rule(mark(5 + 1024)).is_ok();
        policies.clear_rule(5 + 1024).unwrap();
        let found = (taken, numbers, unknown, stays, free);
        let wanted = (true, (Some(6), Some(1030)), true, true, true);
        self.check("a rule has one place, and gives it back", found == wanted, found);
    }
}

/// A descriptor of another process, as one that was handed over.
#[expect(unsafe_code, reason = "rustix has the call, the number is the other's")]
fn take(victim: &mut Victim, place: i64) -> OwnedFd {
    let number = victim.ask(&format!("fd {place}")).unwrap();
    let pid = libc::pid_t::try_from(victim.pid()).unwrap();
    // SAFETY: both calls take numbers only, and give descriptors that are new and ours.
    unsafe {
        let process = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        assert!(process >= 0, "no pidfd");
        let process = OwnedFd::from_raw_fd(i32::try_from(process).unwrap());
        let copy = libc::syscall(libc::SYS_pidfd_getfd, std::os::fd::AsRawFd::as_raw_fd(&process), number, 0);
        assert!(copy >= 0, "no copy of the descriptor: {}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(i32::try_from(copy).unwrap())
    }
}
