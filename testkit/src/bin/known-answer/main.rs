//! Compares what `sekhmetctl` shows with traffic whose amounts, processes and ends are known.
//!
//! Runs beside a helper (`cargo xtask with-helper -- known-answer all`), prints TAP, ends with 1 on a difference.

mod asked;
mod blocked;
mod caller;
mod checker;
mod dice;
mod durable;
mod files;
mod flows;
mod killed;
mod lens;
mod pair;
mod password;
mod picture;
mod processes;
mod report;
mod stored;
mod stranger;

use std::{io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand};
use sekhmet_testkit::traffic;

use crate::{checker::Checker, report::Report};

#[derive(Parser)]
struct Arguments {
    /// Where `sekhmetctl` is; beside this program by default.
    #[arg(long, global = true)]
    ctl: Option<PathBuf>,
    /// Bytes that a TCP counter may differ by.
    #[arg(long, global = true, default_value_t = 2)]
    tcp_slack: u64,
    #[command(subcommand)]
    case: Case,
}

#[derive(Subcommand)]
enum Case {
    /// Flows over TCP and UDP, IPv4 and IPv6, loopback and a second host, and how they end.
    Flows {
        /// How many rounds with new random sizes.
        #[arg(long, default_value_t = 3)]
        rounds: u32,
    },
    /// Many processes that live a few milliseconds.
    ShortLived {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        count: usize,
    },
    /// Opens a connection, writes the truth to FILE and holds it until standard input ends.
    Hold {
        /// Where to write the truth as JSON lines.
        file: PathBuf,
    },
    /// A process and a connection that `hold` opened before the helper started.
    PreExisting {
        /// What `hold` wrote.
        file: PathBuf,
    },
    /// Run as a user without rights: own processes only, nonsense is refused, the helper stays.
    Stranger,
    /// Beside a helper in the reduced view: what polling must still tell.
    Reduced,
    /// Kills the helper and waits for the fresh snapshot of the next one.
    Killed,
    /// A process with a child, and a program, that stream to a second host: blocked, nothing arrives.
    Blocked {
        /// For how long nothing may arrive.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Kills the helper while a process with a child and a program are blocked: nothing arrives, ever.
    Durable {
        /// How often.
        #[arg(long, default_value_t = 20)]
        kills: usize,
    },
    /// The rules on a disk that is full, read-only, and damaged: what was good holds, and whoever asks is told.
    Stored,
    /// Another user blocks and unblocks: what polkit asks, and that nothing happens but what was answered.
    Asked,
    /// The same at a terminal, with a real password (`with-helper --admin`).
    Password,
    /// Opens of watched files against what strace(1) saw, changes of the list, other users, and what is reached after.
    Files,
    /// Downloads from a second host until standard input ends.
    Web,
    /// The window shows the flows that `sekhmetctl` lists.
    Picture {
        /// Where COMMAND writes its picture; the list of what it shows lies beside it.
        file: PathBuf,
        /// What draws the window.
        #[arg(last = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// On a display: the window marks and lists what programs do with watched keys, and says what came after.
    Lens {
        /// Where pictures of the window are put.
        folder: PathBuf,
        /// Size of the window.
        #[arg(long, default_value = "1280x720")]
        size: String,
        /// light or dark.
        #[arg(long, default_value = "dark")]
        theme: String,
    },
    /// (internal) counts what arrives
    #[command(hide = true)]
    Sink { listen: SocketAddr },
    /// (internal) sends for ever
    #[command(hide = true)]
    Stream {
        server: SocketAddr,
        children: u32,
        /// Milliseconds between two sends.
        #[arg(default_value_t = 20)]
        pace: u64,
        /// Go on when the parent has ended.
        #[arg(long)]
        alone: bool,
    },
    /// (internal) leaves a sender of another program behind
    #[command(hide = true)]
    Orphan { server: SocketAddr, program: PathBuf },
    /// (internal) does nothing
    #[command(hide = true)]
    Linger,
    /// (internal) two calls at once
    #[command(hide = true)]
    Twice,
    /// (internal) a web server
    #[command(hide = true)]
    Http { listen: SocketAddr },
    /// (internal) the server side of a plan
    #[command(hide = true)]
    Serve { plan: String, listen: SocketAddr },
    /// (internal) the client side of a plan
    #[command(hide = true)]
    Connect { plan: String, server: SocketAddr },
    /// (internal) connects, sends, ends
    #[command(hide = true)]
    Blip { server: SocketAddr, bytes: usize, token: String },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("known-answer: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    match &arguments.case {
        Case::Serve { plan, listen } => {
            traffic::serve(&serde_json::from_str(plan)?, *listen)?;
            Ok(true)
        }
        Case::Connect { plan, server } => {
            traffic::connect(&serde_json::from_str(plan)?, *server)?;
            Ok(true)
        }
        Case::Blip { server, bytes, .. } => {
            let mut stream = std::net::TcpStream::connect(server)?;
            stream.write_all(&vec![0x62; *bytes])?;
            Ok(true)
        }
        Case::Sink { listen } => blocked::sink(*listen).map(|()| true),
        Case::Stream { server, children, pace, alone } => {
            blocked::stream(*server, *children, Duration::from_millis(*pace), *alone).map(|()| true)
        }
        Case::Orphan { server, program } => durable::orphan(*server, program).map(|()| true),
        Case::Linger => {
            caller::linger();
            Ok(true)
        }
        Case::Twice => caller::twice().map(|()| true),
        Case::Http { listen } => picture::http(*listen).map(|()| true),
        Case::Web => {
            let _web = picture::Web::start()?;
            std::io::stdin().read_line(&mut String::new())?;
            Ok(true)
        }
        Case::Hold { file } => processes::hold(file).map(|()| true),
        case => {
            let mut report = Report::default();
            let checker = Checker { ctl: ctl_path(arguments)?, tcp_slack: arguments.tcp_slack };
            match case {
                Case::Flows { rounds } => flows::flows(&checker, *rounds, &mut report)?,
                Case::ShortLived { count } => processes::short_lived(&checker, *count, &mut report)?,
                Case::PreExisting { file } => processes::pre_existing(&checker, file, &mut report)?,
                Case::Picture { file, command } => picture::picture(&checker, file, command, &mut report)?,
                Case::Lens { folder, size, theme } => {
                    lens::lens(&checker, folder, size, theme, &mut report)?;
                }
                Case::Reduced => flows::reduced(&checker, &mut report)?,
                Case::Killed => killed::killed(&checker, &mut report)?,
                Case::Blocked { seconds } => blocked::blocked(&checker, *seconds, &mut report)?,
                Case::Durable { kills } => durable::durable(&checker, *kills, &mut report)?,
                Case::Files => files::files(&checker, &mut report)?,
                Case::Stored => stored::stored(&checker, &mut report)?,
                Case::Asked => asked::asked(&checker, &mut report)?,
                Case::Password => password::password(&checker, &mut report)?,
                Case::Stranger => stranger::stranger(&checker, &mut report)?,
                _ => {}
            }
            report.close()
        }
    }
}

fn ctl_path(arguments: &Arguments) -> Result<PathBuf> {
    match &arguments.ctl {
        Some(path) => Ok(path.clone()),
        None => Ok(std::env::current_exe()?.with_file_name("sekhmetctl")),
    }
}
