//! Files that are opened or changed: each access whose path has a name that is looked for is told once, with path, way
//! and result.

mod calls;
mod changes;
pub(crate) mod jail;

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{
            ffi::OsStrExt,
            fs::{OpenOptionsExt, PermissionsExt, symlink},
        },
    },
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use sekhmet_common::file::{Access, Outcome};
use sekhmet_helper::{
    engine::input::{FileSight, NameFilter, Observation},
    kernel::{FileProbe, FileSource, Names, Options},
};

use crate::{
    tap::Tap,
    watch::{Watch, is_me},
};

/// A file's own name that is looked for; so is the folder's.
const NAME: &str = "sekhmet-watched";
/// A folder that is looked for.
const FOLDER: &str = "sekhmet-watched.d";
/// An end of names that is looked for.
const SUFFIX: &str = ".sekhmet";

/// Tries every source by itself, as far as this kernel has it.
pub(crate) fn each_source(tap: &mut Tap, options: &Options) {
    for probe in FileProbe::ALL {
        let options = Options { file_source: FileSource::Only(probe), ..options.clone() };
        let Some(mut kernel) = crate::load(tap, &options) else { return };
        let refused = kernel.file_outcomes().iter().find_map(|outcome| outcome.refused.clone());
        if kernel.file_probe().is_none() {
            let why = refused.unwrap_or_default();
            let may_lack = std::env::var_os("SEKHMET_VM").is_none() && probe != FileProbe::Tracepoint;
            let name = format!("files by {probe} are attached");
            if may_lack {
                tap.skip(&name, &why)
            } else {
                tap.check(&name, false, &why)
            }
            continue;
        }
        for outcome in kernel.file_outcomes() {
            let name = format!("files by {probe}: {} is attached", outcome.probe.program);
            tap.check(&name, outcome.attached(), outcome.refused.as_deref().unwrap_or_default());
            let count = outcome.verified_instructions.unwrap_or(0);
            tap.note(&format!("{}: {count} instructions verified", outcome.probe.program));
        }
        let mut names = kernel.take_names().unwrap();
        let mut watch = Watch::start(kernel);
        let mut files = Files::new(tap, &mut watch, &mut names, probe);
        files.names.set(&filters()).unwrap();
        files.by_uring();
        files.elsewhere();
        files.run();
    }
}

/// The best source, in a suite that has given its rights away.
pub(crate) fn best(tap: &mut Tap, watch: &mut Watch, names: &mut Names, probe: FileProbe) {
    Files::new(tap, watch, names, probe).run();
}

struct Files<'a> {
    tap: &'a mut Tap,
    watch: &'a mut Watch,
    names: &'a mut Names,
    probe: FileProbe,
    folder: PathBuf,
    told: usize,
}

/// What is expected of one access.
struct Expected<'a> {
    path: &'a Path,
    asked: &'a Path,
    access: Access,
    result: i32,
}

impl<'a> Files<'a> {
    fn new(tap: &'a mut Tap, watch: &'a mut Watch, names: &'a mut Names, probe: FileProbe) -> Self {
        let folder = std::env::temp_dir().join(format!("sekhmet-{}-{probe}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let folder = folder.canonicalize().unwrap();
        Self { tap, watch, names, probe, folder, told: 0 }
    }

    fn run(mut self) {
        self.names.set(&filters()).unwrap();
        let before = std::env::current_dir().unwrap();
        self.plain();
        self.ways();
        self.failures();
        self.changes();
        self.odd_names();
        self.changes_of_names();
        std::env::set_current_dir(before).unwrap();
        self.names.set(&[]).unwrap();
        fs::remove_dir_all(&self.folder).unwrap();
    }

    /// Waits for all accesses of this process that were told since the last call, up to one of `path`.
    fn next(&mut self, path: &Path) -> Vec<FileSight> {
        let from = self.told;
        let found = self.watch.until(|seen| {
            let sights = seen.iter().filter_map(|o| match o {
                Observation::File(sight) if is_me(Some(sight.process)) => Some(sight.clone()),
                _ => None,
            });
            let new: Vec<FileSight> = sights.skip(from).collect();
            new.iter().any(|sight| sight.path.as_bytes() == path.as_os_str().as_bytes()).then_some(new)
        });
        let found = found.unwrap_or_default();
        self.told += found.len();
        found
    }

    /// One access, and nothing else, was told.
    fn expect(&mut self, name: &str, expected: &Expected<'_>) {
        let found = self.next(expected.path);
        let good = match &found[..] {
            [sight] => {
                let asked = sight.requested.as_ref().map(|text| text.as_bytes().to_vec());
                asked.as_deref() == Some(expected.asked.as_os_str().as_bytes())
                    && sight.access == expected.access
                    && sight.result == Outcome(expected.result as u16)
                    && sight.is_resolved == (expected.result == 0)
                    && sight.mount_ns == mount_namespace()
                    && sight.file.is_some() == (expected.result == 0)
            }
            _ => false,
        };
        let name = format!("{}: {name}", self.probe);
        self.tap.check(
            &name,
            good,
            &format!("wanted {} of {}, found {found:#?}", expected.access.word(), expected.path.display()),
        );
    }

    fn ok(&mut self, name: &str, path: &Path, asked: &Path, access: Access) {
        self.expect(name, &Expected { path, asked, access, result: 0 });
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, b"x").unwrap();
        path
    }

    fn plain(&mut self) {
        let path = self.folder.join(NAME);
        fs::write(&path, b"secret").unwrap();
        self.ok("a file that is made is told", &path, &path, Access::Truncate);
        File::open(&path).unwrap();
        self.ok("open for reading", &path, &path, Access::Read);
        OpenOptions::new().write(true).open(&path).unwrap();
        self.ok("open for writing", &path, &path, Access::Write);
        OpenOptions::new().read(true).append(true).open(&path).unwrap();
        self.ok("open for both", &path, &path, Access::ReadWrite);
        let other = self.file("some-other-name");
        File::open(&other).unwrap();
        File::open(&path).unwrap();
        self.ok("a file of another name is not told", &path, &path, Access::Read);
        let inside = self.folder.join(FOLDER);
        fs::create_dir(&inside).unwrap();
        let deep = inside.join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        let deep = deep.join("anything");
        fs::write(&deep, b"x").unwrap();
        self.ok("a file deep below a folder is told", &deep, &deep, Access::Truncate);
        let ends = self.folder.join(format!("passwords{SUFFIX}"));
        fs::write(&ends, b"x").unwrap();
        self.ok("a file by the end of its name is told", &ends, &ends, Access::Truncate);
        let short = self.folder.join(format!("p{SUFFIX}"));
        fs::write(&short, b"x").unwrap();
        self.ok("also a short one", &short, &short, Access::Truncate);
        let long = self.folder.join("l".repeat(200) + SUFFIX);
        fs::write(&long, b"x").unwrap();
        self.ok("and a long one", &long, &long, Access::Truncate);
    }

    fn ways(&mut self) {
        let path = self.folder.join(NAME);
        let folder = File::open(&self.folder).unwrap();
        openat(&folder, NAME, OFlags::RDONLY, Mode::empty()).unwrap();
        self.ok("openat from a folder", &path, Path::new(NAME), Access::Read);
        match openat2(&folder, NAME, OFlags::RDWR, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            Ok(_) => self.ok("openat2", &path, Path::new(NAME), Access::ReadWrite),
            Err(error) => self.tap.check("openat2", false, &error.to_string()),
        }
        std::env::set_current_dir(&self.folder).unwrap();
        File::open(NAME).unwrap();
        self.ok("a relative path", &path, Path::new(NAME), Access::Read);
        let around = Path::new("sekhmet-watched.d/../sekhmet-watched.d/a/../../sekhmet-watched");
        File::open(around).unwrap();
        self.ok("a path with dots", &path, around, Access::Read);
        symlink(NAME, "link").unwrap();
        File::open("link").unwrap();
        self.ok("through a symbolic link", &path, Path::new("link"), Access::Read);
        fs::hard_link(NAME, "hard").unwrap();
        openat(CWD, NAME, OFlags::PATH, Mode::empty()).unwrap();
        self.ok("O_PATH", &path, Path::new(NAME), Access::Handle);
        calls::open(NAME).unwrap();
        self.ok("the old call open", &path, Path::new(NAME), Access::Read);
        calls::creat(NAME).unwrap();
        self.ok("the old call creat", &path, Path::new(NAME), Access::Truncate);
        let held = File::open(NAME).unwrap();
        self.ok("a file that is kept open", &path, Path::new(NAME), Access::Read);
        let again = format!("/proc/self/fd/{}", held.as_fd().as_raw_fd());
        File::open(&again).unwrap();
        self.ok("opened again through /proc", &path, Path::new(&again), Access::Read);
    }

    fn failures(&mut self) {
        let missing = self.folder.join(FOLDER).join("nobody");
        drop(File::open(&missing).unwrap_err());
        let not_there =
            Expected { path: &missing, asked: &missing, access: Access::Read, result: libc::ENOENT };
        self.expect("a missing file", &not_there);
        std::env::set_current_dir(self.folder.join(FOLDER)).unwrap();
        let asked = Path::new("./x/.././nobody");
        let flags = OFlags::RDWR;
        openat(CWD, asked, flags, Mode::empty()).unwrap_err();
        self.expect(
            "a missing file below a folder that is looked for, asked for from there",
            &Expected { path: &missing, asked, access: Access::ReadWrite, result: libc::ENOENT },
        );
        let folder = self.folder.join(FOLDER);
        let options = OpenOptions::new().write(true).open(&folder);
        options.unwrap_err();
        self.expect(
            "a folder for writing",
            &Expected { path: &folder, asked: &folder, access: Access::Write, result: libc::EISDIR },
        );
        let file = self.folder.join(NAME);
        let through = file.join("x");
        OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC).open(&through).unwrap_err();
        self.expect(
            "a file as a folder",
            &Expected { path: &through, asked: &through, access: Access::Read, result: libc::ENOTDIR },
        );
        openat2(
            File::open("/").unwrap(),
            "/../sekhmet-watched",
            OFlags::PATH,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        )
        .unwrap_err();
        self.expect(
            "openat2 within another root",
            &Expected {
                path: Path::new("/sekhmet-watched"),
                asked: Path::new("/../sekhmet-watched"),
                access: Access::Handle,
                result: libc::ENOENT,
            },
        );
    }

    fn odd_names(&mut self) {
        let odd = self.folder.join(OsStr::from_bytes(b"new\nline \xff\x1b[2J.sekhmet"));
        fs::write(&odd, b"x").unwrap();
        self.ok("a name that is no text", &odd, &odd, Access::Truncate);
        // As long as a path may be: 4,095 bytes and the end mark.
        let mut long = self.folder.clone();
        while long.as_os_str().len() + 200 < 4095 {
            long.push("d".repeat(190));
        }
        std::env::set_current_dir(&self.folder).unwrap();
        fs::create_dir_all(&long).unwrap();
        let rest = 4095 - long.as_os_str().len() - 1 - SUFFIX.len();
        long.push("f".repeat(rest) + SUFFIX);
        fs::write(&long, b"x").unwrap();
        self.ok("a path of 4,096 bytes", &long, &long, Access::Truncate);
        let too_long = long.join("x");
        drop(File::open(&too_long).unwrap_err());
    }

    /// Resolved by those that see the kernel's own function, counted by the other.
    fn by_uring(&mut self) {
        let path = self.folder.join(NAME);
        fs::write(&path, b"x").unwrap();
        self.next(&path);
        let name = format!("{}: an open by io_uring", self.probe);
        match calls::open_by_uring(&path.to_string_lossy()) {
            Err(error) => self.tap.skip(&name, &error.to_string()),
            Ok(fd) if fd < 0 => self.tap.check(&name, false, &format!("errno {}", -fd)),
            Ok(_) if self.probe == FileProbe::Tracepoint => {
                let counted =
                    self.watch.coverage("watched files", "1 opens by io_uring could not be resolved");
                self.tap.check(&name, counted, "is not counted on the coverage panel");
            }
            Ok(_) => self.ok("an open by io_uring", &path, &path, Access::Read),
        }
    }

    /// Other users, roots and mount namespaces.
    fn elsewhere(&mut self) {
        let path = self.folder.join(NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let told = self.child(&["stranger", &path.to_string_lossy()], &path);
        let good = matches!(&told[..], [sight] if sight.result == Outcome(libc::EACCES as u16)
            && !sight.is_resolved && sight.path.as_bytes() == path.as_os_str().as_bytes());
        self.check("somebody else is refused", good, &told);
        self.refused();
        let folder = self.folder.to_string_lossy().into_owned();
        let told = self.child(&["gone", &folder, NAME], Path::new("/"));
        let good = matches!(&told[..], [.., sight] if sight.result == Outcome(libc::ENOENT as u16)
            && sight.requested.as_ref().is_some_and(|asked| asked.as_bytes() == NAME.as_bytes()));
        self.check("asked for in a folder that is removed", good, &told);
        let inner = Path::new("/inner").join(NAME);
        let told = self.child(&["jail", &folder], &inner);
        let good = matches!(&told[..], [.., bound, chrooted]
            if bound.path.as_bytes() == self.folder.join("mount/inner").join(NAME).as_os_str().as_bytes()
            && chrooted.path.as_bytes() == inner.as_os_str().as_bytes()
            && bound.mount_ns != mount_namespace() && bound.mount_ns == chrooted.mount_ns
            && bound.file == chrooted.file && bound.is_resolved && chrooted.is_resolved);
        self.check("through a bind mount in another mount namespace, and in another root", good, &told);
    }

    fn check(&mut self, name: &str, good: bool, told: &[FileSight]) {
        let name = format!("{}: {name}", self.probe);
        self.tap.check(&name, good, &format!("{told:#?}"));
    }

    /// All that was told of a child, once its last path is among it (or its end, for the root).
    fn child(&mut self, arguments: &[&str], last: &Path) -> Vec<FileSight> {
        let mut child = crate::child::command(arguments).spawn().unwrap();
        let pid = child.id();
        let status = child.wait().unwrap();
        if !status.success() {
            self.tap.note(&format!("{arguments:?} ended with {status}"));
        }
        let of_child = |seen: &[Observation]| -> Vec<FileSight> {
            let sights = seen.iter().filter_map(|o| match o {
                Observation::File(sight) if sight.process.tgid == pid => Some(sight.clone()),
                _ => None,
            });
            sights.collect()
        };
        let found = self.watch.until(|seen| {
            let told = of_child(seen);
            let is_over =
                seen.iter().any(|o| matches!(o, Observation::Exited { key, .. } if key.tgid == pid));
            let has_last = told.iter().any(|s| s.path.as_bytes() == last.as_os_str().as_bytes());
            (is_over && (has_last || last == Path::new("/"))).then_some(told)
        });
        found.unwrap_or_else(|| of_child(&self.watch.seen))
    }

    fn changes_of_names(&mut self) {
        let path = self.folder.join(NAME);
        let mut more = filters();
        more.push(NameFilter { name: "some-other-name".into(), is_suffix: false });
        self.names.set(&more).unwrap();
        let other = self.folder.join("some-other-name");
        File::open(&other).unwrap();
        self.next(&other);
        self.names.set(&[]).unwrap();
        File::open(&path).unwrap();
        self.names.set(&filters()).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap();
        self.ok(
            "a name that is no longer looked for is not told, one that is again is",
            &path,
            &path,
            Access::Write,
        );
    }
}

fn filters() -> Vec<NameFilter> {
    let whole = |name: &str| NameFilter { name: name.into(), is_suffix: false };
    vec![whole(NAME), whole(FOLDER), NameFilter { name: SUFFIX.into(), is_suffix: true }]
}

fn mount_namespace() -> u32 {
    let link = fs::read_link("/proc/self/ns/mnt").unwrap();
    let text = link.to_string_lossy().into_owned();
    text.split(['[', ']']).nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
