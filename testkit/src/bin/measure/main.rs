//! Measures what the helper costs and how fast it tells; prints one JSON object. `cargo xtask bench` runs it.

mod block;
mod costs;
mod files;
mod helper;
mod latency;
mod load;
mod rules;

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use sekhmet_testkit::namespace::Peer;
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
    /// What the kernel's verifier walked through for each of the helper's programs, in instructions.
    Programs,
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
    /// From a call to the silence of the process that it blocks, and what a thousand rules cost the others.
    Block {
        /// How often a process is blocked.
        #[arg(long, default_value_t = 100)]
        rounds: usize,
        /// How many connections it has.
        #[arg(long, default_value_t = 100)]
        sockets: usize,
        /// How many rules there are besides.
        #[arg(long, default_value_t = sekhmet_common::rule::RULES_MAX)]
        rules: usize,
        /// How often rounds with and without those are compared.
        #[arg(long, default_value_t = 5)]
        pairs: usize,
    },
    /// Many opens, some of them of watched files: whether each of those is told, and the helper's processor time.
    Files {
        /// Opens a second of what nobody watches.
        #[arg(long, default_value_t = 10_000)]
        plain: u64,
        /// Opens a second of watched files.
        #[arg(long, default_value_t = 100)]
        watched: u64,
        /// How long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Another program that reports opens, `opensnoop` of libbpf-tools, to run at the same time.
        #[arg(long)]
        peer: Option<std::path::PathBuf>,
    },
    /// The helper started anew with many entries in its watchlist: time, memory, and how soon a change is in force.
    Entries {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        count: usize,
    },
    /// What programs pay for an open and for any other call: one round for each line on standard input, as `costs`.
    Opens {
        /// How many opens in a round; of other calls, twenty times as many.
        #[arg(long, default_value_t = 20_000)]
        count: u32,
    },
    /// The kernel's own clock over the helper's programs, while files are opened that nobody watches.
    Opened {
        /// How many opens.
        #[arg(long, default_value_t = 100_000)]
        count: u32,
    },
    /// (internal) the second host of `block`
    #[command(hide = true)]
    Sink { listen: std::net::SocketAddr },
    /// (internal) the process that is blocked
    #[command(hide = true)]
    Sender {
        server: std::net::SocketAddr,
        #[arg(long)]
        count: usize,
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
        What::Programs => tell(&helper::programs()?),
        What::Latency { count } => tell(&latency::latency(&ctl, count)?),
        What::Idle { seconds } => tell(&helper::idle(seconds)?),
        What::Load { rate, seconds } => tell(&load::load(&ctl, rate, seconds)?),
        What::Block { rounds, sockets, rules: count, pairs } => {
            let (peer, rules) = (Peer::create()?, rules::Rules::open()?);
            let mut told = block::block(&ctl, &rules, &peer, rounds, sockets)?;
            told["table_ms"] = rules::table(&rules, &peer, 15)?;
            told["thousand"] = rules::thousand(&rules, &peer, pairs, count)?;
            tell(&told)
        }
        What::Sink { listen } => block::sink(listen),
        What::Sender { server, count } => block::sender(server, count),
        What::Files { plain, watched, seconds, ref peer } => {
            tell(&files::load(&ctl, files::Rates { plain, watched }, seconds, peer.as_deref())?)
        }
        What::Entries { count } => tell(&files::entries(&ctl, count)?),
        What::Opened { count } => tell(&helper::running(|| files::round(count).map(drop))?),
        What::Opens { count } => rounds(|| files::round(count)),
        What::Costs { count } => rounds(|| costs::round(count)),
    }
}

/// One round for each line.
fn rounds(round: impl Fn() -> Result<Value>) -> Result<()> {
    for line in std::io::stdin().lines() {
        line?;
        tell(&round()?)?;
    }
    Ok(())
}

fn tell(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}
