//! Flows over TCP and UDP, IPv4 and IPv6, loopback and a second host, and how they end.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use sekhmet_testkit::{
    namespace::Peer,
    traffic::{Ending, Plan, Transport, Truth},
};
use serde_json::Value;

use crate::{
    checker::{Checker, expect, has_argument, until_ok},
    dice::Dice,
    pair::Pair,
    report::Report,
};

pub(crate) fn flows(checker: &Checker, rounds: u32, report: &mut Report) -> Result<()> {
    let peer = Peer::create().context("a second host (root and iproute2 are needed)")?;
    let mut dice = Dice::new();
    writeln!(std::io::stdout(), "# seed {:#x}", dice.0)?;
    for round in 0..rounds {
        for v6 in [false, true] {
            for far in [false, true] {
                for (transport, ending) in [
                    (Transport::Tcp, Ending::Hold),
                    (Transport::Tcp, Ending::Close),
                    (Transport::Tcp, Ending::Reset),
                    (Transport::Udp, Ending::Close),
                    (Transport::Udp, Ending::Hold),
                ] {
                    one_pair(checker, &peer, &mut dice, (round, v6, far, transport, ending), report)?;
                }
            }
        }
        refused(checker, &mut dice, round, report)?;
    }
    Ok(())
}

fn one_pair(
    checker: &Checker,
    peer: &Peer,
    dice: &mut Dice,
    (round, v6, far, transport, ending): (u32, bool, bool, Transport, Ending),
    report: &mut Report,
) -> Result<()> {
    let token = format!("ka-{:x}-{round}", dice.below(usize::MAX));
    let (up, down) = match transport {
        Transport::Tcp => {
            let (writes, answers) = (1 + dice.below(6), dice.below(6));
            (dice.sizes(writes, 400_000), dice.sizes(answers, 400_000))
        }
        Transport::Udp => {
            // Some datagrams are larger than the path's packets and travel in fragments.
            let datagrams = 1 + dice.below(40);
            (dice.sizes(datagrams, 8_000), dice.sizes(datagrams, 8_000))
        }
    };
    let plan = Plan { token, transport, up, down, ending };
    let address = match (far, v6) {
        (true, _) => peer.address(v6)?,
        (false, true) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (false, false) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let name = format!(
        "round {round}: {transport:?} over IPv{} {}, {ending:?}",
        if v6 { 6 } else { 4 },
        if far { "to another host" } else { "on loopback" }
    );
    let pair = Pair::run(&plan, SocketAddr::new(address, 0), far.then_some(peer))?;
    let truths = pair.truths.clone();
    if ending == Ending::Hold {
        report.check(&name, checker.eventually(&truths, "open", None));
        pair.release()?;
    } else {
        pair.release()?;
        let reason = if ending == Ending::Reset { "reset" } else { "closed" };
        report.check(&name, checker.eventually(&truths, "closed", Some(reason)));
    }
    Ok(())
}

/// A connection to a port where nobody listens is listed as refused, with no bytes.
fn refused(checker: &Checker, dice: &mut Dice, round: u32, report: &mut Report) -> Result<()> {
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let token = format!("ka-refused-{:x}", dice.below(usize::MAX));
    let status = Command::new(std::env::current_exe()?)
        .args(["blip", &free.to_string(), "1", &token])
        .stderr(Stdio::null())
        .status()?;
    ensure!(!status.success(), "somebody listens on {free}");
    let check = || {
        let found = checker.list("flows")?;
        let mine: Vec<&Value> = found.iter().filter(|f| has_argument(&f["process"], &token)).collect();
        match mine.as_slice() {
            [f] => {
                expect(f, "state", "closed")?;
                expect(f, "end_reason", "refused")?;
                (f["tx_bytes"] == 0 && f["rx_bytes"] == 0).then_some(()).ok_or_else(|| format!("bytes: {f}"))
            }
            other => Err(format!("{} flows, expected 1", other.len())),
        }
    };
    report.check(&format!("round {round}: refused connection"), until_ok(check));
    Ok(())
}

/// What polling must still tell: TCP that stays open, with its processes and its bytes.
pub(crate) fn reduced(checker: &Checker, report: &mut Report) -> Result<()> {
    let mode = checker.list("status").map(|status| status.iter().any(|s| s["mode"] == "reduced"));
    report.check(
        "the view says that it is reduced",
        match mode {
            Ok(true) => Ok(()),
            Ok(false) => Err("it says something else".to_owned()),
            Err(why) => Err(why),
        },
    );
    let mut dice = Dice::new();
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let token = format!("ka-reduced-{:x}", dice.below(usize::MAX));
        let (up, down) = (dice.sizes(5, 200_000), dice.sizes(3, 200_000));
        let plan = Plan { token, transport: Transport::Tcp, up, down, ending: Ending::Hold };
        let pair = Pair::run(&plan, SocketAddr::new(address, 0), None)?;
        // The server's listener is gone before a poll can see it: who spoke first is then not to be known.
        let truths = pair.truths.clone().map(|t| Truth { direction: String::new(), ..t });
        report.check(&format!("TCP over {address}, held"), checker.eventually(&truths, "open", None));
        pair.release()?;
        report.check(&format!("TCP over {address}, ended"), checker.eventually(&truths, "closed", None));
    }
    Ok(())
}
