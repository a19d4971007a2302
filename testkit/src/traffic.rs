//! Traffic whose amounts are known: a server and a client that write down what they really exchanged.

use std::{
    io::{BufRead, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// How long a peer waits for the other one before it gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The transport a plan uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams; each one is answered, so that none is lost unnoticed.
    Udp,
}

/// How the client ends a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// In order.
    Close,
    /// By a reset (`SO_LINGER` of zero seconds).
    Reset,
    /// Not at all while the test looks.
    Hold,
}

/// What one pair of processes shall do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Stands in both command lines, so that the right process can be recognised.
    pub token: String,
    /// Which transport.
    pub transport: Transport,
    /// Sizes in bytes of what the client sends, one write or datagram each.
    pub up: Vec<usize>,
    /// Sizes in bytes of what the server sends. For UDP as many as `up`: one answer to each datagram.
    pub down: Vec<usize>,
    /// How it ends.
    pub ending: Ending,
}

/// What one side of a pair did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// From the plan.
    pub token: String,
    /// The process.
    pub pid: u32,
    /// Which transport.
    pub transport: Transport,
    /// `inbound` for the server, `outbound` for the client; empty where it is not compared.
    pub direction: String,
    /// This side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// Bytes handed to the kernel.
    pub tx_bytes: u64,
    /// Bytes read from the kernel.
    pub rx_bytes: u64,
    /// From the plan.
    pub ending: Ending,
}

/// Serves one client of `plan` on `listen`: prints the address it listens on, exchanges, prints the
/// [`Truth`] as JSON, waits for the end of standard input, ends.
///
/// # Errors
/// If the exchange does not go as planned.
pub fn serve(plan: &Plan, listen: SocketAddr) -> Result<()> {
    match plan.transport {
        Transport::Tcp => {
            let listener = TcpListener::bind(listen).context("bind")?;
            say(&listener.local_addr()?.to_string())?;
            let (stream, _) = listener.accept().context("accept")?;
            drop(listener);
            let truth = exchange_tcp(plan, &stream, Side::Server)?;
            finish(&truth)?;
            if plan.ending == Ending::Close {
                // Reading to the end makes the client close first and in order.
                let rest = (&stream).read(&mut [0; 1]).context("waiting for the client's end")?;
                anyhow::ensure!(rest == 0, "more bytes than planned");
            }
            Ok(())
        }
        Transport::Udp => {
            let socket = UdpSocket::bind(listen).context("bind")?;
            socket.set_read_timeout(Some(PATIENCE))?;
            say(&socket.local_addr()?.to_string())?;
            let (mut tx, mut rx, mut peer) = (0, 0, None);
            let mut buffer = vec![0; 65_536];
            for (up, down) in plan.up.iter().zip(&plan.down) {
                let (got, from) = socket.recv_from(&mut buffer).context("receive")?;
                anyhow::ensure!(got == *up, "datagram of {got} bytes, planned {up}");
                tx += socket.send_to(&vec![0x64; *down], from).context("answer")?;
                rx += got;
                peer = Some(from);
            }
            let remote = peer.context("nothing was planned")?;
            // An unspecified address is filled in from the path that the answers took.
            let local = local_towards(&socket, remote)?;
            finish(&truth(plan, Side::Server, local, remote, tx, rx))
        }
    }
}

/// The client's part of `plan` against the server at `server`; prints, waits and ends like [`serve`].
///
/// # Errors
/// If the exchange does not go as planned.
pub fn connect(plan: &Plan, server: SocketAddr) -> Result<()> {
    match plan.transport {
        Transport::Tcp => {
            let stream = TcpStream::connect_timeout(&server, PATIENCE).context("connect")?;
            let truth = exchange_tcp(plan, &stream, Side::Client)?;
            if plan.ending == Ending::Reset {
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))
                    .context("SO_LINGER")?;
            }
            finish(&truth)
        }
        Transport::Udp => {
            let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
            let socket = UdpSocket::bind(any).context("bind")?;
            socket.set_read_timeout(Some(PATIENCE))?;
            let (mut tx, mut rx) = (0, 0);
            let mut buffer = vec![0; 65_536];
            for (up, down) in plan.up.iter().zip(&plan.down) {
                tx += socket.send_to(&vec![0x75; *up], server).context("send")?;
                let got = socket.recv(&mut buffer).context("answer")?;
                anyhow::ensure!(got == *down, "answer of {got} bytes, planned {down}");
                rx += got;
            }
            let local = local_towards(&socket, server)?;
            finish(&truth(plan, Side::Client, local, server, tx, rx))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

fn exchange_tcp(plan: &Plan, mut stream: &TcpStream, side: Side) -> Result<Truth> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let (send, receive) = match side {
        Side::Client => (&plan.up, &plan.down),
        Side::Server => (&plan.down, &plan.up),
    };
    let expected: usize = receive.iter().sum();
    let reader = stream.try_clone()?;
    // Both directions at once: a full send buffer on both sides must not stop the pair.
    let receiving = std::thread::Builder::new().name("receive".into()).spawn(move || -> Result<usize> {
        let mut left = expected;
        let mut buffer = vec![0; 65_536];
        while left > 0 {
            let room = left.min(buffer.len());
            match (&reader).read(&mut buffer[..room])? {
                0 => bail!("the other side ended {left} bytes early"),
                got => left -= got,
            }
        }
        Ok(expected)
    })?;
    let mut tx = 0;
    for size in send {
        stream.write_all(&vec![0x75; *size]).context("send")?;
        tx += size;
    }
    let rx = match receiving.join() {
        Ok(received) => received?,
        Err(_) => bail!("the receiving thread panicked"),
    };
    Ok(truth(plan, side, stream.local_addr()?, stream.peer_addr()?, tx, rx))
}

fn truth(plan: &Plan, side: Side, local: SocketAddr, remote: SocketAddr, tx: usize, rx: usize) -> Truth {
    Truth {
        token: plan.token.clone(),
        pid: std::process::id(),
        transport: plan.transport,
        direction: if side == Side::Client { "outbound" } else { "inbound" }.into(),
        local,
        remote,
        tx_bytes: tx as u64,
        rx_bytes: rx as u64,
        ending: plan.ending,
    }
}

/// The address that the kernel takes for packets of `socket` to `remote`.
fn local_towards(socket: &UdpSocket, remote: SocketAddr) -> Result<SocketAddr> {
    let bound = socket.local_addr()?;
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    let any: SocketAddr = if remote.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let probe = UdpSocket::bind(any)?;
    // Connecting a datagram socket sends nothing; it only looks up the route.
    probe.connect(remote)?;
    Ok(SocketAddr::new(probe.local_addr()?.ip(), bound.port()))
}

fn finish(truth: &Truth) -> Result<()> {
    say(&serde_json::to_string(truth)?)?;
    wait_for_word()
}

/// Waits until the parent closes standard input or writes a line.
fn wait_for_word() -> Result<()> {
    std::io::stdin().lock().read_line(&mut String::new()).context("standard input")?;
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush().context("standard output")
}
