//! The table itself: made, seen, released, and put back.

use sekhmet_helper::firewall::{Firewall, Hold, NftFirewall, State};

use crate::place::{own_namespace, run, try_run};

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
