//! A server and a client in processes of their own, held until the test lets them go.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use sekhmet_testkit::{
    namespace::Peer,
    traffic::{Ending, Plan, Truth},
};

/// One process of a pair, held by its standard input.
struct Half {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Half {
    fn start(mut command: Command) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting a peer")?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, input, output })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "a peer ended without a word");
        Ok(line.trim().to_owned())
    }

    fn truth(&mut self) -> Result<Truth> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    /// Lets the process end and waits for it.
    fn release(mut self) -> Result<()> {
        drop(self.input.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "a peer failed: {status}");
        Ok(())
    }
}

/// A server and its client, both having done their part.
pub(crate) struct Pair {
    server: Half,
    client: Half,
    pub(crate) truths: [Truth; 2],
}

impl Pair {
    pub(crate) fn run(plan: &Plan, listen: SocketAddr, there: Option<&Peer>) -> Result<Self> {
        let program = std::env::current_exe()?;
        let text = serde_json::to_string(plan)?;
        let mut serve = match there {
            Some(peer) => peer.command(&program),
            None => Command::new(&program),
        };
        serve.args(["serve", &text, &listen.to_string()]);
        let mut server = Half::start(serve)?;
        let address = server.line()?;
        let mut connect = Command::new(&program);
        connect.args(["connect", &text, &address]);
        let mut client = Half::start(connect)?;
        let truths = [client.truth()?, server.truth()?];
        Ok(Self { server, client, truths })
    }

    pub(crate) fn release(self) -> Result<()> {
        let Self { mut server, client, truths } = self;
        if truths[0].ending == Ending::Close {
            // This server waits for the client's end. Without that the client must go first, so that its
            // reset does not meet a connection that the server has closed already.
            drop(server.input.take());
        }
        client.release()?;
        drop(server.input.take());
        let status = server.child.wait()?;
        ensure!(status.success(), "the server failed: {status}");
        Ok(())
    }
}
