//! Names that are removed and given away, modes and lengths that are changed by path, and other names of one file.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use rustix::fs::{AtFlags, CWD, Mode, RenameFlags, chmodat, renameat_with, unlinkat};
use sekhmet_common::file::{Access, Outcome};
use sekhmet_helper::{engine::input::FileSight, kernel::FileProbe};

use super::{FOLDER, Files, NAME, SUFFIX, calls};

/// A name that nobody looks for.
const OTHER: &str = "some-other-name";

impl Files<'_> {
    pub(super) fn changes(&mut self) {
        self.modes_and_lengths();
        self.renames();
        self.removals();
        self.other_names();
    }

    fn modes_and_lengths(&mut self) {
        let path = self.watched();
        let folder = File::open(&self.folder).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        self.changed("chmod", &[(&path, &path, true)], Access::Chmod, 0);
        chmodat(&folder, NAME, Mode::from(0o644), AtFlags::empty()).unwrap();
        self.changed("fchmodat from a folder", &[(&path, Path::new(NAME), true)], Access::Chmod, 0);
        calls::truncate(&path, 1).unwrap();
        self.changed("truncate", &[(&path, &path, true)], Access::Truncate, 0);
        let missing = self.folder.join(FOLDER).join("nobody");
        fs::set_permissions(&missing, Permissions::from_mode(0o600)).unwrap_err();
        self.changed("chmod of a missing file", &[(&missing, &missing, true)], Access::Chmod, libc::ENOENT);
        calls::truncate(&missing, 1).unwrap_err();
        self.changed(
            "truncate of a missing file",
            &[(&missing, &missing, true)],
            Access::Truncate,
            libc::ENOENT,
        );
        let inside = path.join("x");
        calls::truncate(&inside, 1).unwrap_err();
        self.changed("truncate below a file", &[(&inside, &inside, true)], Access::Truncate, libc::ENOTDIR);
    }

    fn renames(&mut self) {
        let (path, other) = (self.watched(), self.folder.join(OTHER));
        fs::rename(&path, &other).unwrap();
        self.changed("renamed away", &[(&path, &path, true)], Access::Rename, 0);
        fs::rename(&other, &path).unwrap();
        self.changed("renamed back", &[(&path, &path, false)], Access::Rename, 0);
        File::open(&path).unwrap();
        self.ok("and opened", &path, &path, Access::Read);
        // As an editor writes a file.
        fs::write(&other, b"new").unwrap();
        fs::rename(&other, &path).unwrap();
        self.changed("another file gets the name", &[(&path, &path, true)], Access::Rename, 0);
        File::open(&path).unwrap();
        self.ok("and is opened by it", &path, &path, Access::Read);
        fs::write(&other, b"x").unwrap();
        renameat_with(CWD, &other, CWD, &path, RenameFlags::NOREPLACE).unwrap_err();
        self.changed("renameat2 onto what is there", &[(&path, &path, true)], Access::Rename, libc::EEXIST);
        let second = self.folder.join(format!("second{SUFFIX}"));
        fs::rename(&path, &second).unwrap();
        let both = [(&*path, &*path, true), (&*second, &*second, false)];
        self.changed("from a name to another, both looked for", &both, Access::Rename, 0);
        fs::rename(&path, &second).unwrap_err();
        let both = [(&*path, &*path, true), (&*second, &*second, false)];
        self.changed("a missing file to such a name", &both, Access::Rename, libc::ENOENT);
        fs::rename(&second, &path).unwrap();
        let both = [(&*second, &*second, true), (&*path, &*path, false)];
        self.changed("and back", &both, Access::Rename, 0);
    }

    fn removals(&mut self) {
        let path = self.watched();
        let folder = File::open(&self.folder).unwrap();
        fs::remove_file(&path).unwrap();
        self.changed("unlink", &[(&path, &path, true)], Access::Unlink, 0);
        fs::remove_file(&path).unwrap_err();
        self.changed("unlink of a missing file", &[(&path, &path, true)], Access::Unlink, libc::ENOENT);
        self.watched();
        unlinkat(&folder, NAME, AtFlags::empty()).unwrap();
        self.changed("unlinkat from a folder", &[(&path, Path::new(NAME), true)], Access::Unlink, 0);
        let deep = self.folder.join(FOLDER).join("empty");
        fs::create_dir(&deep).unwrap();
        fs::remove_dir(&deep).unwrap();
        fs::create_dir(&deep).unwrap();
        unlinkat(CWD, &deep, AtFlags::REMOVEDIR).unwrap();
        fs::remove_file(&path).unwrap_err();
        self.changed(
            "folders come and go untold, an unlink does not",
            &[(&path, &path, true)],
            Access::Unlink,
            libc::ENOENT,
        );
        self.watched();
    }

    /// Once its name was seen.
    fn other_names(&mut self) {
        let path = self.watched();
        let other = self.folder.join("second-link");
        fs::hard_link(&path, &other).unwrap();
        File::open(&other).unwrap();
        File::open(&path).unwrap();
        let found = self.next(&path);
        let file = match &found[..] {
            [sight] => sight.file,
            _ => None,
        };
        self.check("another hard link is not told before the file is known", file.is_some(), &found);
        let Some(file) = file else { return };
        self.names.link(file, true).unwrap();
        File::open(&other).unwrap();
        self.ok("and is told once it is", &other, &other, Access::Read);
        let alone = self.folder.join(OTHER);
        fs::write(&alone, b"x").unwrap();
        let third = self.folder.join("third-link");
        fs::hard_link(&alone, &third).unwrap();
        File::open(&third).unwrap();
        File::open(&other).unwrap();
        self.ok("links of another file are not", &other, &other, Access::Read);
        if self.is_resolving() {
            fs::set_permissions(&other, Permissions::from_mode(0o600)).unwrap();
            self.changed("its mode changed by that name", &[(&other, &other, true)], Access::Chmod, 0);
            fs::remove_file(&other).unwrap();
            self.changed("that name removed", &[(&other, &other, true)], Access::Unlink, 0);
            fs::hard_link(&path, &other).unwrap();
        }
        self.names.link(file, false).unwrap();
        File::open(&other).unwrap();
        File::open(&path).unwrap();
        self.ok("nor is it once it is not known any more", &path, &path, Access::Read);
        for link in [other, third] {
            fs::remove_file(link).unwrap();
        }
    }

    /// Somebody who may do nothing.
    pub(super) fn refused(&mut self) {
        let path = self.watched();
        let told = self.child(&["vandal", &path.to_string_lossy()], &path);
        let results: Vec<(Access, u16)> = told.iter().map(|sight| (sight.access, sight.result.0)).collect();
        let (denied, forbidden) = (libc::EACCES as u16, libc::EPERM as u16);
        let all = [
            (Access::Unlink, denied),
            (Access::Rename, denied),
            (Access::Chmod, forbidden),
            (Access::Truncate, denied),
            (Access::Read, denied),
        ];
        let wanted = if self.is_resolving() { &all[4..] } else { &all };
        let is_path = |sight: &FileSight| sight.path.as_bytes() == path.as_os_str().as_encoded_bytes();
        let good = results == wanted && told.iter().all(is_path);
        self.check("somebody else may not remove, rename, change, cut or read it", good, &told);
    }

    /// Whether successes are told with the path that the kernel resolved.
    fn is_resolving(&self) -> bool {
        self.probe != FileProbe::Tracepoint
    }

    /// The watched file, made if it is not there; what was told of that is forgotten.
    fn watched(&mut self) -> std::path::PathBuf {
        let path = self.folder.join(NAME);
        fs::write(&path, b"secret").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        File::open(&path).unwrap();
        // It is written, then its mode changed, then it is read.
        for _ in 0..3 {
            if self.next(&path).iter().any(|sight| sight.access == Access::Read) {
                break;
            }
        }
        path
    }

    /// These changes, and nothing else, were told: the path, what was asked for, and whether it is known which file it was.
    /// Sources that see what the kernel does tell nothing of what it refuses.
    fn changed(&mut self, name: &str, wanted: &[(&Path, &Path, bool)], access: Access, result: i32) {
        let is_resolved = self.is_resolving();
        if is_resolved && result != 0 {
            // Told, be it there or not.
            let path = self.folder.join(NAME);
            _ = File::open(&path);
            let found = self.next(&path);
            return self.check(name, matches!(&found[..], [sight] if sight.access == Access::Read), &found);
        }
        let (last, ..) = wanted[wanted.len() - 1];
        let found = self.next(last);
        let is_one = |sight: &FileSight, (path, asked, has_file): &(&Path, &Path, bool)| {
            let requested = sight.requested.as_ref().map(|text| text.as_bytes());
            sight.path.as_bytes() == path.as_os_str().as_encoded_bytes()
                && requested == (!is_resolved).then_some(asked.as_os_str().as_encoded_bytes())
                && (sight.access, sight.result) == (access, Outcome(result as u16))
                && sight.is_resolved == is_resolved
                && sight.file.is_some() == (is_resolved && *has_file)
                && sight.mount_ns == super::mount_namespace()
        };
        let good =
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(sight, one)| is_one(sight, one));
        self.check(name, good, &found);
    }
}
