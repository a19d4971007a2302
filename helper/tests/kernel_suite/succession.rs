//! What a helper takes over from one before it, and how files are named: before the right to load is given away.

use std::{
    fs::{self, File},
    net::UdpSocket,
    os::fd::AsFd,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use rustix::{
    fs::{Mode, OFlags, open},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
};
use sekhmet_common::kernel::{
    ProgramKey,
    mark::{LOCAL_TOO, Mark},
};
use sekhmet_helper::kernel::{
    self, Kernel, Options,
    policy::{FormerMarks, Policies},
};

use crate::{
    blocking::victim::{V4, Victim},
    child,
    tap::Tap,
};

/// The word of a child that begins another numbering of processes, and that of the one inside.
pub(crate) const OUTSIDE: &str = "renumber";
/// See [`OUTSIDE`].
pub(crate) const INSIDE: &str = "renumbered";

const RULE: u32 = 9;

pub(crate) fn run(tap: &mut Tap) {
    let (Ok(first), Ok(mut second)) = (load(), load()) else {
        return tap.skip("a helper after another", "this process may load nothing");
    };
    let mut after = second.take_policies().unwrap();
    own_marks(tap, first, &mut after);
    numbering(tap, &after);
    overlay(tap, &mut after);
}

fn load() -> Result<Kernel, kernel::LoadError> {
    // One that is never read needs little room.
    kernel::load(&Options { events_bytes: 1 << 16, flows_max: 64, ..Options::default() })
}

/// A program's own mark comes back also when its rule ends under another helper than that which began it, or while
/// there was none.
fn own_marks(tap: &mut Tap, mut first: Kernel, after: &mut Policies) {
    let (mut victim, mut free) = (Victim::start(), Victim::start());
    let to = UdpSocket::bind((V4, 0)).unwrap().local_addr().unwrap();
    let places = (victim.connected("udp4", to).unwrap(), free.connected("udp4", to).unwrap());
    let set = victim.ask(&format!("setmark {} 2748", places.0));
    if set.and(free.ask(&format!("setmark {} 2749", places.1))).is_err() {
        return tap.skip("a program's own mark outlives the helper", "this process may set no mark");
    }
    let pids = [victim.pid(), free.pid()];
    let mut marks = || (victim.ask(&format!("mark {}", places.0)), free.ask(&format!("mark {}", places.1)));
    let wanted = Ok(i64::from(Mark::refused(RULE, LOCAL_TOO).unwrap().bits()));
    let mut before = first.take_policies().unwrap();
    let keys = pids.map(|pid| before.find_process(pid).unwrap().unwrap());
    before.set_firewall(true).unwrap();
    before.set_rule(Mark::refused(RULE, LOCAL_TOO).unwrap()).unwrap();
    keys.iter().for_each(|key| before.bind(*key, RULE).unwrap());
    before.enforce().unwrap();
    let found = marks();
    tap.check("a former helper marks", found == (wanted, wanted), &format!("{found:?}"));
    let left: Vec<FormerMarks> = before
        .lasting()
        .into_iter()
        .filter(|(name, _)| FormerMarks::is_named(name))
        .map(|(_, map)| FormerMarks::verify(map.try_clone_to_owned().unwrap()).unwrap())
        .collect();
    tap.check("what it knows of sockets can be kept", left.len() == 1, &format!("{left:?}"));
    after.take_over(left);
    after.set_firewall(true).unwrap();
    after.set_rule(Mark::refused(RULE, LOCAL_TOO).unwrap()).unwrap();
    after.bind(keys[0], RULE).unwrap();
    let done = after.enforce().unwrap();
    drop((before, first));
    let found = marks();
    let good = found == (wanted, Ok(2749)) && done.restored >= 1;
    tap.check("the next takes off what ended meanwhile", good, &format!("{found:?} {done:?}"));
    after.clear_rule(RULE).unwrap();
    after.enforce().unwrap();
    let found = marks();
    let good = found == (Ok(2748), Ok(2749));
    tap.check("a program's own mark outlives the helper", good, &format!("{found:?}"));
}

/// In a PID namespace of its own a helper finds the same names of files, also of those that stat(2) names otherwise.
fn numbering(tap: &mut Tap, policies: &Policies) {
    let name = "a file is named alike where processes have other numbers";
    let here = shown(policies.program_key(File::open("/proc/self/exe").unwrap().as_fd()).unwrap());
    let output = child::command(&[OUTSIDE]).stdout(Stdio::piped()).output().unwrap();
    if output.status.code() == Some(77) {
        return tap.skip(name, "no PID namespace may be made");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let (there, found) = text.trim().split_once('\n').unwrap_or_default();
    tap.check(name, there == here, &format!("{here:?} {there:?} {:?}", output.status));
    let name = "and so is a program on an overlay";
    match found.strip_prefix("no overlay") {
        Some(error) => tap.skip(name, error),
        None => tap.check(name, found == format!("{REFUSED_ABOVE:?}"), found),
    }
}

fn shown(key: ProgramKey) -> String {
    format!("{} {}", key.device, key.inode)
}

/// The child: its own children are numbered anew.
#[expect(unsafe_code, reason = "a namespace for children")]
pub(crate) fn renumber() -> ExitCode {
    // SAFETY: concerns nothing but children to come.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return ExitCode::from(77);
    }
    let status = Command::new("/proc/self/exe").args([child::WORD, INSIDE]).status();
    ExitCode::from(status.ok().and_then(|status| status.code()).map_or(1, |code| code as u8))
}

/// Its child: says how the kernel names this executable.
pub(crate) fn renumbered() -> ExitCode {
    let Ok(mut kernel) = load() else { return ExitCode::from(2) };
    let Some(mut policies) = kernel.take_policies() else { return ExitCode::from(3) };
    let key = File::open("/proc/self/exe").ok().and_then(|file| policies.program_key(file.as_fd()).ok());
    println!("{}", key.map_or_else(|| "none".to_owned(), shown));
    match overlay_found(&mut policies) {
        Ok(found) => println!("{found:?}"),
        Err(error) => println!("no overlay: {error}"),
    }
    ExitCode::SUCCESS
}

/// What comes of a program of the lower layer, of one of the upper layer, and of the lower file by its own path.
const REFUSED_ABOVE: [Option<i32>; 3] = [Some(libc::EPERM), Some(libc::EPERM), Some(0)];

/// A program on an overlay is another file than the one that lies below, and is refused by its own name.
fn overlay(tap: &mut Tap, policies: &mut Policies) {
    let name = "a program on an overlay is refused by its path, the file below is not";
    match overlay_found(policies) {
        Ok(found) => tap.check(name, found == REFUSED_ABOVE, &format!("{found:?}")),
        Err(error) => tap.skip(name, &format!("no overlay: {error}")),
    }
}

fn overlay_found(policies: &mut Policies) -> std::io::Result<[Option<i32>; 3]> {
    policies.set_firewall(false).unwrap();
    let folder = std::env::temp_dir().join(format!("overlay-{}", std::process::id()));
    // In a thread, for the mounts are to be seen by nobody else.
    let found = std::thread::scope(|scope| scope.spawn(|| on_overlay(policies, &folder)).join().unwrap());
    let _gone = fs::remove_dir_all(&folder);
    found
}

/// See [`REFUSED_ABOVE`].
#[expect(unsafe_code, reason = "a mount namespace for this thread alone")]
fn on_overlay(policies: &mut Policies, folder: &Path) -> std::io::Result<[Option<i32>; 3]> {
    // SAFETY: this thread looks at no path that others of the process rely on.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let lower = folder.join("lower");
    fs::create_dir_all(&lower)?;
    fs::copy("/proc/self/exe", lower.join("below"))?;
    let above = folder.join("above");
    fs::create_dir_all(&above)?;
    mount("tmpfs", &above, "tmpfs", MountFlags::empty(), None)?;
    let (upper, work, root) = (above.join("upper"), above.join("work"), above.join("root"));
    for place in [&upper, &work, &root] {
        fs::create_dir(place)?;
    }
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let layers = std::ffi::CString::new(layers)?;
    mount("overlay", &root, "overlay", MountFlags::empty(), Some(layers.as_c_str()))?;
    fs::copy("/proc/self/exe", root.join("new"))?;
    policies.set_rule(Mark::refused(RULE, LOCAL_TOO).unwrap()).unwrap();
    for name in ["below", "new"] {
        let file = open(root.join(name), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        // Where there is an overlay, its files have names.
        policies.bind_program(policies.program_key(file.as_fd()).unwrap(), RULE).unwrap();
    }
    let listener = std::net::TcpListener::bind((V4, 0))?;
    let reach = format!("reach tcp4 {}", listener.local_addr()?);
    let run = |path: &Path| {
        let status = Command::new(path).args([child::WORD, "once"]).args(reach.split(' ')).status();
        status.map(|status| status.code())
    };
    let found = [run(&root.join("below"))?, run(&root.join("new"))?, run(&lower.join("below"))?];
    policies.clear_rule(RULE).unwrap();
    unmount(&root, UnmountFlags::DETACH)?;
    unmount(&above, UnmountFlags::DETACH)?;
    Ok(found)
}
