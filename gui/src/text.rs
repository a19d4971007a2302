//! Every sentence and word of the window.

use sekhmet_common::{
    coverage::{RecordKind, SourceStatus},
    flow::{EndReason, NameSource, Protocol},
};

use crate::model::{key::GroupKey, screen::Lens};

pub mod coverage;
pub mod inspector;
pub mod key;
pub mod numbers;
pub mod pane;
pub mod rule;
pub mod secrets;
pub mod table;
pub mod timeline;
pub mod times;
pub mod watchlist;

/// The window's title.
pub const TITLE: &str = "Sekhmet";
/// The mode without any decisions.
pub const OBSERVE: &str = "Observe";
/// What the mode does.
pub const OBSERVE_HINT: &str = "Everything is shown, nothing is refused";
/// Inside the empty search box.
pub const SEARCH_HINT: &str = "Search or filter, e.g. host:github.com";
/// The search box for those who hear it.
pub const SEARCH_LABEL: &str = "Search programs, hosts, users";
/// Empties the search box.
pub const CLEAR_SEARCH: &str = "Clear the search";
/// Data comes in and is shown.
pub const LIVE: &str = "Live";
/// A log is played.
pub const REPLAY: &str = "Recording";
/// A log is over.
pub const REPLAY_ENDED: &str = "End of the recording";
/// Stops the picture.
pub const PAUSE: &str = "Pause";
/// Lets the picture go on.
pub const GO_LIVE: &str = "Go live";
/// Data was coming in and may again.
pub const RECONNECTING: &str = "Reconnecting";
/// There is nobody to collect.
pub const NOT_COLLECTING: &str = "Not collecting";
/// Nobody may look.
pub const NOT_WATCHING: &str = "Not watching";
/// The first try.
pub const CONNECTING: &str = "Connecting";
/// Beside the health figure.
pub const HEALTH: &str = "Health";
/// Instead of the health figure.
pub const NO_DATA: &str = "no data";
/// The menu's button.
pub const MENU: &str = "Menu";
/// The desktop decides on the theme.
pub const THEME_SYSTEM: &str = "Like the desktop";
/// Force the dark theme.
pub const THEME_DARK: &str = "Dark";
/// Force the light theme.
pub const THEME_LIGHT: &str = "Light";
/// Heading of the theme choices.
pub const THEME: &str = "Theme";
/// Show or hide LAN and loopback.
pub const MENU_LOCAL: &str = "LAN and loopback";
/// Ask for other users' programs.
pub const SHOW_ALL: &str = "Show all programs";
/// Close the window.
pub const QUIT: &str = "Quit";

/// Heads of the table.
pub mod head {
    /// The name.
    pub const PROGRAM: &str = "Program";
    /// Present rates.
    pub const NOW: &str = "Now";
    /// The sparkline.
    pub const SPARK: &str = "Last 60 s";
    /// The window of totals.
    pub const WINDOW: &str = "5 min";
    /// Open connections.
    pub const OPEN: &str = "Open";
    /// Last activity.
    pub const SEEN: &str = "Seen";
}

/// Shown in the head while the order is held.
pub const ORDER_HELD: &str = "Order held while you point here";
/// The kernel's own row.
pub const KERNEL: &str = "Linux kernel";
/// The row of what may not be seen in detail.
pub const OTHERS: &str = "Other users and the system";
/// Heading of the lenses.
pub const LENS_WHO: &str = "Who";
/// Heading of what may want attention.
pub const LENS_LOOK: &str = "What needs a look";
/// Heading of the pages.
pub const LENS_APPLIES: &str = "What applies";
/// Heading of the timeline.
pub const TIMELINE: &str = "Timeline";
/// Under it, with a selection.
pub const TIMELINE_SELECTION: &str = "Selection in colour";
/// Under it, without one.
pub const TIMELINE_ALL: &str = "Every program";
/// The present moment on the axis.
pub const NOW: &str = "now";
/// A stretch without records in the chart.
pub const NOT_RECORDING: &str = "not recording";
/// The button on the local line.
pub const SHOW: &str = "Show";
/// The same when local traffic is shown.
pub const HIDE: &str = "Hide";
/// An empty value in the inspector.
pub const NONE: &str = "none";
/// Nothing selected.
pub const SELECT_A_ROW: &str = "Nothing is selected";
/// What to do about it.
pub const SELECT_A_ROW_HINT: &str =
    "Select a program, a process or a host to see who it is and whom it talks to.";
/// Close the inspector.
pub const CLOSE_INSPECTOR: &str = "Close the inspector";
/// The tab with hosts.
pub const HOSTS: &str = "Hosts";
/// The tab with processes.
pub const PROCESSES: &str = "Processes";
/// The tab with connections.
pub const CONNECTIONS: &str = "Connections";
/// What a row is: a process.
pub const PROCESS: &str = "process";
/// What a row is: a remote host.
pub const HOST: &str = "host";
/// What a row is: programs that ended.
pub const EXITED: &str = "exited";
/// The other side opened it.
pub const INBOUND: &str = "inbound";
/// A flow that is being set up.
pub const OPENING: &str = "opening";
/// A flow that is in use.
pub const OPEN: &str = "open";
/// A flow that is over.
pub const CLOSED: &str = "closed";
/// Copies a value.
pub const COPY: &str = "Copy";

/// Labels of the inspector.
pub mod field {
    /// The executable.
    pub const PATH: &str = "Path";
    /// The command line.
    pub const COMMAND: &str = "Command";
    /// The systemd unit.
    pub const UNIT: &str = "Unit";
    /// The container.
    pub const CONTAINER: &str = "Container";
    /// The user.
    pub const USER: &str = "User";
    /// When it started.
    pub const STARTED: &str = "Started";
    /// The network namespace.
    pub const NET_NS: &str = "Network ns";
    /// Where a name comes from.
    pub const NAME: &str = "Name";
    /// An address.
    pub const ADDRESS: &str = "Address";
    /// This side.
    pub const LOCAL: &str = "Here";
    /// The other side.
    pub const REMOTE: &str = "There";
    /// The protocol.
    pub const PROTOCOL: &str = "Protocol";
    /// Where a flow is in its life.
    pub const STATE: &str = "State";
    /// When it began.
    pub const OPENED: &str = "Opened";
    /// First contact.
    pub const FIRST_SEEN: &str = "First seen";
    /// Packets.
    pub const PACKETS: &str = "Packets";
    /// Whose program.
    pub const PROGRAM: &str = "Program";
    /// How many.
    pub const PROCESSES: &str = "Processes";
    /// Watched files that were opened.
    pub const SECRETS: &str = "Secrets";
    /// What the rules say.
    pub const VERDICT: &str = "Verdict";
}

/// A lens by its name.
pub fn lens(lens: Lens) -> &'static str {
    match lens {
        Lens::Everything => "Everything",
        Lens::Applications => "Applications",
        Lens::Services => "Services",
        Lens::Containers => "Containers",
        Lens::Users => "Users",
        Lens::Secrets => secrets::SECRETS,
        Lens::Rules => rule::RULES,
        Lens::Watchlist => watchlist::WATCHLIST,
        Lens::Coverage => "Coverage",
    }
}

/// One thing or several: `1 process`, `3 processes`.
pub fn number_of(n: usize, one: &str, several: &str) -> String {
    format!("{} {}", numbers::count(n as u64), if n == 1 { one } else { several })
}

/// Those that are not named.
pub fn more(n: usize) -> String {
    format!("{} more", numbers::count(n as u64))
}

/// The text with its first letter as a capital.
pub fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `3 processes`.
pub fn processes(n: usize) -> String {
    number_of(n, "process", "processes")
}

/// `31 connections`.
pub fn connections(n: u32) -> String {
    format!("{} connections", numbers::count(n.into()))
}

/// `4 exited programs`.
pub fn exited_programs(n: usize) -> String {
    number_of(n, "exited program", "exited programs")
}

/// The second text of a process.
pub fn process_detail(program: Option<&str>, pid: u32, exited: bool) -> String {
    let mut text = program.map_or_else(|| pid.to_string(), |p| format!("{p} {pid}"));
    if exited {
        text.push_str(", exited");
    }
    text
}

/// A protocol as people write it.
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Udplite => "UDP-Lite",
        Protocol::Icmp => "ICMP",
        Protocol::Icmp6 => "ICMPv6",
        Protocol::Raw => "raw IP",
        Protocol::Sctp => "SCTP",
        Protocol::Packet => "packet socket",
    }
}

/// Why a flow ended.
pub fn end_reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Closed => "closed",
        EndReason::Reset => "reset",
        EndReason::Refused => "refused by the other side",
        EndReason::TimedOut => "timed out",
        EndReason::Aged => "quiet for long",
        EndReason::Exited => "ended with its process",
        EndReason::Blocked => "blocked by a rule",
    }
}

/// Where a name comes from.
pub fn name_source(source: Option<NameSource>) -> &'static str {
    match source {
        Some(NameSource::Dns) => "name from DNS",
        Some(NameSource::Tls) => "name from TLS",
        Some(NameSource::Reverse) => "reverse name",
        None => "address only",
    }
}

/// The line under the table about what is not shown.
pub fn local_line(shown: bool, down: &str, up: &str) -> String {
    let state = if shown { "shown" } else { "hidden" };
    format!("LAN and loopback: {state}, ↓\u{2009}{down} ↑\u{2009}{up} in 5 min")
}

/// The sum of the table.
pub fn summary(lens: Lens, groups: usize, open: u32, refused: u64) -> String {
    let groups = if lens == Lens::Users {
        number_of(groups, "user", "users")
    } else {
        number_of(groups, "program", "programs")
    };
    let open = format!("{groups} · {} open", numbers::count(u64::from(open)));
    if refused == 0 { open } else { format!("{open} · {}", rule::refused(refused)) }
}

/// Where the picture stands while it is paused.
pub fn paused_at(clock: &str) -> String {
    format!("Paused at {clock}")
}

/// What goes on behind a paused picture.
pub fn paused_strip(events: u64) -> String {
    let noun = if events == 1 { "new event" } else { "new events" };
    format!("Collecting goes on: {} {noun}.", numbers::count(events))
}

/// What a top-level row is, in one or two words.
pub fn group_kind(key: &GroupKey) -> &'static str {
    match key {
        GroupKey::Application(_) => "application",
        GroupKey::Container(_) => "container",
        GroupKey::Service(_) => "service",
        GroupKey::Program(..) => "program",
        GroupKey::User(_) => "user",
        GroupKey::Kernel => "kernel",
        GroupKey::Others => "not shown in detail",
    }
}

/// A source's quality.
pub fn source_status(status: SourceStatus) -> &'static str {
    match status {
        SourceStatus::Best => "best",
        SourceStatus::Equal => "equal",
        SourceStatus::Reduced => "reduced",
        SourceStatus::Missing => "missing",
    }
}

/// A kind of record.
pub fn record_kind(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Exec => "Programs executed",
        RecordKind::Fork => "Processes started",
        RecordKind::Exit => "Processes ended",
        RecordKind::TcpState => "TCP connections",
        RecordKind::PacketFlow => "Packets of new flows",
        RecordKind::SocketClosed => "Sockets closed",
        RecordKind::Refused => "First refusals",
        RecordKind::File => "Opened files",
        RecordKind::Stream => "Messages to this window",
    }
}

/// A process's identity: what runs, since when, for whom.
pub fn identity(program: &str, started_by: Option<&str>, ago: &str, user: &str, exited: bool) -> String {
    let by = started_by.map_or_else(String::new, |parent| format!(" by {parent}"));
    let when = if ago == NOW { "just now".to_owned() } else { format!("{ago} ago") };
    let end = if exited { " It has ended." } else { "" };
    format!("{program}, started{by} {when} as {user}.{end}")
}

/// The row of a table as one sentence. `verdict` is empty, or what the rules did.
pub fn row_label(
    name: &str,
    kind: &str,
    level: u8,
    unfolded: Option<bool>,
    verdict: &str,
    [down, up]: [&str; 2],
) -> String {
    let fold = match unfolded {
        Some(true) => ", unfolded",
        Some(false) => ", folded",
        None => "",
    };
    let verdict = if verdict.is_empty() { String::new() } else { format!(", {verdict}") };
    format!("{name}, {kind}, level {}{fold}{verdict}, download {down}, upload {up}", level + 1)
}

/// The states of the window that replace or head the table.
pub mod state;
