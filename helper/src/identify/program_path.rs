//! The path of an executed program whose process ended before `/proc` could be asked.
//!
//! The kernel tells the path that was given to `execve`. Where `/bin` is a link to `/usr/bin`, one program has two of
//! those, and would be listed as two.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, os::unix::fs::MetadataExt, path::Path};

use sekhmet_common::display::Text;

use crate::engine::input::ProgramKey;

/// Only root decides what lies here, so no stranger can have the helper wait for a file system of his own.
const FOLDERS: [&[u8]; 4] = [b"/bin/", b"/sbin/", b"/usr/bin/", b"/usr/sbin/"];

/// What `/proc/PID/exe` would have told, if the path given to `execve` leads to the file that was executed. That of a
/// script does not: the file is its interpreter.
pub(super) fn program_path(given: &Text, program: Option<ProgramKey>) -> Option<Text> {
    let (given, program) = (given.as_bytes(), program?);
    let is_above = given.split(|&byte| byte == b'/').any(|part| part == b"..");
    if is_above || !FOLDERS.iter().any(|folder| given.starts_with(folder)) {
        return None;
    }
    let path = fs::canonicalize(Path::new(OsStr::from_bytes(given))).ok()?;
    // Some file systems tell stat(2) another device than the kernel's programs see; the inode's number has to do.
    let is_same = fs::metadata(&path).ok()?.ino() == program.inode;
    is_same.then(|| Text::from(path.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_has_one_path() {
        let real = fs::canonicalize("/bin/sleep").unwrap();
        let key = |path: &Path| Some(ProgramKey { device: 0, inode: fs::metadata(path).unwrap().ino() });
        let expected = Some(Text::from(real.as_os_str().as_bytes()));
        assert_eq!(program_path(&"/bin/sleep".into(), key(&real)), expected);
        assert_eq!(program_path(&"/usr/bin/sleep".into(), key(&real)), expected);
        let another = key("/bin/cat".as_ref());
        assert_eq!(program_path(&"/bin/sleep".into(), another), None, "in another root, or replaced since");
        assert_eq!(program_path(&"/bin/sleep".into(), None), None);
        assert_eq!(program_path(&"/bin/no such program".into(), key(&real)), None);
        assert_eq!(program_path(&"sleep".into(), key(&real)), None);
    }

    #[test]
    fn strangers_folders_are_not_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        fs::write(&file, "").unwrap();
        let key = Some(ProgramKey { device: 0, inode: fs::metadata(&file).unwrap().ino() });
        for path in [format!("{}", file.display()), format!("/usr/bin/../..{}", file.display())] {
            assert!(fs::metadata(&path).is_ok(), "{path}");
            assert_eq!(program_path(&Text::from(path.as_str()), key), None, "{path}");
        }
    }
}
