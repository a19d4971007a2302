//! The table itself: made, seen, released, and put back.

use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use sekhmet_helper::firewall::{
    Counters, Error, Firewall, Hold, NftFirewall, Order, Report, State, Watch, keep,
};

use crate::place::{own_namespace, run, try_run};

/// How long to wait for a change that does not come.
const PATIENCE: Duration = Duration::from_millis(200);

#[test]
fn the_table_is_made_found_intact_and_released() {
    if !own_namespace() {
        return;
    }
    let mut firewall = NftFirewall::open().unwrap();
    assert_eq!(firewall.check().unwrap(), State::Missing);
    assert_eq!(firewall.install().unwrap(), Hold::Owned);
    assert_eq!(firewall.check().unwrap(), State::Intact);
    assert!(run(&["nft", "list", "tables"]).contains("table inet sekhmet"));
    assert_eq!(firewall.install().unwrap(), Hold::Owned, "again, in the old one's place");
    assert_eq!(firewall.check().unwrap(), State::Intact);
    assert!(firewall.counters().unwrap().by_rule.is_empty());
    firewall.release().unwrap();
    assert_eq!(firewall.check().unwrap(), State::Missing);
    assert_eq!(run(&["nft", "list", "ruleset"]), "");
    firewall.release().unwrap();
}

#[test]
fn others_cannot_remove_it() {
    if !own_namespace() {
        return;
    }
    let mut firewall = NftFirewall::open().unwrap();
    firewall.install().unwrap();
    for attempt in ["delete table inet sekhmet", "flush chain inet sekhmet out", "add chain inet sekhmet x"] {
        let (succeeded, _, error) = try_run(&["nft", attempt], "");
        assert!(!succeeded && error.contains("Operation not permitted"), "{attempt}: {error}");
    }
    run(&["nft", "flush", "ruleset"]);
    assert_eq!(firewall.check().unwrap(), State::Intact);
}

#[test]
fn a_table_without_owner_is_watched_and_put_back() {
    if !own_namespace() {
        return;
    }
    let mut firewall = NftFirewall::open().unwrap();
    assert_eq!(firewall.install_shared().unwrap(), Hold::Shared);
    assert_eq!(firewall.check().unwrap(), State::Intact);
    let mut watch = Watch::open(PATIENCE).unwrap();
    for (doing, became) in [
        ("delete table inet sekhmet", State::Missing),
        ("flush ruleset", State::Missing),
        ("flush chain inet sekhmet outbound", State::Changed),
        ("insert rule inet sekhmet out accept", State::Changed),
        ("add table inet sekhmet { flags dormant; }", State::Changed),
    ] {
        run(&["nft", doing]);
        assert!(watch.wait().unwrap(), "{doing}");
        assert_eq!(firewall.check().unwrap(), became, "{doing}");
        assert_eq!(firewall.install_shared().unwrap(), Hold::Shared);
        assert_eq!(firewall.check().unwrap(), State::Intact);
        until_quiet(&mut watch);
    }
    run(&["nft", "add table ip other"]);
    assert!(!watch.wait().unwrap(), "other tables do not wake anybody");
    assert_eq!(firewall.install().unwrap(), Hold::Owned, "the leftover of an old kernel is taken over");
}

/// Reads what our own changes told.
fn until_quiet(watch: &mut Watch) {
    let mut began = Instant::now();
    while watch.wait().unwrap() || began.elapsed() < PATIENCE {
        began = Instant::now();
    }
}

#[test]
fn a_table_that_was_removed_is_back_within_a_second() {
    if !own_namespace() {
        return;
    }
    let (order, orders) = bounded(1);
    let (reports, heard) = bounded(64);
    let shared = Box::new(Shared(NftFirewall::open().unwrap()));
    let keeper = keep(shared, false, true, orders, reports).unwrap();
    order.send(Order::Install).unwrap();
    assert!(matches!(heard.recv().unwrap(), Report::Installed(Hold::Shared)));
    for round in 1..=10 {
        run(&["nft", "delete table inet sekhmet"]);
        let began = Instant::now();
        let report = heard.recv_timeout(Duration::from_secs(1)).unwrap();
        assert!(matches!(report, Report::PutBack { was: State::Missing, times, .. } if times == round));
        assert!(run(&["nft", "list tables"]).contains("sekhmet"), "{:?}", began.elapsed());
    }
    assert!(keeper.is_running());
    drop(keeper);
    assert!(heard.try_recv().is_err(), "our own changes are nothing to mend");
}

/// The firewall as it is on a kernel before 5.12.
struct Shared(NftFirewall);

impl Firewall for Shared {
    fn install(&mut self) -> Result<Hold, Error> {
        self.0.install_shared()
    }

    fn check(&mut self) -> Result<State, Error> {
        self.0.check()
    }

    fn release(&mut self) -> Result<(), Error> {
        self.0.release()
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        self.0.counters()
    }
}
