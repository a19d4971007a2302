//! Calls that should not be made.

use std::{collections::HashMap, time::Instant};

use sekhmet_common::bus::{
    OPTION_LIFETIME, OPTION_PROCESS, OPTION_PROGRAM, OPTION_PROGRAM_OF, PATH, RULES, SERVICE, error,
};
use sekhmet_testkit::polkit::Verdict;
use zbus::{Connection, Message, Variant, message::Flags};

use crate::stage::{MONITOR, Stage, call, open, reply_to};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const QUIET: Flags = Flags::empty();
const STANDARD: &str = "org.freedesktop.DBus.Error.";

async fn refused(caller: &Connection, message: Message) -> String {
    reply_to(caller, message).await.unwrap_err()
}

/// The helper answers, and has asked nobody and let nobody in.
async fn unharmed(stage: &Stage) {
    let other = stage.bus.connect_as(2).await.unwrap();
    let reply = call(&other, PROPERTIES, "Get", QUIET, &(MONITOR, "Version")).await;
    assert!(reply.is_ok(), "{reply:?}");
    assert!(stage.seen.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_refused() {
    let stage = Stage::new().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    for (path, interface, method, expected) in [
        (PATH, MONITOR, "Shutdown", "UnknownMethod"),
        (PATH, "org.sekhmet.Helper1.Rules", "Pause", "UnknownMethod"),
        (PATH, "org.sekhmet.Helper1.Guards", "Enable", "UnknownMethod"),
        (PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "UnknownMethod"),
        ("/", MONITOR, "OpenEventStream", "UnknownObject"),
        ("/org/sekhmet/Helper1/x", MONITOR, "OpenEventStream", "UnknownObject"),
    ] {
        let message =
            Message::method_call(path, method).destination(SERVICE).interface(interface).build(&()).unwrap();
        assert_eq!(
            refused(&caller, message).await,
            format!("{STANDARD}{expected}"),
            "{path} {interface}.{method}"
        );
    }
    for property in ["Processes", "", "version"] {
        let name = call(&caller, PROPERTIES, "Get", QUIET, &(MONITOR, property)).await.unwrap_err();
        assert_eq!(name, format!("{STANDARD}UnknownProperty"));
    }
    assert!(stage.polkit.checks().is_empty());
    unharmed(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_are_refused_before_anybody_is_asked() {
    let stage = Stage::new().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let method = || Message::method_call(PATH, "OpenEventStream").destination(SERVICE).interface(MONITOR);
    let bodies = [
        method().build(&()).unwrap(),
        method().build(&"own").unwrap(),
        method().build(&("own", 0_u32)).unwrap(),
        method().build(&vec![("scope", "own")]).unwrap(),
        method().build(&HashMap::from([("scope", "own")])).unwrap(),
        method().build(&HashMap::from([(1_u32, Variant::from("own"))])).unwrap(),
    ];
    for body in bodies {
        let signature = body.body().signature().to_string();
        assert_eq!(refused(&caller, body).await, format!("{STANDARD}InvalidArgs"), "{signature}");
    }
    for (key, value) in
        [("scope", Variant::from("root")), ("scope", Variant::from(0_u32)), ("uid", Variant::from(0_u32))]
    {
        let options = HashMap::from([(key, value)]);
        let name = call(&caller, MONITOR, "OpenEventStream", QUIET, &options).await.unwrap_err();
        assert_eq!(name, error::INVALID_ARGUMENT, "{key}");
    }
    for method in ["Get", "GetAll"] {
        let name = call(&caller, PROPERTIES, method, QUIET, &7_u32).await.unwrap_err();
        assert_eq!(name, format!("{STANDARD}InvalidArgs"), "{method}");
    }
    assert!(stage.polkit.checks().is_empty());
    unharmed(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_cannot_be_are_refused_before_anybody_is_asked() {
    let stage = Stage::new().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let long = format!("/{}", "x".repeat(4095));
    let paths: [&[u8]; 10] = [
        b"",
        b"/",
        b"curl",
        b"./curl",
        b"/usr/../bin/curl",
        b"/usr//bin/curl",
        b"/usr/bin/curl\0",
        b"/usr/\0/curl",
        b"/usr/bin/",
        long.as_bytes(),
    ];
    let process = || (OPTION_PROCESS, Variant::from(1_u64));
    let lifetime = || (OPTION_LIFETIME, Variant::from("1h"));
    let mut bad: Vec<HashMap<&str, Variant<'_>>> = paths
        .iter()
        .map(|path| HashMap::from([(OPTION_PROGRAM, Variant::from(path.to_vec())), lifetime()]))
        .collect();
    bad.extend([
        HashMap::new(),
        HashMap::from([process()]),
        HashMap::from([lifetime()]),
        HashMap::from([process(), lifetime(), (OPTION_PROGRAM_OF, Variant::from(1_u64))]),
        HashMap::from([process(), lifetime(), ("uid", Variant::from(0_u32))]),
        HashMap::from([process(), lifetime(), ("", Variant::from(""))]),
        HashMap::from([process(), lifetime(), ("Process", Variant::from(1_u64))]),
        HashMap::from([process(), (OPTION_LIFETIME, Variant::from(""))]),
        HashMap::from([process(), (OPTION_LIFETIME, Variant::from("for ever"))]),
        HashMap::from([process(), (OPTION_LIFETIME, Variant::from("99999999999999999999d"))]),
        HashMap::from([process(), (OPTION_LIFETIME, Variant::from("always"))]),
        HashMap::from([process(), lifetime(), ("direction", Variant::from("sideways"))]),
        HashMap::from([process(), lifetime(), ("answer", Variant::from("reject; flush ruleset"))]),
        HashMap::from([process(), lifetime(), ("extent", Variant::from("x".repeat(60_000)))]),
        HashMap::from([lifetime(), (OPTION_PROGRAM, Variant::from(vec![b'/'; 60_000]))]),
        HashMap::from([lifetime(), (OPTION_PROGRAM, Variant::from(vec![b'/'; 10_000_000]))]),
        HashMap::from([lifetime(), (OPTION_PROCESS, Variant::from(vec![1_u64; 7_000]))]),
    ]);
    for options in bad {
        let keys: Vec<&str> = options.keys().copied().collect();
        let name = call(&caller, RULES, "Add", QUIET, &options).await.unwrap_err();
        assert_eq!(name, error::INVALID_ARGUMENT, "{keys:?}");
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    // More options than there are.
    let names: Vec<String> = (0..2_000).map(|n| format!("option-{n}")).collect();
    let many: HashMap<&str, Variant<'_>> = names.iter().map(|n| (n.as_str(), Variant::from(1_u8))).collect();
    let name = call(&caller, RULES, "Add", QUIET, &many).await.unwrap_err();
    assert_eq!(name, error::INVALID_ARGUMENT);
    for id in [0, 0x10_0000, u64::from(u32::MAX) + 2, u64::MAX] {
        let name = call(&caller, RULES, "Remove", QUIET, &id).await.unwrap_err();
        assert_eq!(name, error::UNKNOWN_ID, "{id}");
    }
    assert!(stage.polkit.checks().is_empty());
    unharmed(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_set() {
    let stage = Stage::new().await;
    for uid in [0, 1] {
        let caller = stage.bus.connect_as(uid).await.unwrap();
        for property in ["Version", "Mode", "Coverage", "Nothing"] {
            let body = (MONITOR, property, Variant::from("x"));
            let name = call(&caller, PROPERTIES, "Set", QUIET, &body).await.unwrap_err();
            assert_eq!(name, format!("{STANDARD}PropertyReadOnly"), "{property}");
        }
    }
    unharmed(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_and_descriptors_are_refused() {
    let stage = Stage::new().await;
    stage.polkit.set("org.sekhmet.helper.watch-own", Verdict::Allow);
    let caller = stage.bus.connect_as(1).await.unwrap();
    for length in [70_000, 10_000_000] {
        let options = HashMap::from([("scope", Variant::from("x".repeat(length)))]);
        let name = call(&caller, MONITOR, "OpenEventStream", QUIET, &options).await.unwrap_err();
        assert_eq!(name, error::INVALID_ARGUMENT);
    }
    let file = std::fs::File::open("/dev/null").unwrap();
    let options = HashMap::from([("scope", Variant::from(zbus::Fd::from(&file)))]);
    let before = descriptors();
    for _ in 0..10 {
        let name = call(&caller, MONITOR, "OpenEventStream", QUIET, &options).await.unwrap_err();
        assert_eq!(name, error::INVALID_ARGUMENT);
    }
    assert!(descriptors() <= before + 2, "descriptors of others are kept");
    assert!(stage.polkit.checks().is_empty());
    unharmed(&stage).await;
}

/// The helper under test runs in this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_answered_cheaply_and_others_are_served() {
    let stage = Stage::new().await;
    stage.polkit.set("org.sekhmet.helper.watch-own", Verdict::Allow);
    let flooder = stage.bus.connect_as(65534).await.unwrap();
    let flood = tokio::spawn(async move {
        let mut refused = 0;
        for _ in 0..3000 {
            let result = call(&flooder, PROPERTIES, "Get", QUIET, &(MONITOR, "Version")).await;
            refused += u32::from(result.is_err_and(|name| name == error::LIMITS_EXCEEDED));
        }
        refused
    });
    let user = stage.bus.connect_as(1).await.unwrap();
    for _ in 0..10 {
        let asked = Instant::now();
        assert!(open(&user, "own", QUIET).await.is_ok());
        assert!(asked.elapsed().as_millis() < 1000, "{:?}", asked.elapsed());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let refused = flood.await.unwrap();
    assert!(refused > 2000, "{refused}");
    unharmed_but_for_streams(&stage).await;
}

async fn unharmed_but_for_streams(stage: &Stage) {
    let other = stage.bus.connect_as(2).await.unwrap();
    assert!(open(&other, "own", QUIET).await.is_ok());
}
