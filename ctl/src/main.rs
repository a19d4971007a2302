//! `sekhmetctl`: what the helper sees, in a terminal or as JSON lines.

mod arguments;
mod output;
mod session;
mod show;

use std::{io, process::ExitCode};

use clap::Parser;

use crate::{
    arguments::{Arguments, What},
    session::Failure,
};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let common = &arguments.common;
    match &arguments.what {
        What::Status => show::status::status(common),
        What::Coverage => show::status::coverage(common),
        What::Ps => show::list::ps(common),
        What::Flows => show::list::flows(common),
        What::Watch(watch) => show::watch::watch(common, watch),
        What::Top(top) => show::top::top(common, top),
        What::Record(record) => show::record::record(common, record),
    }
}

/// Only what goes wrong inside, and only for those who ask: `SEKHMET_LOG=debug`.
fn start_log() {
    let filter = std::env::var("SEKHMET_LOG").unwrap_or_else(|_| "off".into());
    let Ok(filter) = tracing_subscriber::EnvFilter::try_new(filter) else { return };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}
