//! Other programs' tables: ours stands beside them, and theirs stay as they are, byte by byte.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use sekhmet_helper::firewall::{Firewall, NftFirewall, Shape, State};

use crate::{
    marked::{SOON, addr, echo_server, echoes, send_refused, tcp_connect, udp},
    place::{THERE, bits, own_namespace, run, scene, try_run},
};

/// firewalld since 2.0 owns its table; this is one in its manner.
const FIREWALLD: &str = "\
table inet firewalld {
	flags owner
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		iifname \"lo\" accept
	}
	chain filter_OUTPUT {
		type filter hook output priority filter + 10; policy accept;
		ct state { established, related } accept
	}
}
";

/// Docker's and wg-quick's, through iptables-nft and nft.
const OTHERS: &str = "\
table ip nat {
	chain DOCKER {
		iifname \"docker0\" counter return
	}
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 172.17.0.0/16 oifname != \"docker0\" counter masquerade
	}
	chain OUTPUT {
		type nat hook output priority -100; policy accept;
		ip daddr != 127.0.0.0/8 fib daddr type local counter jump DOCKER
	}
}
table ip6 wg-quick-wg0 {
	chain postmangle {
		type filter hook postrouting priority mangle; policy accept;
		meta l4proto udp meta mark 0x0000ca6c ct mark set meta mark
	}
	chain premangle {
		type filter hook prerouting priority mangle; policy accept;
		meta l4proto udp meta mark set ct mark
	}
}
table inet mangle {
	counter tunnel {
	}
	chain output {
		type route hook output priority mangle; policy accept;
		meta mark 0x0000ca6c counter name tunnel
	}
}
";

/// An interactive nft that owns its table for as long as it lives.
struct Nft(Child, ChildStdin);

impl Nft {
    fn start(text: &str) -> Self {
        let mut child =
            Command::new("nft").arg("-i").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        writeln!(input, "include \"{}\"\nlist tables", file.path().display()).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines.map(Result::unwrap).any(|line| line.contains("table inet firewalld"));
        assert!(seen, "nft has loaded its table");
        Self(child, input)
    }
}

impl Drop for Nft {
    fn drop(&mut self) {
        let _gone = writeln!(self.1, "quit");
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Everything but our table, as JSON with handles.
fn theirs() -> Vec<String> {
    let tables = run(&["nft", "list", "tables"]);
    let mut listings = Vec::new();
    for table in tables.lines().filter(|table| !table.contains("sekhmet")) {
        let mut command = vec!["nft", "-j", "-a", "list"];
        command.extend(table.split_whitespace());
        listings.push(run(&command));
    }
    listings
}

#[test]
fn their_tables_stay_byte_identical() {
    if !own_namespace() {
        return;
    }
    let _firewalld = Nft::start(FIREWALLD);
    let (loaded, _, error) = try_run(&["nft", "-f", "-"], OTHERS);
    assert!(loaded, "{error}");
    let before = theirs();
    assert_eq!(before.len(), 4);
    let mut firewall = NftFirewall::open().unwrap();
    assert_eq!(firewall.install().unwrap(), Shape::ALL[0]);
    assert_eq!(theirs(), before);
    firewall.install().unwrap();
    firewall.counters().unwrap();
    firewall.check().unwrap();
    assert_eq!(theirs(), before);
    firewall.release().unwrap();
    assert_eq!(theirs(), before);
    assert!(!run(&["nft", "list", "tables"]).contains("sekhmet"));
}

#[test]
fn marks_of_others_pass_and_are_seen_by_their_rules() {
    let Some((peer, mut firewall)) = scene() else { return };
    let (loaded, _, error) = try_run(&["nft", "-f", "-"], OTHERS);
    assert!(loaded, "{error}");
    peer.run(|| echo_server(addr(THERE[0], 4001)));
    udp(0xca6c, false, 0).send_to(b"tunnel", addr(THERE[0], 4002)).unwrap();
    udp(0xca6c, true, 0).send_to(b"tunnel", addr(THERE[1], 4002)).unwrap();
    send_refused(&udp(bits(0), false, 0), b"no", addr(THERE[0], 4002));
    assert!(echoes(&mut tcp_connect(0x6d6f_6c65, addr(THERE[0], 4001), SOON).unwrap()));
    assert!(run(&["nft", "list counter inet mangle tunnel"]).contains("packets 2 "));
    assert_eq!(firewall.counters().unwrap().by_rule[&1].packets, 1);
    // A restart of the distribution's firewall.
    let (loaded, _, error) = try_run(&["nft", "-f", "-"], &format!("flush ruleset\n{OTHERS}"));
    assert!(loaded, "{error}");
    assert_eq!(firewall.check().unwrap(), State::Intact);
    send_refused(&udp(bits(0), false, 0), b"no", addr(THERE[0], 4002));
}

#[test]
fn nothing_that_happens_adds_text_to_the_table() {
    let Some((_peer, mut firewall)) = scene() else { return };
    let text = run(&["nft", "-t", "list", "ruleset"]);
    for rule in (1..=0xf_ffff_u32).step_by(1049) {
        let mark = sekhmet_common::kernel::mark::Mark::refused(rule, 0).unwrap();
        send_refused(&udp(mark.bits(), false, 0), b"no", addr(THERE[0], 4003));
    }
    assert_eq!(firewall.counters().unwrap().by_rule.len(), 1000);
    let counted = |text: &str| {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("packets"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(counted(&run(&["nft", "-t", "list", "ruleset"])), counted(&text));
    assert_eq!(firewall.check().unwrap(), State::Intact);
}

#[test]
fn changes_of_others_at_the_same_time_do_no_harm() {
    if !own_namespace() {
        return;
    }
    let mut firewall = NftFirewall::open().unwrap();
    let mut busy = Command::new("sh")
        .args(["-c", "while nft add table ip busy && nft flush ruleset; do :; done"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for round in 0..100 {
        assert_eq!(firewall.install().unwrap(), Shape::ALL[0], "{round}");
        assert_eq!(firewall.check().unwrap(), State::Intact, "{round}");
        assert!(firewall.counters().unwrap().by_rule.is_empty());
    }
    thread::sleep(Duration::from_millis(50));
    assert!(busy.try_wait().unwrap().is_none(), "the others were busy all the time");
    busy.kill().unwrap();
    busy.wait().unwrap();
    assert_eq!(firewall.check().unwrap(), State::Intact);
}
