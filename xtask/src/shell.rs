//! Running other programs: one way to start them, with the command line in every error.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::Builder;

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// Tells the person what happens now. Progress goes to standard error; standard output is for results.
pub(crate) fn say(text: impl AsRef<str>) {
    eprintln!("xtask: {}", text.as_ref());
}

/// Prints a result line on standard output. A closed pipe is not an error worth a panic.
pub(crate) fn result_line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()).is_err() {
        eprintln!("{}", text.as_ref());
    }
}

/// The command as one would type it, for messages.
pub(crate) fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        let arg = arg.to_string_lossy();
        let quote = arg.is_empty() || arg.contains([' ', '"', '\'', '\n', '$', ';', '|', '&']);
        let _infallible = if quote { write!(line, " {arg:?}") } else { write!(line, " {arg}") };
    }
    line
}

/// Runs to the end with the terminal's own input and output.
///
/// # Errors
/// When the program cannot be started or does not end with status 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs to the end and returns standard output as text (invalid UTF-8 replaced).
///
/// # Errors
/// When the program cannot be started or does not end with status 0; its standard error is in the message.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        bail!("`{}` failed: {}\n{}", shown(command), out.status, why.trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Runs to the end, shows what the program prints as it comes, and also returns it.
///
/// # Errors
/// When the program cannot be started or its output cannot be read.
pub(crate) fn run_and_read(command: &mut Command) -> Result<(ExitStatus, String)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let second = Builder::new().name("stderr".into()).spawn(move || copy_lines(stderr))?;
    let mut text = copy_lines(stdout);
    let status = child.wait()?;
    text += &second.join().unwrap_or_default();
    Ok((status, text))
}

fn copy_lines(from: Option<impl Read>) -> String {
    let mut text = String::new();
    let Some(from) = from else { return text };
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let shown = String::from_utf8_lossy(&line);
        eprint!("{shown}");
        text += &shown;
        line.clear();
    }
    text
}

/// A line without the escape sequences that colour a terminal or clear it.
pub(crate) fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            // A sequence ends with its letter.
            for char in chars.by_ref() {
                if char.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(char);
        }
    }
    plain
}

/// The outer cargo, started in the clone.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    // What `cargo run` set for xtask itself must not reach another package's build script or test.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text == "CARGO_MANIFEST_DIR" || text == "CARGO_MANIFEST_PATH" {
            command.env_remove(&name);
        }
    }
    command
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that will run as root: directly, or through sudo.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("--").arg(program);
    command
}

/// Whether `as_root` can work without a question: root, or sudo that needs no password now.
pub(crate) fn can_become_root() -> bool {
    is_root()
        || (find("sudo").is_some()
            && Command::new("sudo")
                .args(["-n", "true"])
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success()))
}

/// Finds a program on `PATH` or in the folders for administrators, which users' `PATH`s often lack.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_carry_the_command_line() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c \"echo why >&2; exit 3\""), "{error}");
        assert!(error.contains("exit status: 3") && error.ends_with("why"), "{error}");
    }

    #[test]
    fn finds_programs_only_where_they_can_be_executed() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-here").is_none());
    }
}
