//! What a process is called, and under which program it stands.

use sekhmet_common::{display::Text, flow::NameSource, process::Process, process::ProcessId};

/// Names one top-level row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKey {
    /// A desktop application, by its desktop file.
    Application(Text),
    /// A container.
    Container(Text),
    /// A systemd service.
    Service(Text),
    /// A program outside of all those: executable and script.
    Program(Text, Option<Text>),
    /// One user, by number.
    User(u32),
    /// Sockets of the kernel itself.
    Kernel,
    /// What this user may not see in detail.
    Others,
}

/// A process, or the kernel.
pub type Member = Option<ProcessId>;

/// Names one remote host of a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostKey {
    /// By its name.
    Name(Text),
    /// By its address, while no name is known.
    Addr(std::net::IpAddr),
}

impl HostKey {
    /// As it is shown.
    pub fn label(&self) -> String {
        match self {
            Self::Name(name) => name.shown(),
            Self::Addr(addr) => addr.to_string(),
        }
    }
}

/// Where the name of a host came from, if it has one.
pub type HostSource = Option<NameSource>;

/// The interpreters whose first argument is the program that a person means.
const INTERPRETERS: [&str; 12] =
    ["python", "node", "bash", "sh", "dash", "zsh", "perl", "ruby", "php", "lua", "deno", "bun"];

/// The top-level row that a process belongs to.
pub fn program_of(process: &Process) -> GroupKey {
    if let Some(container) = process.container.as_ref().filter(|t| !t.is_empty()) {
        return GroupKey::Container(container.clone());
    }
    if let Some(application) = process.application.as_ref().filter(|t| !t.is_empty()) {
        return GroupKey::Application(application.clone());
    }
    if let Some(unit) = process.unit.as_ref().filter(|u| u.as_bytes().ends_with(b".service")) {
        // A user's own manager is a service too; what runs below it is not named by it.
        if !unit.as_bytes().starts_with(b"user@") {
            return GroupKey::Service(unit.clone());
        }
    }
    let exe = if process.exe.is_empty() { process.name.clone() } else { process.exe.clone() };
    GroupKey::Program(exe, script_of(process).map(Text::from))
}

/// The script that an interpreter runs, as a path, if the command line says so.
pub fn script_of(process: &Process) -> Option<String> {
    let name = process.name.shown();
    let family = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !INTERPRETERS.contains(&family) {
        return None;
    }
    let mut arguments = process.cmdline.iter().skip(1).map(Text::shown);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // The program text itself, or a module's name: no file to name it by.
            "-c" | "-e" | "-p" | "-" | "--eval" | "--print" => return None,
            "-m" => return arguments.next(),
            "-W" | "-X" | "-r" | "--require" | "-O" | "-o" => drop(arguments.next()),
            option if option.starts_with('-') => {}
            path => return Some(path.to_owned()),
        }
    }
    None
}

/// What to call a process: its script's file name, else its program's.
pub fn process_label(process: &Process) -> String {
    match script_of(process) {
        Some(script) => file_name(&script).to_owned(),
        None if process.name.is_empty() => file_name(&process.exe.shown()).to_owned(),
        None => process.name.shown(),
    }
}

/// The part of a path after the last slash.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().filter(|part| !part.is_empty()).unwrap_or(path)
}

/// What to call a top-level row, judged by one of its processes.
pub fn group_label(key: &GroupKey, process: Option<&Process>) -> String {
    match key {
        GroupKey::Application(id) => process
            .and_then(|p| p.application_name.as_ref())
            .filter(|name| !name.is_empty())
            .map_or_else(|| id.shown(), Text::shown),
        GroupKey::Container(name) => short_container(&name.shown()),
        GroupKey::Service(unit) => unit.shown().trim_end_matches(".service").to_owned(),
        GroupKey::Program(exe, script) => {
            let path = script.as_ref().unwrap_or(exe).shown();
            file_name(&path).to_owned()
        }
        GroupKey::User(uid) => process
            .and_then(|p| p.user.as_ref())
            .filter(|name| !name.is_empty())
            .map_or_else(|| uid.to_string(), Text::shown),
        GroupKey::Kernel | GroupKey::Others => String::new(),
    }
}

/// A container's name; of a bare hexadecimal id the first twelve digits, as container tools show it.
fn short_container(name: &str) -> String {
    let is_id = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id { name.chars().take(12).collect() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use sekhmet_common::time::Timestamp;

    use super::*;

    fn process(exe: &str, arguments: &[&str]) -> Process {
        Process {
            id: ProcessId(1),
            pid: 1,
            parent_id: None,
            name: file_name(exe).into(),
            exe: exe.into(),
            cmdline: arguments.iter().map(|a| Text::from(*a)).collect(),
            cmdline_truncated: false,
            uid: 1000,
            user: None,
            unit: None,
            container: None,
            application: None,
            application_name: None,
            net_ns: 1,
            started_at: Timestamp(0),
            exited_at: None,
            exit_status: None,
            tx_bytes: 0,
            rx_bytes: 0,
        }
    }

    #[test]
    fn scripts_name_their_process() {
        for (exe, arguments, label) in [
            ("/usr/bin/python3.11", &["python3", "/home/ana/backup.py", "--all"][..], "backup.py"),
            (
                "/usr/bin/node",
                &["node", "--max-old-space-size=4096", "build/postinstall.js"],
                "postinstall.js",
            ),
            ("/usr/bin/python3", &["python3", "-X", "dev", "-m", "http.server"], "http.server"),
            ("/usr/bin/python3", &["python3", "-c", "print(1)"], "python3"),
            ("/usr/bin/bash", &["bash"], "bash"),
            ("/usr/bin/curl", &["curl", "https://example.org"], "curl"),
        ] {
            assert_eq!(process_label(&process(exe, arguments)), label, "{arguments:?}");
        }
    }

    #[test]
    fn the_nearest_meaning_wins() {
        let mut p = process("/usr/lib/firefox/firefox", &["firefox"]);
        assert!(matches!(program_of(&p), GroupKey::Program(..)));
        p.unit = Some("user@1000.service".into());
        assert!(matches!(program_of(&p), GroupKey::Program(..)));
        p.unit = Some("sshd.service".into());
        assert_eq!(group_label(&program_of(&p), Some(&p)), "sshd");
        p.application = Some("firefox".into());
        p.application_name = Some("Firefox".into());
        assert_eq!(group_label(&program_of(&p), Some(&p)), "Firefox");
        p.container = Some("0123456789abcdef".repeat(4).into());
        assert_eq!(group_label(&program_of(&p), Some(&p)), "0123456789ab");
    }

    #[test]
    fn hostile_names_are_shown_escaped() {
        let mut p = process("/tmp/x", &[]);
        p.name = Text::from(&b"a\x1b[2J\nb"[..]);
        p.exe = Text::default();
        assert!(!process_label(&p).contains(['\x1b', '\n']));
    }
}
