//! The rights that the helper gives itself: its own user, four capabilities, nothing else.
//!
//! Linux keeps credentials per thread. All of this must happen before the first thread is started.

use std::{fmt, fs, io};

use rustix::{
    fs::Mode,
    process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior, umask},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

/// What the helper needs, and all it ever has: programs and maps; tracing programs; cgroup programs and
/// sockets' diagnosis; the executables of other users' processes (capabilities(7)).
pub const NEEDED: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_PTRACE);

/// What only loading and attaching need; from Linux 5.19 on what is loaded is used through its descriptors.
pub const LOADING: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

/// The highest capability number that a kernel could ever have (`struct __user_cap_data_struct` has 64 bits).
const CAPABILITY_BITS: u32 = 64;

/// Why the helper could not take its place.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// There is no user to become.
    #[error(
        "there is no system user '{0}': install the package, or run: \
         useradd --system --no-create-home --shell /usr/sbin/nologin {0}"
    )]
    NoUser(String),
    /// The user is root, or has a number that means "nobody in particular".
    #[error("the user '{0}' (uid {1}) is not one that the helper may run as")]
    BadUser(String, u32),
    /// The list of users cannot be read.
    #[error("cannot read /etc/passwd: {0}")]
    Passwd(io::Error),
    /// The kernel refused a step.
    #[error("cannot {0}: {1}")]
    Step(&'static str, io::Error),
    /// Rights belong to threads, and another one would keep its own.
    #[error("rights cannot be given back: {0} threads run already")]
    Threads(usize),
    /// The rights are not what they should be in the end.
    #[error("the rights did not become what they should: {0}")]
    Unexpected(String),
}

/// What the helper runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Its user.
    pub uid: u32,
    /// Its effective capabilities.
    pub effective: CapabilitySet,
}

impl Rights {
    /// Which of the needed capabilities are missing.
    pub fn missing(&self) -> CapabilitySet {
        NEEDED.difference(self.effective)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, capabilities {}", self.uid, words(self.effective))
    }
}

/// The names of capabilities, as in capabilities(7) without the prefix.
pub fn words(set: CapabilitySet) -> String {
    let names: Vec<&str> = set.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

/// Takes on the right to do what is needed, and gives up everything else. Started as root it becomes `user`;
/// started as somebody else it stays that, with what is allowed to it of [`NEEDED`].
///
/// # Errors
/// [`RightsError`] if there is no such user or a step is refused. The helper must end then: it may be left
/// with more than it should have.
pub fn settle(user: &str) -> Result<Rights, RightsError> {
    umask(Mode::RWXG | Mode::RWXO);
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("forbid core dumps"))?;
    set_no_new_privs(true).map_err(step("forbid new privileges"))?;
    if rustix::process::geteuid().is_root() {
        become_user(user)?;
    }
    let held = capabilities(None).map_err(step("read capabilities"))?;
    let kept = held.permitted.intersection(NEEDED);
    // Nothing is ever executed; an empty ambient and inheritable set makes sure that it would get nothing.
    clear_ambient_capability_set().map_err(step("empty the ambient set"))?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(step("set capabilities"))?;
    // The kernel forgets "not dumpable" when credentials change (prctl(2), PR_SET_DUMPABLE).
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("forbid core dumps"))?;
    verify(kept)
}

/// Gives [`LOADING`] back for good, once `rehearse` has gone well without. If it has not, everything is kept, and
/// what refused is returned.
///
/// Before Linux 5.19, with `kernel.unprivileged_bpf_disabled`, every call of bpf(2) needs `CAP_BPF`. That is found
/// out by trying.
///
/// # Errors
/// [`RightsError`] if another thread runs already or a step is refused. The helper must end then.
pub fn give_back(rehearse: impl FnOnce() -> io::Result<()>) -> Result<Option<io::Error>, RightsError> {
    let threads = fs::read_dir("/proc/self/task").map_err(|e| RightsError::Step("count threads", e))?.count();
    if threads != 1 {
        return Err(RightsError::Threads(threads));
    }
    let held = capabilities(None).map_err(step("read capabilities"))?;
    let kept = held.permitted.difference(LOADING);
    let without = CapabilitySets { effective: kept, ..held };
    set_capabilities(None, without).map_err(step("set capabilities"))?;
    if let Err(refusal) = rehearse() {
        set_capabilities(None, held).map_err(step("set capabilities"))?;
        return Ok(Some(refusal));
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(step("set capabilities"))?;
    verify(kept).map(|_| None)
}

fn become_user(user: &str) -> Result<(), RightsError> {
    let passwd = fs::read_to_string("/etc/passwd").map_err(RightsError::Passwd)?;
    let (uid, gid) = find(&passwd, user).ok_or_else(|| RightsError::NoUser(user.into()))?;
    if uid == 0 || gid == 0 || matches!(uid, 0xffff | u32::MAX) || gid == u32::MAX {
        return Err(RightsError::BadUser(user.into(), uid));
    }
    bound()?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&[]).map_err(step("drop supplementary groups"))?;
    set_thread_res_gid(gid, gid, gid).map_err(step("change the group"))?;
    set_keep_capabilities(true).map_err(step("keep capabilities"))?;
    set_thread_res_uid(uid, uid, uid).map_err(step("change the user"))?;
    set_keep_capabilities(false).map_err(step("stop keeping capabilities"))
}

/// Reduces the bounding set, which needs `CAP_SETPCAP`, so it comes before the change of user.
fn bound() -> Result<(), RightsError> {
    for bit in 0..CAPABILITY_BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if NEEDED.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel has no capability of this number, and none above.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(step("reduce the bounding set")(error)),
        }
    }
    Ok(())
}

fn verify(kept: CapabilitySet) -> Result<Rights, RightsError> {
    let held = capabilities(None).map_err(step("read capabilities"))?;
    let uid = rustix::process::geteuid();
    let rights = Rights { uid: uid.as_raw(), effective: held.effective };
    let is_right = held.effective == kept && held.permitted == kept && held.inheritable.is_empty();
    if uid.is_root() || rustix::process::getuid().is_root() || !is_right {
        return Err(RightsError::Unexpected(rights.to_string()));
    }
    Ok(rights)
}

/// User and group number of a user in the text of a passwd(5) file.
fn find(passwd: &str, user: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        if name == user { Some((uid.parse().ok()?, gid.parse().ok()?)) } else { None }
    })
}

fn step(what: &'static str) -> impl Fn(rustix::io::Errno) -> RightsError {
    move |errno| RightsError::Step(what, errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_user_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# comment\nsekhmet2:x:1:1::/:\nsekhmet:x:998:997::/:/x\nbad:x:a:1::/:\n";
        assert_eq!(find(passwd, "sekhmet"), Some((998, 997)));
        assert_eq!(find(passwd, "sekh"), None);
        assert_eq!(find(passwd, ""), None);
        assert_eq!(find(passwd, "bad"), None);
        assert_eq!(find("sekhmet", "sekhmet"), None);
    }

    #[test]
    fn needs_four_and_names_them() {
        assert_eq!(words(NEEDED), "NET_ADMIN SYS_PTRACE PERFMON BPF");
        assert_eq!(words(CapabilitySet::empty()), "none");
    }
}
