//! `cargo xtask on-display`: one command on a virtual display with a window manager.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// A display large enough for the window's full layout.
const SCREEN: &str = "1600x1000x24";

/// Runs `argv` with DISPLAY set to a new virtual display, which ends with it.
///
/// # Errors
/// When Xvfb, the window manager or the command cannot be started.
pub(crate) fn run(argv: &[OsString]) -> Result<ExitStatus> {
    let (program, arguments) = argv.split_first().context("no COMMAND was given")?;
    let log = tempfile::tempfile().context("cannot make a file for the display's log")?;
    // The server picks a free number itself and writes it to the descriptor that it is given.
    let mut server = Command::new("Xvfb")
        .args(["-displayfd", "1", "-screen", "0", SCREEN, "-nolisten", "tcp", "-noreset"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone()?)
        .spawn()
        .context("cannot start Xvfb: run `cargo xtask setup`")?;
    let outcome = on_server(server.stdout.take(), program, arguments, &log);
    server.kill().context("cannot stop Xvfb")?;
    server.wait()?;
    outcome
}

fn on_server(
    output: Option<std::process::ChildStdout>,
    program: &OsString,
    arguments: &[OsString],
    log: &File,
) -> Result<ExitStatus> {
    let mut number = String::new();
    let mut reader = BufReader::new(output.context("Xvfb's output was asked for")?);
    reader.read_line(&mut number).context("cannot read the display's number")?;
    if number.trim().parse::<u32>().is_err() {
        bail!("Xvfb did not start");
    }
    let display = format!(":{}", number.trim());
    // Without a window manager a window gets neither focus nor its wished size.
    let mut manager = Command::new("openbox")
        .env("DISPLAY", &display)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
        .context("cannot start openbox: run `cargo xtask setup`")?;
    std::thread::sleep(Duration::from_millis(300));
    let status = Command::new(program)
        .args(arguments)
        .env("DISPLAY", &display)
        .env_remove("WAYLAND_DISPLAY")
        .env("LIBGL_ALWAYS_SOFTWARE", "1")
        .status()
        .with_context(|| format!("cannot start {}", program.to_string_lossy()));
    manager.kill().context("cannot stop openbox")?;
    manager.wait()?;
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_needed() {
        assert!(run(&[]).is_err());
    }
}
