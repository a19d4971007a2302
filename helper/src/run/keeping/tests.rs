//! What is left with the service manager, and what a next helper takes from it.

use std::{
    io::{Read, Seek, Write},
    os::{fd::AsRawFd, unix::net::UnixDatagram},
    sync::{Arc, Mutex},
};

use super::*;

/// Does with descriptors what a service manager does, and refuses to if it is told to.
#[derive(Clone, Debug, Default)]
struct Manager(Arc<Mutex<Vec<(String, OwnedFd)>>>, Arc<Mutex<Vec<String>>>);

impl Manager {
    fn tell(&self) -> Tell {
        let this = self.clone();
        Box::new(move |state, fds| {
            let words: Vec<String> = state.iter().map(ToString::to_string).collect();
            this.1.lock().unwrap().push(words[..2].join(" "));
            let name = words[1].strip_prefix("FDNAME=").unwrap();
            let mut kept = this.0.lock().unwrap();
            match words[0].as_str() {
                "FDSTORE=1" => kept.push((name.to_owned(), fds[0].try_clone_to_owned().unwrap())),
                "FDSTOREREMOVE=1" => kept.retain(|(other, _)| other != name),
                other => panic!("{other}"),
            }
            Ok(())
        })
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    fn restart(&self) -> Left {
        let mut left = Left::default();
        for (name, fd) in self.0.lock().unwrap().iter() {
            left.take(name, fd.try_clone().unwrap());
        }
        left
    }
}

#[test]
fn a_parcel_can_be_looked_into_again_and_again() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"what lasts").unwrap();
    let parcel = parcel::pack(&[("one", file.as_fd()), ("two", file.as_fd())]).unwrap();
    drop(file);
    for _ in 0..3 {
        let things = parcel::look_into(parcel.as_fd()).unwrap();
        assert_eq!(things.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        let mut text = String::new();
        let mut file = std::fs::File::from(things.into_iter().next_back().unwrap().1);
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "what lasts");
    }
}

#[test]
fn what_is_no_parcel_is_not_used() {
    let file = tempfile::tempfile().unwrap();
    assert!(parcel::look_into(file.as_fd()).is_err());
    let (sender, empty) = UnixDatagram::pair().unwrap();
    assert!(parcel::look_into(empty.as_fd()).is_err());
    sender.send(b"sekhmet-blocks 0\n").unwrap();
    assert!(parcel::look_into(empty.as_fd()).is_err());
    let mut left = Left::default();
    left.take("blocks-1", empty.into());
    left.take("other", file.into());
    assert!(left.bound.is_empty() && left.tables.is_empty());
    assert_eq!(left.parcels, ["blocks-1"], "its name is taken all the same");
    // A parcel that is right, with a thing in it that is none.
    let socket = UnixDatagram::unbound().unwrap();
    let parcel = parcel::pack(&[("POLICIES", socket.as_fd())]).unwrap();
    left.take("blocks-2", parcel);
    assert!(left.bound.is_empty());
}

#[test]
fn the_new_is_kept_before_the_old_is_let_go() {
    let manager = Manager::default();
    let thing = tempfile::tempfile().unwrap();
    let lasting = [("socket_create", thing.as_fd())];
    let mut first = Keeping::new(manager.tell(), &Left::default(), false);
    for _ in 0..2 {
        first.keep(&lasting, Some(thing.as_fd())).unwrap();
        assert_eq!(manager.names(), ["nft", "blocks-0"]);
    }
    let left = manager.restart();
    assert_eq!((left.tables.len(), left.parcels.as_slice()), (1, ["blocks-0"].as_slice()));
    assert!(!left.is_empty() && left.tables[0].as_raw_fd() != thing.as_raw_fd());
    manager.1.lock().unwrap().clear();
    let mut second = Keeping::new(manager.tell(), &left, true);
    second.keep(&lasting, Some(thing.as_fd())).unwrap();
    assert_eq!(manager.names(), ["nft", "blocks-1"]);
    assert_eq!(
        manager.1.lock().unwrap()[1..3],
        ["FDSTORE=1 FDNAME=blocks-1", "FDSTOREREMOVE=1 FDNAME=blocks-0"]
    );
    second.clear().unwrap();
    assert!(manager.names().is_empty());
    manager.1.lock().unwrap().clear();
    second.clear().unwrap();
    assert!(manager.1.lock().unwrap().is_empty(), "the manager is left in peace");
    second.keep(&lasting, None).unwrap();
    assert_eq!(manager.names(), ["blocks-1"]);
}
