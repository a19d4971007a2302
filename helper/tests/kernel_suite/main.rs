//! The kernel suite: every program loads, attaches and tells the truth about traffic whose amounts are known.
//!
//! A plain executable that needs nothing but a kernel: `/proc`, a cgroup-v2 tree and a loopback interface. It
//! prints TAP lines and ends with status 1 if one is "not ok". Natively and in virtual machines it is the same.
//! After attaching, it gives CAP_BPF and CAP_PERFMON away where the kernel lets the rest work without (5.19).
#![expect(clippy::print_stdout, reason = "the lines are what this program is for")]
#![expect(clippy::unwrap_used, reason = "a test says where it broke")]

mod blocking;
mod child;
mod files;
mod logs;
mod overflow;
mod processes;
mod sockets;
mod succession;
mod tap;
mod watch;

use std::{process::ExitCode, time::Instant};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use sekhmet_helper::kernel::{self, FileSource, Kernel, LoadError, Options, TracepointIds};

use crate::{sockets::Before, tap::Tap, watch::Watch};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == child::WORD) {
        return child::run(&arguments[2..]);
    }
    let mut tap = Tap::new();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    tap.note(&format!("kernel {}", release.trim()));
    tap.note(&format!("uid {}", rustix::process::geteuid().as_raw()));
    logs::install();
    // The first kernel is never read: its ring runs full.
    let options = Options { own_files: true, tracepoints: TracepointIds::read(), ..Options::default() };
    let small = Options {
        events_bytes: 1 << 16,
        flows_max: overflow::FLOWS,
        file_source: FileSource::None,
        ..options.clone()
    };
    if let Some(kernel) = load(&mut tap, &small) {
        overflow::run(&mut tap, kernel);
    }
    files::each_source(&mut tap, &options);
    succession::run(&mut tap);
    let before = Before::open();
    if let Some(mut kernel) = load(&mut tap, &options) {
        probes(&mut tap, &kernel);
        give_away(&mut tap, &release);
        let mut policies = kernel.take_policies().unwrap();
        let mut names = kernel.take_names().unwrap();
        let file_probe = kernel.file_probe();
        let mut watch = Watch::start(kernel);
        before.check(&mut tap, &mut watch);
        processes::run(&mut tap, &mut watch);
        sockets::run(&mut tap, &mut watch);
        match file_probe {
            Some(probe) => files::best(&mut tap, &mut watch, &mut names, probe),
            None => tap.check("a source of opened files is attached", false, "there is none"),
        }
        blocking::run(&mut tap, &mut watch, &mut policies);
        logs::check(&mut tap, &mut watch);
        balance(&mut tap, &mut watch);
        let running = watch.is_running();
        tap.check("the reader has lived to the end", running, "it is gone");
    }
    tap.finish()
}

/// Without the right to load there is nothing to test, and that is said; any other refusal is a failure.
fn load(tap: &mut Tap, options: &Options) -> Option<Kernel> {
    let began = Instant::now();
    match kernel::load(options) {
        Ok(kernel) => {
            tap.note(&format!("loaded and attached in {} ms", began.elapsed().as_millis()));
            Some(kernel)
        }
        Err(error @ LoadError::Object(_)) if !may_load() => {
            tap.skip("load the object", &format!("this process has not CAP_BPF: {error}"));
            None
        }
        Err(error) => {
            tap.check("load the object", false, &error.to_string());
            None
        }
    }
}

fn may_load() -> bool {
    let wanted = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN;
    capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted))
}

fn probes(tap: &mut Tap, kernel: &Kernel) {
    for outcome in kernel.outcomes() {
        let probe = outcome.probe;
        let name = format!("{} is attached to {}", probe.program, probe.hook);
        tap.check(&name, outcome.attached(), outcome.refused.as_deref().unwrap_or_default());
        if let Some(count) = outcome.verified_instructions {
            tap.note(&format!("{}: {count} instructions verified", probe.program));
        }
    }
}

/// Everything after this runs without the two capabilities, in this thread and those it starts.
fn give_away(tap: &mut Tap, release: &str) {
    let name = "CAP_BPF and CAP_PERFMON are given away";
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(5), Some(19)) {
        tap.skip(name, "this kernel wants them for every use of bpf(2)");
        return;
    }
    let gone = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYS_ADMIN;
    let sets = capabilities(None).unwrap();
    let less = CapabilitySets {
        effective: sets.effective - gone,
        permitted: sets.permitted - gone,
        inheritable: sets.inheritable - gone,
    };
    set_capabilities(None, less).unwrap();
    let refused = matches!(kernel::load(&Options::default()), Err(LoadError::Object(_)));
    tap.check(name, refused, "the object can still be loaded");
}

/// Once nothing is in flight, what was made is what was delivered.
fn balance(tap: &mut Tap, watch: &mut Watch) {
    for line in watch.settled_balance() {
        let name = format!("{}: made {} = delivered + lost + filtered", line.kind.word(), line.made);
        let exact =
            line.made == line.delivered + line.lost + line.filtered && line.lost == 0 && line.made > 0;
        tap.check(&name, exact, &format!("{line:?}"));
    }
}
