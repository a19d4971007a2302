//! The worker that finds out what a process is: executable, command line, user, unit, container, application.
//!
//! Reading `/proc` and `.desktop` files can be slow, so it happens on a thread of its own. Everything read
//! is bounded, and everything parsed is a pure function over bytes that strangers chose.

pub mod cgroup;
mod desktop;
pub mod process_dir;
mod program_path;
mod users;

use std::{
    io,
    path::PathBuf,
    thread::{Builder, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender};
use sekhmet_common::display::Text;

use self::{
    cgroup::Place, desktop::Desktop, process_dir::ProcessDir, program_path::program_path, users::Users,
};
use crate::engine::input::{Identity, IdentityRequest, Input};

/// The most bytes of a command line that are kept, so that every event about a process fits a frame.
const CMDLINE_MAX: usize = 16 * 1024;

/// Where things are on this machine.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The proc file system.
    pub proc: PathBuf,
    /// The user database.
    pub passwd: PathBuf,
    /// Folders of `.desktop` files, the most important first.
    pub applications: Vec<PathBuf>,
}

impl Default for Paths {
    /// The system's own folders. What users installed for themselves in their homes is not readable to the
    /// helper, and not trusted to name applications to others.
    fn default() -> Self {
        let applications = [
            "/usr/local/share/applications",
            "/usr/share/applications",
            "/var/lib/flatpak/exports/share/applications",
            "/var/lib/snapd/desktop/applications",
        ];
        Self {
            proc: "/proc".into(),
            passwd: "/etc/passwd".into(),
            applications: applications.into_iter().map(PathBuf::from).collect(),
        }
    }
}

/// Starts the thread `identify`. It answers each request with one [`Input::Identified`] and ends when
/// either channel is closed.
///
/// `requests` should hold [`crate::engine::OUTSTANDING_MAX`] requests. The engine's thread must not wait for
/// room in it, since this worker waits for room in `answers`; the engine asks again for none that is dropped.
///
/// # Errors
/// If the system has no room for a thread.
pub fn spawn(
    paths: Paths,
    requests: Receiver<IdentityRequest>,
    answers: Sender<Input>,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name("identify".into()).spawn(move || {
        let mut worker = Worker::new(paths);
        for request in requests {
            let identity = worker.identify(&request);
            let IdentityRequest { id, generation, .. } = request;
            if answers.send(Input::Identified { id, generation, identity }).is_err() {
                return;
            }
        }
    })
}

/// What is remembered between requests.
#[derive(Debug)]
struct Worker {
    proc: PathBuf,
    users: Users,
    desktop: Desktop,
}

impl Worker {
    fn new(paths: Paths) -> Self {
        Self { proc: paths.proc, users: Users::new(paths.passwd), desktop: Desktop::new(paths.applications) }
    }

    fn identify(&mut self, request: &IdentityRequest) -> Identity {
        let image = &request.image;
        // The directory's descriptor stands for this very process: once it ended, reading fails, even if
        // its PID is used again.
        let dir = ProcessDir::open(&self.proc, image.key.tgid).ok().filter(|d| d.is(image.key));
        let Some(dir) = dir else {
            let exe = program_path(&image.filename, image.program);
            return Identity {
                exe,
                user: self.users.name(image.uids.real),
                gone: true,
                ..Identity::default()
            };
        };
        let uids = dir.uids();
        let place = dir.cgroups().map(|text| cgroup::place(&text)).unwrap_or_default();
        let needs_cmdline = image.argv.is_none() || image.argv_truncated;
        let cmdline = if needs_cmdline { dir.cmdline(CMDLINE_MAX) } else { None };
        let (application, application_name) = self.application(&place);
        Identity {
            exe: dir.exe().or_else(|| program_path(&image.filename, image.program)),
            cmdline_truncated: cmdline.as_ref().is_some_and(|c| c.truncated),
            cmdline: cmdline.map(|c| c.arguments).filter(|a| !a.is_empty()),
            user: self.users.name(uids.map_or(image.uids.real, |u| u.real)),
            unit: place.unit,
            container: place.container,
            application,
            application_name,
            comm: dir.comm(),
            uids,
            // Fields read after the end are missing; those that were read are still of this process.
            gone: !dir.is(image.key),
        }
    }

    /// The application's id and name. A D-Bus name counts only if an application has that id.
    fn application(&mut self, place: &Place) -> (Option<Text>, Option<Text>) {
        let Some(id) = &place.application else { return (None, None) };
        let name = self.desktop.name(id);
        let known = name.is_some() || !place.application_is_guess;
        (known.then(|| Text::from(id.as_str())), name)
    }
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use crossbeam_channel::bounded;
    use sekhmet_common::process::ProcessId;

    use super::*;
    use crate::engine::input::{ProcessImage, ProcessKey, Uids};

    fn request(key: ProcessKey) -> IdentityRequest {
        let image = ProcessImage {
            key,
            parent: None,
            uids: Uids::all(0),
            cgroup_id: 0,
            net_ns: 0,
            mnt_ns: 0,
            program: None,
            comm: Text::default(),
            filename: Text::default(),
            argv: None,
            argv_truncated: false,
        };
        IdentityRequest { id: ProcessId(7), generation: 3, image }
    }

    #[test]
    fn the_worker_names_a_real_process_and_only_that_one() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let key = ProcessDir::open("/proc".as_ref(), child.id()).unwrap().key().unwrap();
        let (ask, requests) = bounded(4);
        let (answers, hear) = bounded(4);
        let worker = spawn(Paths::default(), requests, answers).unwrap();
        ask.send(request(key)).unwrap();
        let another = ProcessKey { start_ns: key.start_ns + 10_000_000, ..key };
        ask.send(request(another)).unwrap();
        let wait = Duration::from_secs(10);
        let Input::Identified { id, generation, identity } = hear.recv_timeout(wait).unwrap() else {
            panic!("an identity")
        };
        assert_eq!((id, generation), (ProcessId(7), 3));
        assert!(identity.exe.unwrap().as_bytes().starts_with(b"/"));
        let arguments: Vec<_> = identity.cmdline.unwrap().iter().map(Text::shown).collect();
        assert_eq!(arguments, ["/bin/sleep", "60"]);
        assert_eq!(identity.comm.unwrap().shown(), "sleep");
        assert!(!identity.gone && identity.uids.is_some());
        let Input::Identified { identity, .. } = hear.recv_timeout(wait).unwrap() else {
            panic!("an answer")
        };
        assert!(identity.gone && identity.exe.is_none() && identity.cmdline.is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        drop(ask);
        worker.join().unwrap();
    }

    #[test]
    fn a_deleted_executable_is_named_without_the_kernel_s_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my sleeper");
        std::fs::copy("/bin/sleep", &path).unwrap();
        let mut child = Command::new(&path).arg("60").spawn().unwrap();
        std::fs::remove_file(&path).unwrap();
        let process = ProcessDir::open("/proc".as_ref(), child.id()).unwrap();
        let exe = process.exe().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(exe.as_bytes().ends_with(b"/my sleeper"), "{exe}");
        assert!(process.exe().is_none() && process.key().is_none(), "the descriptor knows it is over");
    }
}
