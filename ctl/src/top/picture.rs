//! The picture that `top` draws, as lines of text.

use sekhmet_common::{
    coverage::Mode,
    display::Text,
    mirror::{Header, Others},
};

use super::rates::Summary;
use crate::{
    numbers::{bytes, count, rate},
    table::{Align, Column, Table, clip},
};

/// What stands above the tables.
#[derive(Debug)]
pub(crate) struct Heading<'a> {
    /// The helper, once it is known.
    pub(crate) header: Option<&'a Header>,
    /// What is not shown in detail.
    pub(crate) others: Others,
    /// Why nothing moves.
    pub(crate) trouble: Option<&'a str>,
}

/// Columns that both tables end with.
const FIGURES: [Column; 5] = [
    ("↓ NOW", Align::Right, 16),
    ("↑ NOW", Align::Right, 16),
    ("↓ TOTAL", Align::Right, 16),
    ("↑ TOTAL", Align::Right, 16),
    ("FLOWS", Align::Right, 16),
];

/// At most `height` lines of at most `width` cells.
pub(crate) fn lines(
    heading: &Heading<'_>,
    summary: &Summary,
    width: Option<usize>,
    height: usize,
) -> Vec<String> {
    let mut lines = head(heading, summary);
    lines.push(String::new());
    // Two table heads and the line between them.
    let rows = height.saturating_sub(lines.len() + 3);
    let for_hosts = (rows / 3).max(rows.saturating_sub(summary.processes.len())).min(summary.hosts.len());
    lines.extend(processes(summary, rows - for_hosts).lines(width));
    lines.push(String::new());
    lines.extend(hosts(summary, for_hosts).lines(width));
    lines.truncate(height);
    match width {
        Some(width) => lines.iter().map(|line| clip(line, width).into_owned()).collect(),
        None => lines,
    }
}

fn head(heading: &Heading<'_>, s: &Summary) -> Vec<String> {
    let helper = match heading.header {
        Some(Header { version, mode: Mode::Full, .. }) => format!("sekhmet {version}"),
        Some(Header { version, mode: Mode::Reduced, .. }) => {
            format!("sekhmet {version}, reduced view: short events may be missed")
        }
        None => "sekhmet, waiting for the helper".into(),
    };
    let mut lines = vec![
        helper,
        format!(
            "now ↓ {} ↑ {}   total ↓ {} ↑ {}   {} processes run   {} open flows",
            rate(s.rate.rx),
            rate(s.rate.tx),
            bytes(s.total.rx),
            bytes(s.total.tx),
            count(s.running as u64),
            count(s.open_flows as u64)
        ),
    ];
    let o = heading.others;
    if o.processes > 0 {
        lines.push(format!(
            "others: {} processes, {} open flows, total ↓ {} ↑ {}",
            count(o.processes),
            count(o.open_flows),
            bytes(o.rx_bytes),
            bytes(o.tx_bytes)
        ));
    }
    lines.extend(heading.trouble.map(|trouble| format!("! {trouble}")));
    lines
}

fn processes(s: &Summary, rows: usize) -> Table {
    let mut columns =
        vec![("PID", Align::Right, 10), ("PROCESS", Align::Left, 28), ("USER", Align::Left, 12)];
    columns.extend(FIGURES);
    let mut table = Table::new(&columns);
    for p in s.processes.iter().take(rows) {
        let words = [p.pid.to_string(), p.name.shown(), p.user.clone()];
        table.row(words.into_iter().chain([
            rate(p.rate.rx),
            rate(p.rate.tx),
            bytes(p.total.rx),
            bytes(p.total.tx),
            count(p.open_flows as u64),
        ]));
    }
    table
}

fn hosts(s: &Summary, rows: usize) -> Table {
    let mut columns = vec![("REMOTE HOST", Align::Left, 54)];
    columns.extend(FIGURES);
    let mut table = Table::new(&columns);
    for h in s.hosts.iter().take(rows) {
        let host = h.name.as_ref().map_or_else(|| h.addr.to_string(), Text::shown);
        table.row([
            host,
            rate(h.rate.rx),
            rate(h.rate.tx),
            bytes(h.total.rx),
            bytes(h.total.tx),
            count(h.open_flows as u64),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use sekhmet_common::{process::ProcessId, time::Timestamp};
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::top::rates::{HostRow, Pair, ProcessRow};

    fn summary(processes: usize, hosts: usize) -> Summary {
        let process = ProcessRow {
            id: ProcessId(1),
            pid: 7,
            name: "漢字-with-a-long-tail-that-is-cut-somewhere".into(),
            user: "ada".into(),
            rate: Pair { rx: 2_410_000.0, tx: 0.0 },
            total: Pair { rx: 1, tx: 999_500 },
            open_flows: 3,
        };
        let host = HostRow {
            addr: "2001:db8::1".parse().unwrap(),
            name: Some("\u{1b}[2J".into()),
            rate: Pair::default(),
            total: Pair::default(),
            open_flows: 0,
        };
        Summary { processes: vec![process; processes], hosts: vec![host; hosts], ..Summary::default() }
    }

    #[test]
    fn fits_every_terminal() {
        let header = Header { version: "1".into(), watching_since: Timestamp(1), mode: Mode::Reduced };
        let heading = Heading {
            header: Some(&header),
            others: Others::default(),
            trouble: Some("the helper does not run"),
        };
        for (width, height) in (0..90).step_by(7).flat_map(|w| (0..50).map(move |h| (w, h))) {
            for (processes, hosts) in [(0, 0), (2, 3), (100, 100)] {
                let lines = lines(&heading, &summary(processes, hosts), Some(width), height);
                assert!(lines.len() <= height, "{} lines of {height}", lines.len());
                assert!(lines.iter().all(|l| l.width() <= width && !l.contains('\x1b')), "{lines:?}");
            }
        }
    }

    #[test]
    fn processes_take_two_thirds_and_what_hosts_leave() {
        let heading = Heading { header: None, others: Others::default(), trouble: None };
        let count = |p, h| {
            let lines = lines(&heading, &summary(p, h), None, 36);
            let hosts = lines.iter().position(|line| line.starts_with("REMOTE")).unwrap();
            (hosts - 5, lines.len() - hosts - 1)
        };
        assert_eq!([count(100, 100), count(4, 100), count(100, 3)], [(20, 10), (4, 26), (27, 3)]);
        assert!(lines(&heading, &summary(1, 0), None, 36)[4].contains("2.41 MB/s      –"));
    }
}
