//! Log lines of the kernel programs: in debug builds with the debug object, and in those only.

use std::sync::Mutex;

use sekhmet_helper::kernel::has_log;

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
    let wanted = cfg!(debug_assertions) && has_log();
    let name = if wanted {
        "a kernel log line is shown"
    } else {
        "without the debug object, no kernel log is shown"
    };
    tap.check(name, found == wanted, &format!("looked for {line:?}"));
}
