//! The constant text of the table: it acts on marks, and nothing in it depends on rules, programs or people.
//!
//! Grammar: nft 1.0.6 wants a newline before every `}`. Every verdict here holds for this table only: others
//! still see what it accepts, and cannot bring back what it refuses.

use super::{Hold, Shape};

/// Family and name of the table.
pub(super) const TABLE: &str = "sekhmet";

/// The netlink log group (nfnetlink_log) to which refused packets go.
pub(super) const LOG_GROUP: u16 = 74;

/// The commands that make the table; after `delete`, in one transaction with the end of a former one.
pub(super) fn commands(flags: &str, shape: Shape, delete: bool) -> String {
    let first = if delete { "delete table inet sekhmet\n" } else { "" };
    let inbound = if shape.inbound { INBOUND } else { "" };
    let body = format!("{BODY}{inbound}");
    let body = if shape.logs { body } else { body.replace(LOG, "") };
    format!("{first}table inet sekhmet {{\n{flags}\tchain {} {{\n\t}}\n{body}}}\n", layout())
}

/// What stands before the first chain, the best first; each is tried.
///
/// An owner (Linux 5.12, nftables 0.9.9) keeps every other process from changing or flushing the table.
/// `persist` (Linux 6.9, nftables 1.1) also keeps it when the owner is gone.
pub(super) fn flags(hold: Hold) -> &'static [&'static str] {
    match hold {
        Hold::Owned => &["\tflags owner, persist\n", "\tflags owner\n"],
        Hold::Shared => &[""],
    }
}

/// Name of an empty chain that tells which text the table was made from, for whoever finds it later.
pub(super) fn layout() -> String {
    // FNV-1a: it only has to differ between versions.
    let hash = BODY.bytes().chain(INBOUND.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("layout_{hash:016x}")
}

/// What needs nfnetlink_log.
const LOG: &str = " log group 74";

/// Everything within the table. The bits are those of `sekhmet_common::kernel::mark`:
/// 0xff000000 kind (0x5e refused), 0x00800000 also on this machine, 0x00400000 silently,
/// 0x00200000 inbound is free, 0x00100000 outbound is free.
///
/// * −160 comes after connection tracking (−200), before anybody's mangle (−150) and filter (0).
/// * `hits` counts every refusal for each mark exactly; the log has a budget for each mark, so that one
///   program in a loop neither costs much nor hides another. A full set breaks its own line only.
/// * A rule for one direction refuses what *begins* in that direction. For TCP that is a first SYN. For UDP
///   the partners of the last two minutes are remembered, so that answers pass; connection tracking would
///   do that too, but would have to be switched on for the whole machine.
/// * Loopback is free unless the mark says otherwise, but for port 53: the resolver there carries questions
///   outside. DHCP clients (RFC 2131, RFC 8415) and neighbour discovery (RFC 4861) are never refused.
/// * A reset without content goes out, so that the peer of a connection that was destroyed does not wait
///   for ever. The length is that of the headers with a timestamp.
/// * What our own refusal answers (resets and ICMP errors, over lo) must reach the program: without the
///   first lines of `inbound` it would wait for a timeout.
const BODY: &str = "\
	counter outbound_rejected {
	}
	counter outbound_dropped {
	}
	counter inbound_rejected {
	}
	counter inbound_dropped {
	}
	set hits {
		type mark
		size 16384
		flags dynamic
		counter
	}
	set pace {
		type mark
		size 16384
		flags dynamic,timeout
		timeout 1m
	}
	set asked4 {
		type ipv4_addr . inet_service . inet_service
		size 16384
		flags dynamic,timeout
		timeout 2m
	}
	set asked6 {
		type ipv6_addr . inet_service . inet_service
		size 16384
		flags dynamic,timeout
		timeout 2m
	}
	set asking4 {
		type ipv4_addr . inet_service . inet_service
		size 16384
		flags dynamic,timeout
		timeout 2m
	}
	set asking6 {
		type ipv6_addr . inet_service . inet_service
		size 16384
		flags dynamic,timeout
		timeout 2m
	}
	chain note {
		update @hits { meta mark }
		update @pace { meta mark limit rate 100/second burst 200 packets } log group 74
	}
	chain out {
		type filter hook output priority -160; policy accept;
		meta mark & 0xff000000 == 0x5e000000 goto outbound
	}
	chain outbound {
		oif lo meta mark & 0x00800000 == 0 meta l4proto { tcp, udp } th dport != 53 accept
		oif lo meta mark & 0x00800000 == 0 meta l4proto != { tcp, udp } accept
		udp sport 68 udp dport 67 accept
		udp sport 546 udp dport 547 accept
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		meta mark & 0x00100000 != 0 goto outbound_begins
		meta mark & 0x00200000 != 0 jump outbound_answers
		meta mark & 0x00400000 != 0 goto outbound_drops
		meta nfproto ipv4 tcp flags & (syn | rst) == rst meta length <= 52 accept
		meta nfproto ipv6 tcp flags & (syn | rst) == rst meta length <= 72 accept
		jump note
		counter name outbound_rejected
		meta l4proto tcp reject with tcp reset
		reject with icmpx admin-prohibited
	}
	chain outbound_drops {
		jump note
		counter name outbound_dropped drop
	}
	chain outbound_begins {
		update @asked4 { ip daddr . udp dport . udp sport }
		update @asked6 { ip6 daddr . udp dport . udp sport }
		accept
	}
	chain outbound_answers {
		tcp flags & (syn | ack) != syn accept
		ip daddr . udp dport . udp sport @asking4 accept
		ip6 daddr . udp dport . udp sport @asking6 accept
	}
";

/// The part that needs nft_socket (Linux 4.18). ICMP and ICMPv6 are numbers here: the latter's name is looked up in
/// protocols(5), which small systems do not have, and without it nothing inbound would be refused by the table.
const INBOUND: &str = "\
	chain in {
		type filter hook input priority -160; policy accept;
		socket mark & 0xff000000 == 0x5e000000 goto inbound
	}
	chain inbound {
		iif lo tcp flags & rst == rst accept
		iif lo icmp type destination-unreachable accept
		iif lo icmpv6 type destination-unreachable accept
		iif lo socket mark & 0x00800000 == 0 accept
		udp sport 67 udp dport 68 accept
		udp sport 547 udp dport 546 accept
		socket mark & 0x00200000 != 0 goto inbound_begins
		socket mark & 0x00100000 != 0 jump inbound_answers
		meta mark set socket mark
		jump note
		meta mark & 0x00400000 != 0 counter name inbound_dropped drop
		counter name inbound_rejected
		meta l4proto tcp reject with tcp reset
		reject with icmpx admin-prohibited
	}
	chain inbound_begins {
		update @asking4 { ip saddr . udp sport . udp dport }
		update @asking6 { ip6 saddr . udp sport . udp dport }
		accept
	}
	chain inbound_answers {
		tcp flags & (syn | ack) != syn accept
		ip saddr . udp sport . udp dport @asked4 accept
		ip6 saddr . udp sport . udp dport @asked6 accept
		meta l4proto { 1, 58 } accept
	}
";

#[cfg(test)]
mod tests {
    use sekhmet_common::kernel::mark;

    use super::*;

    #[test]
    fn the_bits_in_the_text_are_those_of_the_mark() {
        let text = [BODY, INBOUND].concat();
        for (bits, times) in [
            (mark::LOCAL_TOO, 3),
            (mark::SILENT, 2),
            (mark::INBOUND_FREE, 2),
            (mark::OUTBOUND_FREE, 2),
            (mark::KIND_MASK, 2),
            (mark::REFUSED, 2),
        ] {
            assert_eq!(text.matches(&format!("{bits:#010x}")).count(), times, "{bits:#010x}");
        }
        assert_eq!(text.matches("0x").count(), 13, "no other bits");
        assert!(LOG.ends_with(&LOG_GROUP.to_string()) && BODY.matches(LOG).count() == 1);
        assert!(commands("", Shape::ALL[0], false).contains(&format!("table inet {TABLE} {{")));
    }

    #[test]
    fn the_text_keeps_to_the_grammar_of_old_versions() {
        for shape in Shape::ALL {
            for flags in flags(shape.hold) {
                let text = commands(flags, shape, true);
                for line in text.lines().filter(|line| line.trim_start().starts_with('}')) {
                    assert_eq!(line.trim(), "}");
                }
                // Braces that open a block end their line; those of a set close on it.
                let opened = text.lines().filter(|line| line.ends_with('{')).count();
                assert_eq!(opened, text.lines().filter(|line| line.trim() == "}").count());
                assert!(text.is_ascii());
                assert_eq!(text.contains("log group"), shape.logs);
                assert_eq!(text.contains("socket mark"), shape.inbound);
            }
        }
    }
}
