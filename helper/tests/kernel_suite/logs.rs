//! Log lines of the kernel programs: in debug builds, and in those only.

use std::sync::Mutex;

use crate::{child, tap::Tap, watch::Watch};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collect;

impl log::Log for Collect {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Ok(mut lines) = LINES.lock() {
            lines.push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

pub(crate) fn install() {
    log::set_logger(&Collect).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
}

pub(crate) fn check(tap: &mut Tap, watch: &mut Watch) {
    let mut child = child::command(&["exit", "0"]).spawn().unwrap();
    let line = format!("exec {}", child.id());
    child.wait().unwrap();
    // Two more polls: the log is read before each.
    watch.settled_balance();
    let found = LINES.lock().unwrap().contains(&line);
    let wanted = cfg!(debug_assertions);
    let name =
        if wanted { "a debug build shows a kernel log line" } else { "a release build shows no kernel log" };
    tap.check(name, found == wanted, &format!("looked for {line:?}"));
}
