//! The words about watched files. The order of events is told, never a cause: `after`, and no stronger word.

use std::collections::BTreeSet;

use sekhmet_common::{
    file::{Access, ContactReason, Outcome},
    watch::Severity,
};

use super::{number_of, numbers, times};

/// The lens.
pub const SECRETS: &str = "Secrets";
/// The tab with watched files.
pub const FILES: &str = "Files";
/// Heading of those at whom to look.
pub const UNEXPECTED: &str = "Unexpected readers";
/// Heading of the others.
pub const EXPECTED: &str = "Expected readers";
/// Opens the watchlist.
pub const EDIT: &str = "Edit the watchlist";
/// What is never done.
pub const NEVER_READS: &str = "Sekhmet never reads what is inside a file";
/// The mark of a program that had not been seen at an entry.
pub const FIRST_TIME: &str = "first time";
/// What the order of two events does not say.
pub const NOT_BECAUSE: &str =
    "After does not mean because. Sekhmet sees the order of events, not the content.";
/// The lane of files.
pub const LANE_FILES: &str = "Files";
/// The lane of remotes.
pub const LANE_NETWORK: &str = "Network";
/// Copies what the inspector tells.
pub const COPY_EVIDENCE: &str = "Copy evidence";
/// Copies the same for programs.
pub const COPY_JSON: &str = "Copy evidence as JSON";
/// Saves both.
pub const SAVE_EVIDENCE: &str = "Save evidence";
/// Lets a program be expected.
pub const EXPECT: &str = "Expect this reader";
/// The badge while polkit asks.
pub const NOT_EDITABLE: &str = "This entry is not yours to change";
/// Nothing was opened: heading.
pub const NOTHING: &str = "No watched file has been opened";
/// Nothing is watched: heading.
pub const NOTHING_WATCHED: &str = "Nothing is watched";
/// Nothing is watched: what it means.
pub const NOTHING_WATCHED_TEXT: &str = "The watchlist is empty, or everything in it is switched off.";
/// No source: heading.
pub const NO_SOURCE: &str = "This kernel offers no source for file opens";
/// No source: what it means.
pub const NO_SOURCE_TEXT: &str = "Which programs open watched files cannot be seen here.";
/// A weak source: heading of the strip.
pub const REDUCED: &str = "Some opens cannot be seen.";
/// Nothing matches the search.
pub const NO_MATCH: &str = "No opened file matches the search";
/// What to do about it.
pub const NO_MATCH_TEXT: &str = "Words are looked for in programs, paths and labels.";
/// Marks of other programs that stand at one place.
pub const MARKS: &str = "watched files opened";

/// Heads of the page.
pub mod head {
    /// Names.
    pub const NAME: &str = "Program and file";
    /// How grave.
    pub const SEVERITY: &str = "Severity";
    /// Which ways, which results.
    pub const ACCESS: &str = "Access";
    /// How often.
    pub const TIMES: &str = "Times";
    /// When last.
    pub const LAST: &str = "Last";
    /// Which remotes.
    pub const AFTER: &str = "After that";
    /// How much.
    pub const SENT: &str = "Sent after";
}

/// How grave an access is.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
    }
}

/// What was done to a file, as a verb in the past.
fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "wrote",
        Access::ReadWrite => "read and wrote",
        Access::Truncate => "emptied",
        Access::Handle => "looked up",
        Access::Unlink => "removed",
        Access::Rename => "renamed",
        Access::Chmod => "changed the mode of",
    }
}

/// A way in a narrow column.
fn way(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::ReadWrite => "read, write",
        Access::Truncate => "empty",
        Access::Handle => "path only",
        Access::Unlink => "remove",
        Access::Rename => "rename",
        Access::Chmod => "chmod",
    }
}

/// A result other than success.
fn failure(result: Outcome) -> String {
    match result.to_string().as_str() {
        "ENOENT" | "ENOTDIR" => "not found".to_owned(),
        "EACCES" | "EPERM" => "denied".to_owned(),
        "EROFS" => "read-only".to_owned(),
        other => other.to_owned(),
    }
}

/// Ways and results of a row: `read, write`, `not found`, `read, denied`.
pub fn access(ways: &BTreeSet<Access>, results: &BTreeSet<Outcome>) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut add = |word: &str| {
        if !word.is_empty() && !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    };
    if results.iter().any(|result| result.is_ok()) {
        ways.iter().flat_map(|access| way(*access).split(", ")).for_each(&mut add);
    }
    results.iter().filter(|result| !result.is_ok()).for_each(|result| add(&failure(*result)));
    words.join(", ")
}

/// `2 files`.
pub fn files(n: usize) -> String {
    number_of(n, "file", "files")
}

/// How many processes of a program were readers.
pub fn processes(n: usize) -> String {
    number_of(n, "process", "processes")
}

/// Beside the heading of the expected readers.
pub fn no_attention(programs: usize) -> String {
    format!("{}, no attention needed", number_of(programs, "program", "programs"))
}

/// The badge of a row with one file: what was done to it.
pub fn badge(access: Access, result: Outcome, path: &str) -> String {
    if result.is_ok() { format!("{} {path}", verb(access)) } else { format!("{} {path}", failure(result)) }
}

/// The badge of a row, for those who hear it.
pub fn badge_told(unexpected: usize, expected: usize) -> String {
    let plural = |n: usize| number_of(n, "secret", "secrets");
    match (unexpected, expected) {
        (0, 0) => String::new(),
        (0, n) => format!("{} opened as expected", plural(n)),
        (n, _) => format!("{} opened unexpectedly", plural(n)),
    }
}

/// Hosts that were reached after.
pub fn hosts(new: usize, all: usize) -> String {
    match (new, all) {
        (0, 0) => "–".to_owned(),
        (0, n) => number_of(n, "known host", "known hosts"),
        (n, _) => number_of(n, "new host", "new hosts"),
    }
}

/// One host that was reached after.
pub fn host(new: bool) -> &'static str {
    if new { "new" } else { "known" }
}

/// Time between two events: `0.8 s`, `34 s`, `3 min`.
pub fn delay(nanos: u64) -> String {
    match nanos {
        0..=999_999 => "less than 1 ms".to_owned(),
        1_000_000..=99_999_999 => format!("{} ms", nanos / 1_000_000),
        100_000_000..=9_949_999_999 => format!("{:.1} s", nanos as f64 / 1e9),
        _ => times::span(nanos / 1_000_000_000),
    }
}

/// Beside a host in the tree.
pub fn after_read(nanos: u64) -> String {
    format!("{} after the read", delay(nanos))
}

/// The first sentence of the evidence.
pub fn opened(who: &str, access: Access, result: Outcome) -> String {
    if result.is_ok() {
        return format!("{who} {} this file.", verb(access));
    }
    format!("{who} asked for this file: {}.", failure(result))
}

/// The first sentence about several files.
pub fn opened_several(who: &str, n: usize) -> String {
    format!("{who} asked for {}.", number_of(n, "watched file", "watched files"))
}

/// The second sentence: whom it reached after. `other` names a process that the reader started.
pub fn reached(nanos: u64, other: Option<&str>, reason: ContactReason) -> String {
    let who = other.map_or_else(|| "it".to_owned(), |name| format!("{name}, which it started,"));
    let what = match reason {
        ContactReason::NewRemote => "reached a host that it had not been seen to reach before",
        ContactReason::Sent => "had sent more than a little to a host",
    };
    format!("{} later {who} {what}.", delay(nanos))
}

/// A step of the evidence: a file was asked for.
pub fn step_opened(access: Access, result: Outcome, path: &str) -> String {
    if result.is_ok() {
        super::sentence_case(&format!("{} {path}", verb(access)))
    } else {
        format!("Asked for {path}")
    }
}

/// What stands below it.
pub fn step_detail(
    result: Outcome,
    count: u64,
    first_time: bool,
    entry: &str,
    requested: Option<&str>,
) -> String {
    let mut parts = Vec::new();
    if !result.is_ok() {
        parts.push(failure(result));
    }
    if first_time {
        parts.push(FIRST_TIME.to_owned());
    }
    if count > 1 {
        parts.push(format!("{} times within 1 s", numbers::count(count)));
    }
    if !entry.is_empty() {
        parts.push(entry.to_owned());
    }
    parts.extend(requested.map(|path| format!("asked for as {path}")));
    parts.join(", ")
}

/// A step of the evidence: a remote was reached.
pub fn step_reached(host: &str) -> String {
    format!("Connected to {host}")
}

/// What stands below it.
pub fn step_remote(port: u16, new: bool, delay: &str) -> String {
    let seen = if new { "first contact" } else { "known host" };
    if port == 0 { format!("{seen}, {delay} after") } else { format!("port {port}, {seen}, {delay} after") }
}

/// A step of the evidence: bytes that were sent since.
pub fn step_sent(sent: &str) -> String {
    format!("Sent {sent} since the read")
}

/// The head of evidence that is copied or saved.
pub fn evidence_head(title: &str, sentence: &str) -> String {
    format!("{title}\n{sentence}\n{NOT_BECAUSE}\n")
}

/// A notice: evidence was saved.
pub fn saved(path: &str) -> String {
    format!("The evidence is in {path}, and beside it as JSON.")
}

/// A notice: it was not.
pub fn not_saved(reason: &str) -> String {
    format!("The evidence was not saved: {reason}.")
}

/// The field of the inspector: the newest file, and the host after it.
pub fn field(path: &str, more: usize, delay_to_new: Option<u64>) -> String {
    match (delay_to_new, more) {
        (Some(nanos), _) => format!("{path}, {} before a new host", delay(nanos)),
        (None, 0) => path.to_owned(),
        (None, more) => format!("{path} and {}", super::more(more)),
    }
}

/// The heading of a notification.
pub fn alert(who: &str, label: &str) -> String {
    if label.is_empty() { format!("{who} opened a watched file") } else { format!("{who} opened: {label}") }
}

/// The sentence of a notification.
pub fn alert_body(access: Access, path: &str, pid: u32, first_time: bool) -> String {
    let first = if first_time { " It had not been seen to do that before." } else { "" };
    format!(
        "{} {path} (PID {pid}). It is not among the expected readers.{first}",
        super::sentence_case(verb(access))
    )
}

/// The heading of a notification about many.
pub const ALERT_MORE: &str = "More watched files were opened";
/// The sentence of a notification about many.
pub const ALERT_MORE_BODY: &str =
    "Several unexpected readers within a minute. The Secrets lens lists them all.";
/// The button of a notification.
pub const ALERT_SHOW: &str = "Show";
/// The choice in the menu.
pub const MENU_ALERTS: &str = "Tell of unexpected readers";

/// A mark of the timeline.
pub fn mark(clock: &str, who: &str, access: Access, result: Outcome, path: &str) -> String {
    if result.is_ok() {
        format!("{clock}, {who} {} {path}.", verb(access))
    } else {
        format!("{clock}, {who} asked for {path}: {}.", failure(result))
    }
}

/// The line at the foot.
pub fn watching(entries: usize, groups: usize) -> String {
    format!("Watching {} in {}", number_of(entries, "entry", "entries"), number_of(groups, "group", "groups"))
}

/// Nothing was opened: since when.
pub fn nothing_text(clock: &str, entries: usize) -> String {
    let entries = number_of(entries, "entry", "entries");
    format!("Watching {entries} since {clock}. Whoever opens one appears here within one second.")
}

/// A row, for those who hear it.
pub fn row(
    name: &str,
    what: &str,
    severity: &str,
    access: &str,
    times: u64,
    last: &str,
    after: &str,
) -> String {
    let unit = if times == 1 { "time" } else { "times" };
    let times = numbers::count(times);
    format!("{name}, {what}, severity {severity}, {access}, {times} {unit}, last {last}, after that {after}")
}

/// What a row is.
pub fn kind(file: bool, process: bool, unexpected: bool) -> &'static str {
    match (file, process, unexpected) {
        (true, _, true) => "file, unexpected reader",
        (true, _, false) => "file, expected reader",
        (_, true, _) => "process, unexpected reader",
        (_, _, true) => "program, unexpected reader",
        _ => "program, expected reader",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_and_results_are_few_words() {
        let told = |ways: &[Access], results: &[u16]| {
            access(&ways.iter().copied().collect(), &results.iter().map(|n| Outcome(*n)).collect())
        };
        assert_eq!(told(&[Access::Read], &[0]), "read");
        assert_eq!(told(&[Access::Read, Access::ReadWrite], &[0]), "read, write");
        assert_eq!(told(&[Access::Read], &[2]), "not found");
        assert_eq!(told(&[Access::Read], &[0, 13]), "read, denied");
    }

    #[test]
    fn delays_are_as_exact_as_they_are_short() {
        assert_eq!(delay(10), "less than 1 ms");
        assert_eq!(delay(34_000_000), "34 ms");
        assert_eq!(delay(815_000_000), "0.8 s");
        assert_eq!(delay(9_960_000_000), "9 s");
        assert_eq!(delay(180_000_000_000), "3 min");
    }
}
