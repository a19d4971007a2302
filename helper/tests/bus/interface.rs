//! The interface's description against the running helper.

use std::{collections::HashMap, time::Duration};

use sekhmet_client::{Command, CommandError, Outcome, rules};
use sekhmet_common::{
    bus::{API_MINOR, COVERAGE_KINDS, COVERAGE_SOURCES, COVERAGE_UPTIME_MS, RULES, WATCHLIST},
    coverage::Mode,
    process::ProcessId,
    rule::{Answer, Draft, Extent, Lifetime, RuleId, Wanted, Ways},
};
use sekhmet_helper::{
    bus::{
        actions::{ACTIONS, FILTERED_METHODS, OPEN_PROPERTIES, Operation},
        monitor::XML,
    },
    engine::input::{Deed, Input, StatusReport, Wish},
};
use sekhmet_testkit::polkit::Verdict;
use zbus::{OwnedVariant, message::Flags};

use crate::{
    rules::program,
    stage::{Enforcer, MONITOR, PROCESS, Stage, call},
    watchlist::{draft, switch},
};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const QUIET: Flags = Flags::empty();

/// `(name, attribute)` of every element of one kind in an interface that the file describes.
fn described<'a>(interface: &str, kind: &str, attribute: &str) -> Vec<(&'a str, &'a str)> {
    let monitor = XML.split(&format!("<interface name=\"{interface}\">")).nth(1).unwrap();
    let monitor = monitor.split("</interface>").next().unwrap();
    let value = |element: &'a str, name: &str| -> &'a str {
        let from = element.find(&format!("{name}=\"")).map(|at| &element[at + name.len() + 2..]);
        from.and_then(|rest| rest.split('"').next()).unwrap_or("")
    };
    let start = format!("<{kind} ");
    let elements = monitor.split(start.as_str()).skip(1);
    elements.map(|e| e.split('>').next().unwrap()).map(|e| (value(e, "name"), value(e, attribute))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_helper_shows_the_file_and_answers_as_it_says() {
    let stage = Stage::new().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let reply = call(&caller, "org.freedesktop.DBus.Introspectable", "Introspect", QUIET, &()).await.unwrap();
    assert_eq!(reply.body().deserialize::<String>().unwrap(), XML);

    let mut properties = described(MONITOR, "property", "type");
    assert_eq!(properties.len(), 4);
    for (name, signature) in &properties {
        let reply = call(&caller, PROPERTIES, "Get", QUIET, &(MONITOR, name)).await.unwrap();
        let value: OwnedVariant = reply.body().deserialize().unwrap();
        assert_eq!(value.value_signature().to_string(), *signature, "{name}");
    }
    properties.sort_unstable();
    let names: Vec<&str> = properties.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, OPEN_PROPERTIES.map(|(_, name)| name), "what anybody may read is in the table");
    assert!(described(MONITOR, "property", "access").iter().all(|(_, access)| *access == "read"));

    let reply = call(&caller, PROPERTIES, "GetAll", QUIET, &MONITOR).await.unwrap();
    let all: HashMap<String, OwnedVariant> = reply.body().deserialize().unwrap();
    assert_eq!(all.len(), properties.len());
    assert_eq!(u32::try_from(all["ApiMinor"].clone()).unwrap(), API_MINOR);
    assert_eq!(described(MONITOR, "method", "name"), [("OpenEventStream", "OpenEventStream")]);
    assert_eq!(described(MONITOR, "arg", "type"), [("options", "a{sv}"), ("stream", "h")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_answer_as_the_file_says() {
    let stage = Stage::enforcing(Enforcer::Obeys).await;
    for action in ACTIONS {
        stage.polkit.set(action.id, Verdict::Allow);
    }
    let caller = stage.bus.connect_as(1).await.unwrap();
    let mut methods: Vec<&str> = described(RULES, "method", "name").iter().map(|(name, _)| *name).collect();
    assert_eq!(methods, ["Add", "Remove", "Release", "List"]);
    methods.retain(|method| !FILTERED_METHODS.contains(&(RULES, *method)));
    let guarded = Operation::ALL.map(Operation::row).into_iter().filter(|row| row.interface == RULES);
    assert_eq!(methods, guarded.map(|row| row.method).collect::<Vec<_>>(), "every method has its row");
    let arguments = [("options", "a{sv}"), ("id", "t"), ("id", "t"), ("count", "t"), ("rules", "aa{sv}")];
    assert_eq!(described(RULES, "arg", "type"), arguments);
    let added = call(&caller, RULES, "Add", QUIET, &program("/usr/bin/curl", "always")).await.unwrap();
    let listed = call(&caller, RULES, "List", QUIET, &()).await.unwrap();
    let removed = call(&caller, RULES, "Remove", QUIET, &1_u64).await.unwrap();
    let released = call(&caller, RULES, "Release", QUIET, &()).await.unwrap();
    for (reply, signature) in [(added, "t"), (listed, "aa{sv}"), (removed, ""), (released, "t")] {
        assert_eq!(reply.body().signature().to_string(), signature);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchlist_answers_as_the_file_says() {
    let stage = Stage::enforcing(Enforcer::Obeys).await;
    for action in ACTIONS {
        stage.polkit.set(action.id, Verdict::Allow);
    }
    let caller = stage.bus.connect_as(1).await.unwrap();
    let methods: Vec<&str> = described(WATCHLIST, "method", "name").iter().map(|(name, _)| *name).collect();
    assert_eq!(methods, ["Get", "Add", "Remove", "Set"]);
    for method in methods {
        let is_guarded =
            Operation::ALL.iter().any(|o| (o.row().interface, o.row().method) == (WATCHLIST, method));
        assert!(is_guarded != FILTERED_METHODS.contains(&(WATCHLIST, method)), "{method}");
    }
    let arguments = [
        ("revision", "t"),
        ("entries", "aa{sv}"),
        ("revision", "t"),
        ("entry", "a{sv}"),
        ("id", "u"),
        ("revision", "t"),
        ("id", "u"),
        ("revision", "t"),
        ("id", "u"),
        ("changes", "a{sv}"),
    ];
    assert_eq!(described(WATCHLIST, "arg", "type"), arguments);
    let got = call(&caller, WATCHLIST, "Get", QUIET, &()).await.unwrap();
    let added = call(&caller, WATCHLIST, "Add", QUIET, &(3_u64, draft("/etc/x"))).await.unwrap();
    let set = call(&caller, WATCHLIST, "Set", QUIET, &(4_u64, 10_002_u32, switch(false))).await.unwrap();
    let removed = call(&caller, WATCHLIST, "Remove", QUIET, &(5_u64, 10_002_u32)).await.unwrap();
    for (reply, signature) in [(got, "(taa{sv})"), (added, "u"), (set, ""), (removed, "")] {
        assert_eq!(reply.body().signature().to_string(), signature);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_has_the_types_that_are_documented() {
    let stage = Stage::new().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let reply = call(&caller, PROPERTIES, "Get", QUIET, &(MONITOR, "Coverage")).await.unwrap();
    let value: OwnedVariant = reply.body().deserialize().unwrap();
    let coverage = HashMap::<String, OwnedVariant>::try_from(value).unwrap();
    for (key, signature) in
        [(COVERAGE_UPTIME_MS, "t"), (COVERAGE_SOURCES, "a(sssss)"), (COVERAGE_KINDS, "a(sttttt)")]
    {
        assert_eq!(coverage[key].value_signature().to_string(), signature, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_of_clients_fits() {
    let stage = Stage::new().await;
    let status = sekhmet_client::status(Some(stage.bus.address())).await.unwrap();
    assert_eq!((status.version.as_str(), status.mode.as_str()), (env!("CARGO_PKG_VERSION"), "full"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_clients_fit() {
    let stage = Stage::enforcing(Enforcer::Obeys).await;
    for action in ACTIONS {
        stage.polkit.set(action.id, Verdict::Ask);
    }
    stage.polkit.set("org.sekhmet.helper.watch-own", Verdict::Allow);
    let caller = stage.bus.connect_as(1).await.unwrap();
    let path = Wanted::Path("/opt/\n\\x".into());
    let draft = Draft {
        ways: Ways::Inbound,
        answer: Answer::Drop,
        extent: Extent::Everywhere,
        ..Draft::new(path, Lifetime::Seconds(90))
    };
    assert_eq!(rules::add(&caller, &draft, false).await, Err(CommandError::InteractionRequired));
    let id = rules::add(&caller, &draft, true).await.unwrap();
    let wished = stage.hears(|input| match input {
        Input::Wish { wish: Wish { deed: Deed::Add(rule), .. }, .. } => Some(rule.draft.clone()),
        _ => None,
    });
    assert_eq!(wished, draft);
    let process = Draft::new(Wanted::Process(ProcessId(PROCESS)), Lifetime::UntilExit);
    rules::add(&caller, &process, true).await.unwrap();
    let listed = rules::list(&caller).await.unwrap();
    assert_eq!(listed.iter().map(|rule| rule.id).collect::<Vec<_>>(), [id, RuleId(id.0 + 1)]);
    assert_eq!(listed[0].subject, "every run of /opt/\\x0a\\\\x and what it starts");
    assert_eq!((listed[0].lifetime.as_str(), listed[0].added_by), ("90s", 1));
    let gone = Draft::new(Wanted::Process(ProcessId(99)), Lifetime::UntilExit);
    let refused = rules::add(&caller, &gone, true).await;
    assert_eq!(refused, Err(CommandError::UnknownId("no such process runs any more".into())));
    assert_eq!(rules::remove(&caller, id, true).await, Ok(()));
    assert_eq!(rules::release(&caller, true).await, Ok(1));
    let address = stage.bus.address().to_owned();
    let run = move || sekhmet_client::command::run_blocking(Some(&address), &Command::Release, true);
    let done = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(done, Ok(Outcome::Released(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_mode_is_told() {
    let stage = Stage::new().await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let helper = sekhmet_client::monitor::MonitorProxy::new(&caller).await.unwrap();
    assert_eq!(helper.mode().await.unwrap(), "full");
    stage.publish(StatusReport { mode: Mode::Reduced, ..StatusReport::default() });
    tokio::time::timeout(Duration::from_secs(10), async {
        // The proxy caches; only the signal changes what it says.
        while helper.mode().await.unwrap() != "reduced" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}
