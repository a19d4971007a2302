//! `cargo xtask vm`: boots a distribution kernel under QEMU and runs the kernel suite in it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

mod archive;
mod cpio;
mod kernel;
mod modules;
pub(crate) mod tap;

use crate::{bpf, paths, shell};
use cpio::Archive;
use kernel::Kernel;
use tap::Report;

/// Boot to power-off takes a minute where nothing else runs; a busy two-core machine may need ten times that.
const TIME_LIMIT: Duration = Duration::from_secs(900);

/// The executables of one run.
pub(crate) struct Guest {
    init: PathBuf,
    suite: PathBuf,
}

impl Guest {
    /// Builds the init, and the kernel suite unless another `suite` is given.
    ///
    /// # Errors
    /// When this is another architecture or the build fails.
    pub(crate) fn build(suite: Option<PathBuf>) -> Result<Self> {
        if std::env::consts::ARCH != "x86_64" {
            bail!("virtual machines run on x86_64 only so far");
        }
        bpf::build()?;
        let init = executable(&["build", "--workspace", "--bin", "vm-init"], "vm-init")?;
        let suite = match suite {
            Some(suite) => suite,
            None => {
                executable(&["test", "--no-run", "--workspace", "--test", "kernel_suite"], "kernel_suite")?
            }
        };
        Ok(Self { init, suite })
    }
}

/// Boots one kernel series and runs the suite.
///
/// # Errors
/// When the kernel is not to be had, the machine does not come to its end in time, or a check fails.
pub(crate) fn run(series: &str, guest: &Guest) -> Result<Report> {
    let kernel = kernel::find(series)?;
    let name = &kernel.release;
    let folder = tempfile::tempdir().context("cannot make a folder for the machine")?;
    let initramfs = folder.path().join("initramfs");
    write_initramfs(&initramfs, guest, &kernel)?;
    shell::say(format!("booting Linux {name}"));
    let began = Instant::now();
    let report = boot(&kernel.image, &initramfs)?;
    if let Some(fault) = report.fault(report.ended_with) {
        bail!("{name}: {fault}");
    }
    shell::say(format!(
        "{name}: {} checks passed, {} skipped, {:.1} s",
        report.passed,
        report.skipped,
        began.elapsed().as_secs_f64()
    ));
    Ok(report)
}

fn executable(arguments: &[&str], name: &str) -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    cargo.args(arguments).args(["--locked", "--message-format", "json-render-diagnostics"]);
    // A debug build would carry the object with log records; what is shipped is what old kernels must accept.
    cargo.env("SEKHMET_BPF_OBJECT", paths::bpf_object()).stderr(Stdio::inherit());
    let out = cargo.output().with_context(|| format!("cannot start `{}`", shell::shown(&cargo)))?;
    if !out.status.success() {
        bail!("`{}` failed: {}", shell::shown(&cargo), out.status);
    }
    let text = String::from_utf8_lossy(&out.stdout);
    executable_in(&text, name).with_context(|| format!("cargo built no executable {name}"))
}

/// The path of the executable of one target in cargo's JSON messages.
pub(crate) fn executable_in(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(
        |message| {
            let is_it = message["reason"] == "compiler-artifact" && message["target"]["name"] == name;
            is_it.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
        },
    )
}

fn write_initramfs(path: &Path, guest: &Guest, kernel: &Kernel) -> Result<()> {
    let file = fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut archive = Archive::new(std::io::BufWriter::new(file));
    for folder in ["dev", "proc", "sys", "tmp", "run", "etc", "root", "modules"] {
        archive.folder(folder)?;
    }
    // The kernel opens this one before init can mount anything.
    archive.device("dev/console", 5, 1)?;
    archive.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0::/root:/init\nsekhmet:x:990:990::/:/init\nnobody:x:65534:65534::/:/init\n",
    )?;
    archive.file("etc/group", 0o644, b"root:x:0:\nsekhmet:x:990:\nnogroup:x:65534:\n")?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    archive.file("init", 0o755, &read(&guest.init)?)?;
    archive.file("suite", 0o755, &read(&guest.suite)?)?;
    archive.file("sekhmet.bpf.o", 0o644, &read(&paths::bpf_object())?)?;
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), 0o644, &read(module)?)?;
    }
    let firewall = firewall_library();
    if firewall.is_none() {
        shell::say(format!("{FIREWALL_LIBRARY} is missing: the firewall's table will not be tested"));
    }
    add_libraries(&mut archive, &[Some(guest.init.clone()), Some(guest.suite.clone()), firewall])?;
    archive.finish().context("cannot finish the initramfs")?;
    Ok(())
}

/// The helper opens it at run time, so no executable names it.
const FIREWALL_LIBRARY: &str = "libnftables.so.1";

/// Where this machine has it, as ldconfig(8) knows it.
fn firewall_library() -> Option<PathBuf> {
    let known = shell::output(Command::new("/sbin/ldconfig").arg("-p")).ok()?;
    let line = known.lines().find(|line| line.contains(FIREWALL_LIBRARY) && line.contains("x86-64"))?;
    line.rsplit("=> ").next().map(|path| PathBuf::from(path.trim()))
}

/// Adds every shared library that these need, at the paths where this machine has them, and those of them that are
/// libraries. Linking statically instead would build every dependency a second time.
fn add_libraries<W: std::io::Write>(archive: &mut Archive<W>, roots: &[Option<PathBuf>]) -> Result<()> {
    let mut libraries = BTreeSet::new();
    for root in roots.iter().flatten() {
        let ldd = Command::new("ldd").arg(root).output().context("cannot start ldd")?;
        let text = String::from_utf8_lossy(&ldd.stdout);
        if let Some(line) = text.lines().find(|line| line.contains("not found")) {
            bail!("{}: {}", root.display(), line.trim());
        }
        libraries.extend(library_paths(&text));
        if root.to_string_lossy().contains(".so") {
            libraries.insert(root.clone());
        }
    }
    let folders: BTreeSet<PathBuf> =
        libraries.iter().flat_map(|path| path.ancestors().skip(1).map(Path::to_path_buf)).collect();
    // A path sorts behind its parents, which must come first.
    for folder in folders.iter().filter_map(|folder| folder.strip_prefix("/").ok()) {
        if folder.components().next().is_some() {
            archive.folder(&folder.to_string_lossy())?;
        }
    }
    for library in &libraries {
        let content = fs::read(library).with_context(|| format!("cannot read {}", library.display()))?;
        let name = library.strip_prefix("/").unwrap_or(library);
        archive.file(&name.to_string_lossy(), 0o755, &content)?;
    }
    Ok(())
}

/// The absolute paths that `ldd` printed: `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader.
fn library_paths(ldd: &str) -> Vec<PathBuf> {
    ldd.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

fn boot(image: &Path, initramfs: &Path) -> Result<Report> {
    // TCG by choice: nested KVM hangs in firmware on some build machines, and correctness does not need speed.
    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "1500",
            "-nographic",
            "-no-reboot",
            "-nic",
            "none",
        ])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        // The check wants timer interrupts within milliseconds, which a busy host does not give: the kernel panics.
        .args(["-append", "console=ttyS0 quiet panic=-1 no_timer_check lsm=landlock,lockdown,yama,bpf"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start qemu-system-x86_64: run `cargo xtask setup`")?;
    let output = qemu.stdout.take().context("QEMU's output was asked for")?;
    let reader = std::thread::Builder::new().name("console".into()).spawn(move || {
        let mut report = Report::default();
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            // The firmware clears the screen, without a newline before the first line that follows.
            let text = shell::without_escapes(String::from_utf8_lossy(&line).trim_end());
            eprintln!("  {text}");
            report.read_line(&text);
            line.clear();
        }
        report
    })?;
    let deadline = Instant::now() + TIME_LIMIT;
    while qemu.try_wait()?.is_none() {
        if Instant::now() > deadline {
            qemu.kill().context("cannot stop QEMU")?;
            qemu.wait()?;
            bail!("the virtual machine did not power off within {} s", TIME_LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    reader.join().map_err(|_panic| anyhow::anyhow!("the console reader failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_libraries_of_an_executable() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            library_paths(ldd),
            [PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"), PathBuf::from("/lib64/ld-linux-x86-64.so.2")]
        );
        assert!(library_paths("\tstatically linked\n").is_empty());
    }

    #[test]
    fn finds_the_executable_among_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"lib\"},\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"kernel_suite\"},\"executable\":\"/t/k-1\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable_in(messages, "kernel_suite"), Some(PathBuf::from("/t/k-1")));
        assert_eq!(executable_in(messages, "lib"), None);
    }
}
