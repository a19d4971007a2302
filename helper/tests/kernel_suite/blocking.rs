//! Blocking: what a bound process is refused, and that everybody else is not.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use sekhmet_common::kernel::{
    ProcessKey,
    mark::{LOCAL_TOO, Mark},
};
use sekhmet_helper::kernel::policy::Policies;

use crate::{tap::Tap, watch::Watch};

pub(crate) fn run(tap: &mut Tap, watch: &mut Watch, policies: &mut Policies) {
    let _ = &watch;
    let missing = policies.missing();
    tap.check("blocking is available", missing.is_empty(), &format!("{missing:?}"));
    policies.set_firewall(false).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let rule = Mark::refused(7, LOCAL_TOO).unwrap();
    policies.set_rule(rule).unwrap();
    let me = own_key(policies);
    let family = policies.bind_family(&[me], 7).unwrap();
    tap.check("this process is bound", family.contains(&me), "");
    let error = TcpStream::connect(address).err().and_then(|e| e.raw_os_error());
    tap.check("a connection is refused with EPERM", error == Some(libc::EPERM), &format!("{error:?}"));
    policies.clear_rule(7).unwrap();
    let again = TcpStream::connect(address);
    tap.check("and made once the rule is gone", again.is_ok(), &format!("{again:?}"));
}

fn own_key(policies: &Policies) -> ProcessKey {
    policies.find_process(std::process::id()).unwrap().unwrap()
}
