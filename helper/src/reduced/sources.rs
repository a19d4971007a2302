//! The labels of the reduced view: what it sees, from where, and what that costs the user.

use sekhmet_common::{
    coverage::{Source, SourceStatus},
    display::Text,
};

/// What the last look could and could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Why processes cannot be listed.
    pub(super) processes_error: Option<String>,
    /// Why sockets cannot be listed.
    pub(super) sockets_error: Option<String>,
    /// Whether there are sockets of processes whose files may not be read.
    pub(super) owners_missing: bool,
}

/// One line for each thing that could be seen. `reason` says why the kernel's own events are not used.
pub(super) fn sources(findings: &Findings, reason: &Text) -> Vec<Source> {
    let processes = findings.processes_error.as_deref();
    let sockets = findings.sockets_error.as_deref();
    let owner_cost = if findings.owners_missing {
        "Connections of programs that belong to others are shown without their program."
    } else {
        "A socket that several programs share is shown with one of them."
    };
    vec![
        line(
            "process start",
            "/proc",
            "Programs that run for less than a second may be missed.",
            processes,
            reason,
        ),
        line("process end", "/proc", "How a program ended is not known.", processes, reason),
        line(
            "TCP connections",
            "sock_diag",
            "Connections shorter than a second may be missed, and why one ended is not known.",
            sockets,
            reason,
        ),
        line("TCP bytes", "sock_diag", "Bytes of a connection's last second may be missed.", sockets, reason),
        line(
            "UDP",
            "sock_diag",
            "Only sockets connected to one remote are seen, and none of their bytes.",
            sockets,
            reason,
        ),
        line("socket owner", "/proc/PID/fd", owner_cost, processes, reason),
        missing("ICMP, raw and link-layer", "Pings and raw packets are not seen.", reason),
        missing("other network namespaces", "Connections of containers are not seen.", reason),
    ]
}

fn line(capability: &str, source: &str, cost: &str, error: Option<&str>, reason: &Text) -> Source {
    match error {
        None => Source {
            capability: capability.into(),
            source: source.into(),
            status: SourceStatus::Reduced,
            cost: cost.into(),
            reason: reason.clone(),
        },
        Some(error) => missing(capability, "Nothing of this is seen.", &Text::from(error)),
    }
}

fn missing(capability: &str, cost: &str, reason: &Text) -> Source {
    Source {
        capability: capability.into(),
        source: Text::default(),
        status: SourceStatus::Missing,
        cost: cost.into(),
        reason: reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_what_it_costs_and_failures_are_told() {
        let all = sources(&Findings::default(), &"not permitted".into());
        assert!(all.iter().all(|s| !s.cost.is_empty() && s.status != SourceStatus::Best));
        let findings = Findings { sockets_error: Some("no sock_diag".into()), ..Findings::default() };
        let told = sources(&findings, &Text::default());
        let tcp = told.iter().find(|s| s.capability.as_bytes() == b"TCP bytes").unwrap();
        assert_eq!((tcp.status, tcp.reason.shown()), (SourceStatus::Missing, "no sock_diag".into()));
        assert_eq!(told.len(), all.len());
    }
}
