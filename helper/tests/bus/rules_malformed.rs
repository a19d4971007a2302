//! Calls about rules with other arguments than the methods take.

use std::collections::HashMap;

use sekhmet_common::bus::RULES;

use crate::{
    rules::{nothing_wished, program, stage},
    stage::{EXE, Enforcer, reply_to},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_arguments_or_with_others_is_refused_in_the_same_words() {
    let stage = stage(Enforcer::Obeys).await;
    let caller = stage.bus.connect_as(1).await.unwrap();
    let method = |name: &'static str| {
        zbus::Message::method_call(sekhmet_common::bus::PATH, name)
            .destination(sekhmet_common::bus::SERVICE)
            .interface(RULES)
    };
    let bodies = [
        method("Add").build(&()).unwrap(),
        method("Add").build(&EXE).unwrap(),
        method("Add").build(&(program(EXE, "always"), 1_u32)).unwrap(),
        method("Add").build(&HashMap::from([("lifetime", "always")])).unwrap(),
        method("Remove").build(&()).unwrap(),
        method("Remove").build(&1_u32).unwrap(),
        method("Remove").build(&-1_i64).unwrap(),
        method("Remove").build(&(1_u64, 2_u64)).unwrap(),
        method("Remove").build(&vec![1_u64]).unwrap(),
        method("Release").build(&1_u64).unwrap(),
        method("Release").build(&"all").unwrap(),
        method("List").build(&program(EXE, "always")).unwrap(),
    ];
    for body in bodies {
        let signature = body.body().signature().to_string();
        let name = reply_to(&caller, body).await.unwrap_err();
        assert_eq!(name, "org.freedesktop.DBus.Error.InvalidArgs", "{signature}");
    }
    assert!(stage.polkit.checks().is_empty());
    nothing_wished(&stage);
}
