//! What strace(1) says a program did with files: the truth that is compared with what is shown.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// One call about a file, and what the kernel answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) pid: u32,
    /// The name of the program's file, links followed, which is what it is shown as.
    pub(super) name: Vec<u8>,
    /// The file's path as the kernel resolved it; after a failure what was asked for, made absolute.
    pub(super) path: Vec<u8>,
    /// The path as it was given.
    pub(super) requested: Vec<u8>,
    /// As `sekhmetctl files` says it.
    pub(super) access: &'static str,
    /// `ok` or the error's name.
    pub(super) result: String,
}

/// Runs a program under strace and gives what it and its children did with files, in order for each process.
pub(super) fn run(folder: &Path, argv: &[OsString]) -> Result<Vec<Call>> {
    let trace = tempfile::tempdir_in(folder)?;
    let mut command = Command::new("strace");
    // One file for each process; strings in hexadecimal and whole; what a descriptor is, beside it; no padding.
    command
        .args(["-ff", "-xx", "-s", "100000", "-y", "-a1", "-qq", "-e", "trace=%file", "-o"])
        .arg(trace.path().join("of"));
    let status = command.args(argv).stdin(Stdio::null()).stdout(Stdio::null()).status().context("strace")?;
    ensure!(status.success(), "{argv:?}: {status}");
    let mut calls = Vec::new();
    for file in fs::read_dir(trace.path())? {
        let file = file?.path();
        let pid = file.extension().and_then(OsStr::to_str).context("no process")?.parse()?;
        let text = String::from_utf8(fs::read(&file)?).context("what strace wrote")?;
        calls.extend(Reading { pid, ..Reading::default() }.calls(&text)?);
    }
    Ok(calls)
}

/// What is known of a process while its lines are read.
#[derive(Default)]
struct Reading {
    pid: u32,
    name: Vec<u8>,
    folder: Vec<u8>,
}

/// What stands in a line: descriptors by what they are, and strings.
#[derive(Debug, PartialEq, Eq)]
enum Atom {
    Folder { is_current: bool, path: Vec<u8> },
    Text(Vec<u8>),
}

impl Reading {
    fn calls(mut self, text: &str) -> Result<Vec<Call>> {
        let mut all = Vec::new();
        for line in text.lines() {
            // Lines about signals and ends begin with `---` and `+++`.
            let Some((name, rest)) = line.split_once('(') else { continue };
            let Some((arguments, result)) = rest.rsplit_once(" = ") else { continue };
            // A call that never returned.
            if result.starts_with('?') {
                continue;
            }
            all.extend(self.call(name, arguments, result).with_context(|| line.to_owned())?);
        }
        Ok(all)
    }

    fn call(&mut self, name: &str, arguments: &str, result: &str) -> Result<Vec<Call>> {
        let atoms = atoms(arguments)?;
        let mut names = self.names(&atoms).into_iter();
        let Some((base, requested)) = names.next() else { return Ok(Vec::new()) };
        let is_ok = !result.starts_with('-');
        let access = match name {
            "execve" | "execveat" if is_ok => {
                let path = fs::canonicalize(path(requested)).unwrap_or_else(|_gone| path(requested).into());
                self.name = path.file_name().unwrap_or_default().as_bytes().to_vec();
                return Ok(Vec::new());
            }
            "chdir" if is_ok => {
                self.folder = absolute(&self.folder, requested);
                return Ok(Vec::new());
            }
            "creat" => "truncate",
            "open" | "openat" | "openat2" => opened(arguments),
            "truncate" => "truncate",
            // A folder is removed.
            "unlinkat" if arguments.contains("AT_REMOVEDIR") => return Ok(Vec::new()),
            "unlink" | "unlinkat" => "unlink",
            "rename" | "renameat" | "renameat2" => "rename",
            "chmod" | "fchmodat" | "fchmodat2" => "chmod",
            _ => return Ok(Vec::new()),
        };
        let call = |(base, requested): (Vec<u8>, &Vec<u8>)| -> Result<Call> {
            let in_root = arguments.contains("RESOLVE_IN_ROOT");
            let asked = if in_root {
                absolute(&base, &[b".", &requested[..]].concat())
            } else {
                absolute(&base, requested)
            };
            let (path, result) = match (is_ok, result.split_once('<')) {
                (true, Some((_number, path))) => {
                    (hex(path.split_once('>').context("no end")?.0)?, "ok".to_owned())
                }
                (true, None) => (asked, "ok".to_owned()),
                (false, _) => (asked, result.split(' ').nth(1).context("no error")?.to_owned()),
            };
            Ok(Call {
                pid: self.pid,
                name: self.name.clone(),
                path,
                requested: requested.clone(),
                access,
                result,
            })
        };
        let second = if access == "rename" { names.next() } else { None };
        [Some((base, requested)), second].into_iter().flatten().map(call).collect()
    }

    /// The strings, each with the folder that stands before it, or the one in which the process is.
    fn names<'a>(&mut self, atoms: &'a [Atom]) -> Vec<(Vec<u8>, &'a Vec<u8>)> {
        let mut base = None;
        let mut names = Vec::new();
        for atom in atoms {
            match atom {
                Atom::Folder { is_current, path } => {
                    if *is_current {
                        self.folder.clone_from(path);
                    }
                    base = Some(path);
                }
                Atom::Text(text) => names.push((base.unwrap_or(&self.folder).clone(), text)),
            }
        }
        names
    }
}

/// What an open was for, by its flags as strace names them.
fn opened(arguments: &str) -> &'static str {
    let has = |flag: &str| arguments.contains(flag);
    match () {
        () if has("O_PATH") => "handle",
        () if has("O_TRUNC") => "truncate",
        () if has("O_RDWR") => "read_write",
        () if has("O_WRONLY") => "write",
        () => "read",
    }
}

/// The path from this folder on, without `.`, `..` and empty parts, as far as names alone can say it.
fn absolute(folder: &[u8], path: &[u8]) -> Vec<u8> {
    let folder = folder.strip_suffix(b" (deleted)").unwrap_or(folder);
    let from = if path.starts_with(b"/") { &b""[..] } else { folder };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in from.split(|&b| b == b'/').chain(path.split(|&b| b == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.iter().flat_map(|part| [&b"/"[..], part].concat()).collect()
}

fn atoms(arguments: &str) -> Result<Vec<Atom>> {
    let mut all = Vec::new();
    let mut rest = arguments;
    while let Some(at) = rest.find(['<', '"']) {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let (inside, behind) = if rest[at..].starts_with('<') {
            let (path, behind) = after.split_once('>').context("no end of a descriptor")?;
            (Atom::Folder { is_current: before.ends_with("AT_FDCWD"), path: hex(path)? }, behind)
        } else {
            let (text, behind) = after.split_once('"').context("no end of a string")?;
            ensure!(!behind.starts_with("..."), "a string is cut");
            (Atom::Text(hex(text)?), behind)
        };
        all.push(inside);
        rest = behind;
    }
    Ok(all)
}

/// `\x2f\x74` and what is not a path at all, such as `pipe:[1]`.
fn hex(text: &str) -> Result<Vec<u8>> {
    if !text.starts_with("\\x") {
        return Ok(text.as_bytes().to_vec());
    }
    let pairs = text.split("\\x").skip(1);
    pairs.map(|pair| u8::from_str_radix(pair, 16).with_context(|| format!("no byte: {pair:?}"))).collect()
}

/// The interpreter itself, and not a script that looks for it.
pub(super) fn python() -> Result<OsString> {
    let output =
        Command::new("python3").args(["-c", "import sys; sys.stdout.write(sys.executable)"]).output();
    let output = output.context("python3")?;
    if !output.status.success() || output.stdout.is_empty() {
        bail!("python3: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(OsString::from_vec(output.stdout))
}

/// A path as an argument.
pub(super) fn path(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String, &'static str, String)> {
        let calls = Reading { pid: 7, ..Reading::default() }.calls(text).unwrap();
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        calls.into_iter().map(|c| (shown(&c.name), shown(&c.path), c.access, c.result)).collect()
    }

    #[test]
    fn lines_are_read_as_strace_writes_them() {
        // /d, /d/l, x/../n, /w
        let told = read(
            "execve(\"\\x2f\\x63\\x61\\x74\", [\"\\x63\"], 0x7ffd /* 9 vars */) = 0\n\
             openat(AT_FDCWD<\\x2f\\x64>, \"\\x6c\", O_RDONLY|O_CLOEXEC) = 3<\\x2f\\x77\\x2f\\x61>\n\
             openat2(3<\\x2f\\x77>, \"\\x78\\x2f\\x2e\\x2e\\x2f\\x6e\", {flags=O_WRONLY, resolve=0}, 24) = -1 ENOENT (No such file or directory)\n\
             chdir(\"\\x2f\\x77\") = 0\n\
             unlink(\"\\x61\") = 0\n\
             rename(\"\\x61\", \"\\x2f\\x62\") = -1 EXDEV (Invalid cross-device link)\n\
             newfstatat(3<\\x2f\\x77>, \"\", {st_mode=S_IFREG}, AT_EMPTY_PATH) = 0\n\
             openat2(3<\\x2f\\x77>, \"\\x2f\\x6e\", {flags=O_RDONLY, resolve=RESOLVE_IN_ROOT}, 24) = -1 ENOENT (No)\n\
             renameat2(AT_FDCWD<\\x2f\\x77>, \"\\x61\", 3<\\x2f\\x64>, \"\\x62\", 0) = 0\n\
             unlinkat(AT_FDCWD<\\x2f\\x77>, \"\\x61\", AT_REMOVEDIR) = 0\n\
             +++ exited with 0 +++\n",
        );
        let expected = [
            ("/w/a", "read", "ok"),
            ("/w/n", "write", "ENOENT"),
            ("/w/a", "unlink", "ok"),
            ("/w/a", "rename", "EXDEV"),
            ("/b", "rename", "EXDEV"),
            ("/w/n", "read", "ENOENT"),
            ("/w/a", "rename", "ok"),
            ("/d/b", "rename", "ok"),
        ];
        let expected: Vec<_> =
            expected.map(|(path, access, result)| ("cat".into(), path.into(), access, result.into())).into();
        assert_eq!(told, expected);
    }

    #[test]
    fn paths_are_made_absolute() {
        assert_eq!(absolute(b"/a/b (deleted)", b"../c/./d//"), b"/a/c/d");
        assert_eq!(absolute(b"/a", b"/../x"), b"/x");
    }
}
