//! The helper's process: arguments, log, rights, then everything else.

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use sekhmet_common::{bus::HELPER_USER, display::escape};
use sekhmet_helper::{
    kernel::{FileSource, TracepointIds},
    rights,
    run::{self, Settings},
};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// Watches which program talks to whom, and tells clients that polkit allows.
///
/// It is started by the service manager or the message bus, as root or as the user "sekhmet". Started as
/// root it becomes "sekhmet" with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_PTRACE before anything else.
#[derive(Debug, Parser)]
#[command(name = "sekhmet-helper", version)]
struct Arguments {
    /// Leave the kernel programs out and poll instead, as on a kernel that refuses them
    #[arg(long)]
    reduced: bool,
    /// How to see opened files: best, fexit, kprobe, tracepoint or none
    #[arg(long, value_name = "SOURCE", default_value = "best")]
    file_source: FileSource,
    /// Serve on this message bus instead of the system's (for development)
    #[arg(long, value_name = "ADDRESS")]
    bus_address: Option<String>,
    /// What to log: error, warn, info, debug, trace, or a filter such as "info,sekhmet_helper::bus=debug"
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter)]
    log: String,
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(&arguments.log);
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", escape(format!("{error:#}").as_bytes()));
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Arguments) -> anyhow::Result<()> {
    // As root, which this may be for a moment yet.
    let tracepoints = TracepointIds::read();
    let rights = rights::settle(HELPER_USER)?;
    tracing::info!(%rights, "sekhmet-helper {}", env!("CARGO_PKG_VERSION"));
    if !rights.missing().is_empty() {
        tracing::warn!(missing = rights::words(rights.missing()), "some things will not be seen");
    }
    run::run(Settings {
        reduced: arguments.reduced,
        tracepoints,
        file_source: arguments.file_source,
        bus_address: arguments.bus_address,
    })?;
    Ok(())
}

/// Fields go to the journal where standard error is connected to it, lines to standard error elsewhere.
fn start_log(filter: &str) {
    let registry = tracing_subscriber::registry().with(EnvFilter::new(filter));
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let started = match journal {
        Some(journal) => registry.with(journal).try_init(),
        None => {
            let ansi = std::io::stderr().is_terminal();
            let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
            registry.with(lines.with_target(false)).try_init()
        }
    };
    debug_assert!(started.is_ok(), "the log is started once");
}
