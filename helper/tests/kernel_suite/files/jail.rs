//! Children that open files as somebody else or from somewhere else.

use std::{fs, fs::File, os::unix::fs::PermissionsExt, path::Path, process::ExitCode};

use rustix::{
    mount::{MountPropagationFlags, mount_bind, mount_change},
    thread::{UnshareFlags, set_thread_res_gid, set_thread_res_uid, unshare_unsafe},
};

use super::{NAME, calls};

/// `stranger PATH`: opens it as nobody.
pub(crate) fn stranger(path: &str) -> ExitCode {
    become_nobody();
    if File::open(path).is_err() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `vandal PATH`: does everything to it as nobody, and opens it at last.
pub(crate) fn vandal(path: &str) -> ExitCode {
    become_nobody();
    let path = Path::new(path);
    let refused = [
        fs::remove_file(path).is_err(),
        fs::rename(path, path.with_extension("away")).is_err(),
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).is_err(),
        calls::truncate(path, 0).is_err(),
        File::open(path).is_err(),
    ];
    if refused == [true; 5] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn become_nobody() {
    let nobody = 65_534;
    set_thread_res_gid(
        rustix::process::Gid::from_raw(nobody),
        rustix::process::Gid::from_raw(nobody),
        rustix::process::Gid::from_raw(nobody),
    )
    .unwrap();
    let uid = rustix::process::Uid::from_raw(nobody);
    set_thread_res_uid(uid, uid, uid).unwrap();
}

/// `gone FOLDER NAME`: opens it from a folder that is removed.
pub(crate) fn gone(folder: &str, name: &str) -> ExitCode {
    let removed = Path::new(folder).join("removed");
    fs::create_dir(&removed).unwrap();
    std::env::set_current_dir(&removed).unwrap();
    fs::remove_dir(&removed).unwrap();
    if File::open(name).is_err() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `jail FOLDER`: opens a file through a bind mount in a mount namespace of its own, and again as its root.
pub(crate) fn jail(folder: &str) -> ExitCode {
    let folder = Path::new(folder);
    let (real, mounted) = (folder.join("real"), folder.join("mount"));
    fs::create_dir_all(real.join("inner")).unwrap();
    fs::create_dir_all(&mounted).unwrap();
    fs::write(real.join("inner").join(NAME), b"x").unwrap();
    own_mounts();
    mount_bind(&real, &mounted).unwrap();
    File::open(mounted.join("inner").join(NAME)).unwrap();
    rustix::process::chroot(&mounted).unwrap();
    std::env::set_current_dir("/").unwrap();
    File::open(Path::new("/inner").join(NAME)).unwrap();
    ExitCode::SUCCESS
}

#[expect(unsafe_code, reason = "a namespace of mounts is no danger to this process, which has one thread")]
fn own_mounts() {
    // SAFETY: no descriptors are unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
}
