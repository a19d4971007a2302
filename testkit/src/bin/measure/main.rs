//! Measures what the helper costs and how fast it tells; prints one JSON object. `cargo xtask bench` runs it.

mod costs;
mod helper;
mod latency;
mod load;

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use serde_json::Value;

#[derive(Parser)]
struct Arguments {
    /// Where `sekhmetctl` is; beside this program by default.
    #[arg(long, global = true)]
    ctl: Option<std::path::PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// From `connect` in a program to the line of `sekhmetctl watch`, in milliseconds.
    Latency {
        /// How many connections.
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// The helper's processor time and memory while nothing happens.
    Idle {
        /// How long to look.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// The helper's processor time under many short connections, and its balance afterwards.
    Load {
        /// Connections a second.
        #[arg(long, default_value_t = 5000)]
        rate: u64,
        /// How long.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// What programs pay: one round for each line on standard input, one JSON line for each round. Whoever writes
    /// the lines starts and stops the helper between them, so that rounds with and without it can be paired.
    Costs {
        /// How many connections in a round; of datagrams, four times as many.
        #[arg(long, default_value_t = 2_000)]
        count: u32,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let ctl = match &arguments.ctl {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("sekhmetctl"),
    };
    match arguments.what {
        What::Latency { count } => tell(&latency::latency(&ctl, count)?),
        What::Idle { seconds } => tell(&helper::idle(seconds)?),
        What::Load { rate, seconds } => tell(&load::load(&ctl, rate, seconds)?),
        What::Costs { count } => {
            for line in std::io::stdin().lines() {
                line?;
                tell(&costs::round(count)?)?;
            }
            Ok(())
        }
    }
}

fn tell(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}
