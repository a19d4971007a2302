//! What the place of a process in the cgroup tree says: unit, container, application.
//!
//! Rules: systemd's `CGROUP_DELEGATION` and `DESKTOP_ENVIRONMENTS` documents, and the names that container
//! managers give (docker, podman, cri-o, containerd, kubelet, LXC, systemd-nspawn). Users name cgroups below
//! their own manager as they like; what is read here is a label, never a right.

use sekhmet_common::display::Text;

/// What a process belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The innermost service or scope of the host's service managers.
    pub unit: Option<Text>,
    /// The container's id or name.
    pub container: Option<Text>,
    /// The desktop application's id.
    pub application: Option<String>,
    /// Whether that id is only a D-Bus name, which need not be an application's.
    pub application_is_guess: bool,
}

/// Reads `/proc/PID/cgroup` (cgroups(7)).
pub fn place(text: &[u8]) -> Place {
    let mut best = Place::default();
    for path in paths(text) {
        let found = place_of_path(path);
        best.container = best.container.or(found.container);
        if best.unit.is_none() {
            (best.unit, best.application) = (found.unit, found.application);
            best.application_is_guess = found.application_is_guess;
        }
    }
    // What runs in a container is not the host's application.
    if best.container.is_some() {
        best.application = None;
    }
    best
}

/// The paths of all hierarchies: version 2 first, then systemd's own, then the others.
fn paths(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<(u8, &[u8])> = text
        .split(|&b| b == b'\n')
        .filter_map(|line| {
            let mut parts = line.splitn(3, |&b| b == b':');
            let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let rank = match (number, controllers) {
                (b"0", b"") => 0,
                (_, b"name=systemd") => 1,
                _ => 2,
            };
            Some((rank, path))
        })
        .collect();
    lines.sort_by_key(|&(rank, _)| rank);
    lines.into_iter().map(|(_, path)| path).collect()
}

fn place_of_path(path: &[u8]) -> Place {
    let mut place = Place::default();
    let mut before: &[u8] = b"";
    for part in path.split(|&b| b == b'/').filter(|p| !p.is_empty()) {
        if let Some(container) = container(before, part) {
            if is_unit(part) {
                place.unit = Some(Text::from(part));
            }
            place.container = Some(container);
            // What lies below is the container's own affair.
            return place;
        }
        if is_unit(part) {
            place.unit = Some(Text::from(part));
            (place.application, place.application_is_guess) = application(part);
        }
        before = part;
    }
    place
}

fn is_unit(part: &[u8]) -> bool {
    part.len() <= 255 && (part.ends_with(b".service") || part.ends_with(b".scope"))
}

/// The container that a cgroup of this name, below one of the name `parent`, holds.
fn container(parent: &[u8], part: &[u8]) -> Option<Text> {
    let scope = part.strip_suffix(b".scope");
    for prefix in [&b"docker-"[..], b"libpod-", b"cri-containerd-", b"crio-", b"nerdctl-", b"containerd-"] {
        let id = scope.and_then(|s| s.strip_prefix(prefix)).filter(|id| is_id(id));
        // Not for `libpod-conmon-…` and `crio-conmon-…`: those are the host's monitors.
        if let Some(id) = id {
            return Some(Text::from(id));
        }
    }
    if is_id(part) && (parent == b"docker" || parent.starts_with(b"pod") || parent.starts_with(b"kubepods")) {
        return Some(Text::from(part));
    }
    if let Some(name) = part.strip_prefix(b"lxc.payload.").filter(|n| !n.is_empty()) {
        return Some(Text::from(name));
    }
    if parent == b"lxc" && !part.starts_with(b"lxc.") {
        return Some(Text::from(part));
    }
    let nspawn = part.strip_prefix(b"systemd-nspawn@").and_then(|p| p.strip_suffix(b".service"));
    let machine = scope.and_then(|s| s.strip_prefix(b"machine-"));
    let name = unescape(nspawn.or(machine)?);
    // libvirt calls its virtual machines so, too.
    let virtual_machine = name.starts_with(b"qemu-") || name.starts_with(b"lxc-");
    (!name.is_empty() && !virtual_machine).then(|| Text::from(name))
}

/// 64 hexadecimal digits, the full id of an OCI container.
fn is_id(part: &[u8]) -> bool {
    part.len() == 64 && part.iter().all(u8::is_ascii_hexdigit)
}

/// The application that a unit of this name runs, and whether that is only a guess.
fn application(unit: &[u8]) -> (Option<String>, bool) {
    if let Some(name) = unit.strip_prefix(b"app-") {
        return (desktop_unit(name), false);
    }
    if let Some(name) = unit.strip_prefix(b"snap.") {
        return (snap_unit(name), false);
    }
    if let Some(name) = unit.strip_prefix(b"dbus-") {
        return (bus_unit(name), true);
    }
    (None, false)
}

/// `app[-LAUNCHER]-ID-RANDOM.scope` or `app[-LAUNCHER]-ID[@RANDOM].service`; `-` in a part is escaped.
fn desktop_unit(name: &[u8]) -> Option<String> {
    let name = match name.strip_suffix(b".scope") {
        Some(scope) => &scope[..scope.iter().rposition(|&b| b == b'-')?],
        None => {
            let service = name.strip_suffix(b".service")?;
            service.split(|&b| b == b'@').next()?
        }
    };
    // Launchers that do not escape leave more parts; the first one is the launcher's name then, too.
    let id = match name.iter().position(|&b| b == b'-') {
        Some(dash) => &name[dash + 1..],
        None => name,
    };
    text(&unescape(id))
}

/// `snap.PACKAGE.APP-UUID.scope`, `snap.PACKAGE.APP.UUID.scope` or `snap.PACKAGE.APP.service`.
fn snap_unit(name: &[u8]) -> Option<String> {
    let name = match name.strip_suffix(b".scope") {
        Some(scope) => {
            let (rest, uuid) = scope.split_at_checked(scope.len().checked_sub(36)?)?;
            if !uuid.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-') {
                return None;
            }
            rest.strip_suffix(b"-").or(rest.strip_suffix(b"."))?
        }
        None => name.strip_suffix(b".service")?,
    };
    let name = unescape(name);
    let dot = name.iter().position(|&b| b == b'.')?;
    let (package, app) = (text(&name[..dot])?, text(&name[dot + 1..])?);
    // The name of the file that snapd writes for it.
    Some(format!("{package}_{app}"))
}

/// `dbus-:1.2-org.example.Name@0.service`, a program that the session bus started.
fn bus_unit(name: &[u8]) -> Option<String> {
    let name = name.strip_suffix(b".service")?.split(|&b| b == b'@').next()?;
    let dash = name.iter().position(|&b| b == b'-')?;
    text(&unescape(&name[dash + 1..]))
}

fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let fits = !text.is_empty() && text.len() <= 240 && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// Undoes systemd's escaping of unit names (`\x2d`); what is not an escape stays.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|t| t.get(..2));
        let byte = hex
            .filter(|h| h.iter().all(u8::is_ascii_hexdigit))
            .and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(path: &str) -> (Option<String>, Option<String>, Option<String>) {
        let place = place(format!("0::{path}\n").as_bytes());
        (place.unit.map(|t| t.to_string()), place.container.map(|t| t.to_string()), place.application)
    }

    #[test]
    fn units_and_applications_of_a_desktop() {
        let user = "/user.slice/user-1000.slice/user@1000.service/app.slice";
        for (name, application) in [
            ("app-gnome-firefox-3121.scope", Some("firefox")),
            ("app-gnome-google\\x2dchrome-3121.scope", Some("google-chrome")),
            ("app-org.kde.dolphin-0a1b2c.scope", Some("org.kde.dolphin")),
            ("app-flatpak-org.mozilla.Thunderbird-99.scope", Some("org.mozilla.Thunderbird")),
            ("app-org.kde.kalendarac@autostart.service", Some("org.kde.kalendarac")),
            ("app-gnome-org.gnome.Maps@77.service", Some("org.gnome.Maps")),
            ("snap.firefox.firefox-01234567-89ab-cdef-0123-456789abcdef.scope", Some("firefox_firefox")),
            ("snap.lxd.daemon.service", Some("lxd_daemon")),
            ("dbus-:1.2-org.gnome.Nautilus@0.service", Some("org.gnome.Nautilus")),
            ("vte-spawn-1234.scope", None),
            ("app-.scope", None),
        ] {
            let (unit, container, found) = shown(&format!("{user}/{name}/deeper"));
            let expected = Text::from(name).to_string();
            assert_eq!((unit, container), (Some(expected), None));
            assert_eq!(found.as_deref(), application, "{name}");
        }
        assert_eq!(shown("/system.slice/nginx.service").0.as_deref(), Some("nginx.service"));
        assert_eq!(shown("/"), (None, None, None));
    }

    #[test]
    fn containers_of_every_manager() {
        let id = "0123456789abcdef".repeat(4);
        for (path, name) in [
            (format!("/system.slice/docker-{id}.scope"), Some(&id[..])),
            (format!("/docker/{id}/init"), Some(&id[..])),
            (format!("/user.slice/user@1000.service/user.slice/libpod-{id}.scope/container"), Some(&id[..])),
            (format!("/machine.slice/libpod-conmon-{id}.scope"), None),
            (format!("/kubepods.slice/kubepods-burstable.slice/x/cri-containerd-{id}.scope"), Some(&id[..])),
            (format!("/kubepods/besteffort/pod1234/{id}"), Some(&id[..])),
            ("/lxc.payload.web/system.slice/ssh.service".into(), Some("web")),
            ("/lxc/old/init.scope".into(), Some("old")),
            ("/machine.slice/machine-my\\x2dbox.scope/payload".into(), Some("my-box")),
            ("/machine.slice/systemd-nspawn@box.service/payload".into(), Some("box")),
            ("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope".into(), None),
        ] {
            assert_eq!(shown(&path).1.as_deref(), name, "{path}");
        }
        // The unit is the host's, not one that the container made.
        assert_eq!(shown("/lxc.payload.web/system.slice/ssh.service").0, None);
    }

    #[test]
    fn mixed_hierarchies_ask_the_second_version_first_and_systemd_next() {
        let text = b"12:pids:/docker/x\n1:name=systemd:/system.slice/cron.service\n0::/\n";
        assert_eq!(place(text).unit.unwrap().shown(), "cron.service");
        let text = b"1:name=systemd:/a.service\n0::/b.service\n";
        assert_eq!(place(text).unit.unwrap().shown(), "b.service");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _place = place(&bytes);
        }

        #[test]
        fn hostile_names_never_panic(name in "(0::)?/?(app-|snap\\.|dbus-|machine-|docker-)?[a-z\\\\x2@é.-]{0,60}(\\.scope|\\.service)?") {
            let place = place(name.as_bytes());
            prop_assert!(place.application.is_none_or(|a| !a.is_empty() && a.len() <= 240));
        }
    }
}
