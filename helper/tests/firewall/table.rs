//! The table itself: made, seen, released, and put back.

use std::time::{Duration, Instant};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use sekhmet_helper::firewall::{Firewall, NftFirewall, Refusals, Shape, State, Watch};

use crate::place::{own_namespace, run, try_run};

/// Without an owner, as on kernels before 5.12.
const SHARED: Shape = Shape::ALL[4];

/// How long to wait for a change that does not come.
const PATIENCE: Duration = Duration::from_millis(200);

#[test]
fn the_table_is_made_found_intact_and_released() {
    if !own_namespace() {
        return;
    }
    let mut firewall = NftFirewall::open().unwrap();
    assert_eq!(firewall.check().unwrap(), State::Missing);
    assert_eq!(firewall.install().unwrap(), Shape::ALL[0]);
    assert_eq!(firewall.check().unwrap(), State::Intact);
    assert!(run(&["nft", "list", "tables"]).contains("table inet sekhmet"));
    assert_eq!(firewall.install().unwrap(), Shape::ALL[0], "again, in the old one's place");
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
    firewall.install_as(SHARED).unwrap();
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
        firewall.install_as(SHARED).unwrap();
        assert_eq!(firewall.check().unwrap(), State::Intact);
        until_quiet(&mut watch);
    }
    run(&["nft", "add table ip other"]);
    assert!(!watch.wait().unwrap(), "other tables do not wake anybody");
    assert_eq!(firewall.install().unwrap(), Shape::ALL[0], "the leftover of an old kernel is taken over");
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
    let mut firewall = NftFirewall::open().unwrap();
    let mut watch = Watch::open(PATIENCE).unwrap();
    for round in 0..10 {
        firewall.install_as(SHARED).unwrap();
        until_quiet(&mut watch);
        run(&["nft", "delete table inet sekhmet"]);
        let began = Instant::now();
        assert!(watch.wait().unwrap(), "{round}");
        assert_eq!(firewall.check().unwrap(), State::Missing);
        firewall.install_as(SHARED).unwrap();
        assert!(run(&["nft", "list tables"]).contains("sekhmet"));
        assert!(began.elapsed() < Duration::from_secs(1), "{round}: {:?}", began.elapsed());
    }
}

#[test]
fn every_shape_can_be_made() {
    if !own_namespace() {
        return;
    }
    for shape in Shape::ALL {
        let mut firewall = NftFirewall::open().unwrap();
        firewall.install_as(shape).unwrap();
        assert_eq!(firewall.check().unwrap(), State::Intact, "{shape:?}");
        assert!(firewall.counters().unwrap().by_rule.is_empty());
        firewall.release().unwrap();
    }
}

#[test]
fn the_right_to_administer_the_network_is_enough() {
    if !own_namespace() {
        return;
    }
    // The helper's other three have nothing to do with the firewall.
    let only = CapabilitySet::NET_ADMIN;
    set_capabilities(None, CapabilitySets { effective: only, permitted: only, inheritable: only }).unwrap();
    let mut firewall = NftFirewall::open().unwrap();
    assert_eq!(firewall.install().unwrap(), Shape::ALL[0]);
    assert_eq!(firewall.check().unwrap(), State::Intact);
    let _watch = Watch::open(PATIENCE).unwrap();
    let _refusals = Refusals::open().unwrap();
    firewall.release().unwrap();

    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
    assert!(firewall.install().is_err());
    assert!(Refusals::open().is_err());
}
