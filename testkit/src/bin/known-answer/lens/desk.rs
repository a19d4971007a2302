//! The window on a display: what it shows and says, read from the list that it keeps, and a pointer that clicks there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// A window without graphics hardware on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running window. Ends when dropped.
pub(super) struct Desk {
    window: Child,
    dump: PathBuf,
    id: String,
}

impl Desk {
    /// Opens the window and waits until it shows something.
    pub(super) fn open(program: &Path, folder: &Path, arguments: &[&str]) -> Result<Self> {
        let dump = folder.join("window.json");
        let mut command = Command::new(program);
        command.arg("--dump").arg(&dump).args(arguments).stdin(Stdio::null());
        let window = command.spawn().with_context(|| program.display().to_string())?;
        let mut desk = Self { window, dump, id: String::new() };
        let deadline = Instant::now() + PATIENCE;
        while desk.read().is_err() {
            ensure!(desk.window.try_wait()?.is_none(), "the window has ended");
            ensure!(Instant::now() < deadline, "the window shows nothing");
            thread::sleep(Duration::from_millis(100));
        }
        // It draws before it is there for everybody.
        desk.id = loop {
            match xdotool(&["search", "--onlyvisible", "--name", "^Sekhmet$"]) {
                Ok(found) if !found.trim().is_empty() => {
                    break found.lines().next().unwrap_or_default().to_owned();
                }
                Ok(_) | Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(100)),
                Ok(_) => bail!("no window of this name"),
                Err(error) => return Err(error),
            }
        };
        Ok(desk)
    }

    /// What is shown now.
    pub(super) fn read(&self) -> Result<Value, String> {
        let text = fs::read(&self.dump).map_err(|e| e.to_string())?;
        serde_json::from_slice(&text).map_err(|e| e.to_string())
    }

    /// Waits until something that is said holds all these parts, and gives it.
    pub(super) fn hear(&self, parts: &[&str]) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let dump = self.read()?;
            let said = dump["said"].as_array().cloned().unwrap_or_default();
            let fits = |said: &&Value| {
                said["text"].as_str().is_some_and(|text| parts.iter().all(|part| text.contains(part)))
            };
            match said.iter().find(fits) {
                Some(found) => return Ok(found.clone()),
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(150)),
                None => {
                    let all: Vec<&str> = said.iter().filter_map(|said| said["text"].as_str()).collect();
                    return Err(format!("nothing says {parts:?} among:\n{}", all.join("\n")));
                }
            }
        }
    }

    /// Clicks on what says all these parts.
    pub(super) fn click(&self, parts: &[&str]) -> Result<(), String> {
        let found = self.hear(parts)?;
        let side = |i: usize| found["place"][i].as_f64().unwrap_or_default();
        let [x, y] = [(side(0) + side(2)) / 2.0, (side(1) + side(3)) / 2.0].map(|at| format!("{at:.0}"));
        xdotool(&["mousemove", "--window", &self.id, &x, &y]).map_err(|e| e.to_string())?;
        // What is pointed at is found out with the next frame.
        thread::sleep(Duration::from_millis(300));
        xdotool(&["click", "1"]).map(drop).map_err(|e| e.to_string())
    }

    /// Moves the pointer to where it holds and marks nothing, and takes a picture.
    pub(super) fn picture(&self, file: &Path) -> Result<()> {
        let bottom = self.read().ok().and_then(|dump| dump["size"][1].as_u64()).unwrap_or_default();
        xdotool(&["mousemove", "--window", &self.id, "4", &bottom.saturating_sub(8).to_string()])?;
        thread::sleep(Duration::from_millis(1500));
        let mut import = Command::new("import");
        import.args(["-window", &self.id]).arg(file);
        let status = import.stdin(Stdio::null()).status().context("ImageMagick's import")?;
        ensure!(status.success(), "import: {status}");
        Ok(())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Err(error) = self.window.kill().and_then(|()| self.window.wait().map(|_| ())) {
            eprintln!("known-answer: the window: {error}");
        }
    }
}

fn xdotool(arguments: &[&str]) -> Result<String> {
    let output = Command::new("xdotool").args(arguments).stdin(Stdio::null()).output().context("xdotool")?;
    ensure!(
        output.status.success(),
        "xdotool {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
