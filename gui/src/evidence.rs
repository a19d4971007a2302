//! Saves evidence where the person finds it: two files beside each other, one to read and one for programs.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use sekhmet_common::time::Timestamp;

/// So many pairs of one second can lie beside each other.
const SAME_SECOND_MAX: u32 = 100;

/// What is to be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// To read.
    pub text: String,
    /// One object of JSON in each line.
    pub json: String,
}

/// Where a person looks first: the folder of documents, else the home (xdg-user-dirs(1) when it is not configured).
pub fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let documents =
        absolute("XDG_DOCUMENTS_DIR").or_else(|| absolute("HOME").map(|home| home.join("Documents")));
    documents.filter(|path| path.is_dir()).or_else(|| absolute("HOME"))
}

/// Writes both files, for their owner alone, and never over others. Gives the one to read.
///
/// # Errors
/// If the folder cannot be written or the disk is full; what was written of it is taken away.
pub fn save(folder: &Path, now: Timestamp, evidence: &Evidence) -> io::Result<PathBuf> {
    let moment: String = now
        .to_string()
        .chars()
        .take_while(|c| *c != '.')
        .filter(|c| c.is_ascii_digit() || *c == 'T')
        .collect();
    for n in 0..SAME_SECOND_MAX {
        let again = if n == 0 { String::new() } else { format!("-{}", n + 1) };
        let path = |end: &str| folder.join(format!("sekhmet-evidence-{moment}{again}.{end}"));
        let (text, json) = (path("txt"), path("jsonl"));
        match create(&text, &evidence.text) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
        return create(&json, &evidence.json).map(|()| text.clone()).inspect_err(|_| discard(&text));
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn create(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content.as_bytes()).and_then(|()| File::sync_all(&file));
    written.inspect_err(|_| discard(path))
}

/// Takes away a half.
fn discard(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "a half of evidence stays behind");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nothing_is_written_over_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let evidence = Evidence { text: "read\n".into(), json: "{}\n".into() };
        let now = Timestamp(1_794_319_310_500_000_000);
        let first = save(folder.path(), now, &evidence).unwrap();
        let second = save(folder.path(), now, &evidence).unwrap();
        assert_ne!(first, second);
        for path in [&first, &second] {
            assert_eq!(std::fs::read_to_string(path).unwrap(), evidence.text);
            let json = path.with_extension("jsonl");
            assert_eq!(std::fs::read_to_string(&json).unwrap(), evidence.json);
            assert_eq!(json.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        // The other half cannot be written: neither stays.
        std::fs::create_dir(folder.path().join("sekhmet-evidence-20261110T140151.jsonl")).unwrap();
        let later = Timestamp(1_794_319_311_000_000_000);
        assert!(save(folder.path(), later, &evidence).is_err());
        assert!(!folder.path().join("sekhmet-evidence-20261110T140151.txt").exists());
        assert!(save(&folder.path().join("nowhere"), now, &evidence).is_err());
    }
}
