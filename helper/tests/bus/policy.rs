//! The bus policy file in a bus that obeys it.

use sekhmet_common::bus::{PATH, SERVICE};
use sekhmet_helper::bus::actions::Operation;
use sekhmet_testkit::bus::TestBus;
use zbus::{Message, fdo::RequestNameFlags};

use crate::stage::reply_to;

/// What a system bus allows when no service says anything (`system.conf` of dbus 1.14).
const BASE: &str = "<policy context=\"default\"><allow user=\"*\"/><deny own=\"*\"/><deny send_type=\"method_call\"/>\
    <allow send_type=\"signal\"/><allow send_requested_reply=\"true\" send_type=\"method_return\"/>\
    <allow send_requested_reply=\"true\" send_type=\"error\"/><allow receive_type=\"method_call\"/>\
    <allow receive_type=\"method_return\"/><allow receive_type=\"error\"/><allow receive_type=\"signal\"/>\
    <allow send_destination=\"org.freedesktop.DBus\"/></policy>";

const FILE: &str = include_str!("../../../dbus/org.sekhmet.Helper1.conf");
/// `sys`, who stands in for `sekhmet`: `dbus-daemon` knows only users that exist.
const HELPER_UID: u32 = 3;
const DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";

fn bus() -> TestBus {
    let ours = FILE.split("<busconfig>").nth(1).unwrap().split("</busconfig>").next().unwrap();
    assert!(ours.contains("<policy user=\"sekhmet\">"));
    TestBus::with_policy(&format!("{BASE}{}", ours.replace("user=\"sekhmet\"", "user=\"sys\""))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_helpers_user_may_own_the_name() {
    let bus = bus();
    for (uid, may) in [(0, false), (1, false), (65534, false), (HELPER_UID, true)] {
        let caller = bus.connect_as(uid).await.unwrap();
        let owned = caller.request_name_with_flags(SERVICE, RequestNameFlags::DO_NOT_QUEUE).await;
        assert_eq!(owned.is_ok(), may, "uid {uid}: {owned:?}");
        if may {
            assert!(caller.request_name("org.sekhmet.Helper2").await.is_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_call_the_named_interfaces_and_no_others() {
    let bus = bus();
    let helper = bus.connect_as(HELPER_UID).await.unwrap();
    helper.request_name(SERVICE).await.unwrap();
    // An object server answers "unknown" to what passes.
    helper.object_server();
    let call = |interface: &'static str| {
        Message::method_call(PATH, "X").destination(SERVICE).interface(interface).build(&()).unwrap()
    };
    let standard =
        ["Properties", "Introspectable", "Peer"].map(|name| format!("org.freedesktop.DBus.{name}"));
    for uid in [0, 1, 65534] {
        let caller = bus.connect_as(uid).await.unwrap();
        for interface in Operation::ALL.map(|o| o.row().interface.to_owned()).iter().chain(&standard) {
            let message = Message::method_call(PATH, "X").destination(SERVICE).interface(interface.as_str());
            let name = reply_to(&caller, message.build(&()).unwrap()).await.unwrap_err();
            assert_ne!(name, DENIED, "{interface}");
        }
        for interface in
            ["org.sekhmet.Helper1.Debug", "org.sekhmet.Helper1", "org.freedesktop.DBus.ObjectManager"]
        {
            assert_eq!(reply_to(&caller, call(interface)).await.unwrap_err(), DENIED, "{interface}");
        }
    }
}

#[test]
fn the_file_names_a_destination_in_every_line_and_no_star() {
    let rules: Vec<&str> = FILE.lines().filter(|l| l.contains("send_")).collect();
    assert_eq!(rules.len(), 6);
    for rule in rules {
        assert!(
            rule.contains("send_destination=\"org.sekhmet.Helper1\"") && rule.contains("send_interface="),
            "{rule}"
        );
    }
    for forbidden in ["\"*\"", "<deny", "at_console", "user=\"root\""] {
        assert!(!FILE.contains(forbidden), "{forbidden}");
    }
}
