//! The readers of `/proc`: status, stat, cgroup, links and command lines that a process may shape.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekhmet_helper::identify::{cgroup, process_dir};

fuzz_target!(|bytes: &[u8]| {
    let _place = cgroup::place(bytes);
    let _stat = process_dir::parse_stat(bytes);
    let _uids = process_dir::parse_uids(bytes);
    let _inode = process_dir::parse_socket_link(bytes);
    let arguments = process_dir::split_arguments(bytes);
    let shown: usize = arguments.iter().map(|a| a.as_bytes().len()).sum();
    assert!(shown <= bytes.len());
});
