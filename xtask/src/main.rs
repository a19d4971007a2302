//! The project's commands: set-up, build, run, test, measure.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod boot;
mod bpf;
mod build;
mod display;
mod fuzz;
mod install;
mod paths;
mod run;
mod setup;
mod shell;
mod test;
mod vm;
mod with_helper;

use setup::Purpose;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Set-up, build, run, test and bench of Sekhmet"
)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building, running and testing need
    Setup {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Build the eBPF objects into target/bpf
    Bpf {
        /// Do not ask before installing
        #[arg(long)]
        yes: bool,
    },
    /// Build target/release/{sekhmet,sekhmetctl,sekhmet-helper}
    Build {
        /// Do not ask before installing
        #[arg(long)]
        yes: bool,
    },
    /// Set up, build, start the helper and open the window
    Run {
        /// Do not ask before installing
        #[arg(long)]
        yes: bool,
        /// Draw on a virtual display, write a picture, and end
        #[arg(long, value_name = "FILE")]
        screenshot: Option<PathBuf>,
        /// How long to watch before the picture is taken
        #[arg(long, value_name = "SECONDS", default_value_t = 8)]
        after: u32,
        /// Use debug builds
        #[arg(long)]
        debug: bool,
    },
    /// Run every check and every test
    Test {
        /// Do not ask before installing
        #[arg(long)]
        yes: bool,
        /// The inner loop: no virtual machine, no window
        #[arg(long)]
        fast: bool,
        /// Only the parts whose names contain this
        #[arg(long, value_name = "TEXT")]
        part: Option<String>,
        /// What takes hours instead, or those of its parts whose names contain this
        #[arg(long, value_name = "PART", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["fast", "part"])]
        long: Option<String>,
    },
    /// Place programs, unit, bus policy, polkit actions, desktop entry and icons on the system
    Install {
        #[command(flatten)]
        options: install::Options,
    },
    /// Remove exactly what an installation placed
    Uninstall {
        #[command(flatten)]
        target: install::Target,
        /// Remove the user sekhmet and what the helper stored as well
        #[arg(long, conflicts_with = "destdir")]
        purge: bool,
    },
    /// Run COMMAND beside the real helper on a private bus with a real polkit
    WithHelper {
        #[command(flatten)]
        options: with_helper::Options,
        /// What to run
        #[arg(last = true, required = true, value_name = "COMMAND")]
        argv: Vec<OsString>,
    },
    /// Run COMMAND on a throw-away copy of this machine, booted with its own systemd
    Booted {
        /// What to run
        #[arg(last = true, required = true, value_name = "COMMAND")]
        argv: Vec<OsString>,
    },
    /// Run COMMAND on a virtual display
    OnDisplay {
        /// What to run
        #[arg(last = true, required = true, value_name = "COMMAND")]
        argv: Vec<OsString>,
    },
    /// Measure, print a table with ratios and limits, write target/bench/NAME.json
    Bench {
        /// One benchmark: spine, costs, block, files [usual: spine]
        name: Option<String>,
        /// Beside other programs that do the same, where there are some
        #[arg(long)]
        peers: bool,
        /// Do not ask before installing
        #[arg(long)]
        yes: bool,
    },
    /// Feed random input to the parsers of foreign bytes
    Fuzz {
        /// Only this target
        target: Option<String>,
        /// How long each target runs
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// How many inputs each target gets instead
        #[arg(long, conflicts_with = "seconds")]
        inputs: Option<u64>,
    },
    /// Boot distribution kernels and run the kernel suite in them
    Vm {
        /// Kernel series, such as 6.1; may be given more than once
        #[arg(long, value_name = "VERSION", default_values_t = ["6.1", "6.12"].map(String::from))]
        kernel: Vec<String>,
        /// Run this executable instead of the kernel suite
        #[arg(long, value_name = "FILE")]
        suite: Option<PathBuf>,
        /// Do not ask before installing
        #[arg(long)]
        yes: bool,
    },
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            shell::say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn execute(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup { yes } => {
            let all = [
                Purpose::Build,
                Purpose::Window,
                Purpose::Bus,
                Purpose::Screenshot,
                Purpose::Test,
                Purpose::Vm,
                Purpose::Bench,
            ];
            setup::ensure(&all, yes)?;
            shell::say("everything is there");
        }
        Task::Bpf { yes } => {
            setup::ensure(&[Purpose::Build], yes)?;
            bpf::build()?;
        }
        Task::Build { yes } => {
            setup::ensure(&[Purpose::Build], yes)?;
            let folder = build::all(false)?;
            shell::say(format!("built into {}", folder.display()));
        }
        Task::Run { yes, screenshot, after, debug } => {
            run::run(&run::Options { yes, screenshot, seconds: after, is_debug: debug })?;
        }
        Task::Test { yes, fast, part, long } => {
            let extent = match long {
                Some(_) => test::Extent::Long,
                None if fast => test::Extent::Fast,
                None => test::Extent::Whole,
            };
            test::run(extent, long.or(part).as_deref(), yes)?;
        }
        Task::Bench { name, peers, yes } => bench::run(name.as_deref(), peers, yes)?,
        Task::Fuzz { target, seconds, inputs } => {
            setup::ensure(&[Purpose::Build], false)?;
            let effort = inputs.map_or(fuzz::Effort::Seconds(seconds), fuzz::Effort::Inputs);
            fuzz::run(target.as_deref(), effort)?;
        }
        Task::Install { options } => install::install(&options)?,
        Task::Uninstall { target, purge } => install::uninstall(&target, purge)?,
        Task::WithHelper { options, argv } => return with_helper::run(&options, argv).map(ExitCode::from),
        Task::Booted { argv } => {
            return boot::run(&argv).map(with_helper::exit_code).map(ExitCode::from);
        }
        Task::OnDisplay { argv } => {
            return display::run(&argv).map(with_helper::exit_code).map(ExitCode::from);
        }
        Task::Vm { kernel, suite, yes } => {
            setup::ensure(&[Purpose::Build, Purpose::Vm], yes)?;
            let guest = vm::Guest::build(suite)?;
            let mut result = Ok(());
            // Each is tried: what fails on one says nothing of the others.
            for series in kernel {
                if let Err(error) = vm::run(&series, &guest) {
                    shell::say(format!("{error:#}"));
                    result = Err(error);
                }
            }
            result?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
