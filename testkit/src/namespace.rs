//! A second host on this machine: a network namespace behind a veth pair, gone when dropped.

use std::{
    net::IpAddr,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// How many second hosts this machine can have at a time.
const PEERS: u8 = 64;

/// A network namespace with one interface towards this one.
pub struct Peer {
    name: String,
    link: String,
    net: u8,
}

impl Peer {
    /// Makes the namespace, the pair and the addresses. Needs root and iproute2.
    ///
    /// # Errors
    /// If `ip` is missing or refuses.
    pub fn create() -> Result<Self> {
        let tag = std::process::id() % 100_000;
        let net = free_net()?;
        let peer = Self { name: format!("sekhmet-{tag}"), link: format!("skm{tag}"), net };
        let (name, link) = (peer.name.as_str(), peer.link.as_str());
        ip(&["netns", "add", name])?;
        ip(&["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        for (address, prefix) in addresses(net, 1).iter().zip(["30", "64"]) {
            ip(&["addr", "add", &format!("{address}/{prefix}"), "dev", link, "nodad"])
                .or_else(|_| ip(&["addr", "add", &format!("{address}/{prefix}"), "dev", link]))?;
        }
        for (address, prefix) in addresses(net, 2).iter().zip(["30", "64"]) {
            ip(&["-n", name, "addr", "add", &format!("{address}/{prefix}"), "dev", "eth0", "nodad"])
                .or_else(|_| {
                    ip(&["-n", name, "addr", "add", &format!("{address}/{prefix}"), "dev", "eth0"])
                })?;
        }
        ip(&["link", "set", link, "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        Ok(peer)
    }

    /// The namespace's IPv4 or IPv6 address.
    ///
    /// # Errors
    /// Never for what [`Peer::create`] gave it.
    pub fn address(&self, v6: bool) -> Result<IpAddr> {
        addresses(self.net, 2)[usize::from(v6)].parse().context("peer address")
    }

    /// A command that runs `program` inside the namespace, in a process of its own (no wrapper stays).
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for args in [["link", "del", &self.link], ["netns", "del", &self.name]] {
            if let Err(error) = ip(&args) {
                eprintln!("left behind: {error:#}");
            }
        }
    }
}

/// One side's addresses in a small network of the documentation ranges (RFC 5737, RFC 3849).
fn addresses(net: u8, side: u8) -> [String; 2] {
    [format!("198.51.100.{}", 4 * net + side), format!("2001:db8:51:{net}::{side}")]
}

/// Tests run beside each other, and two networks with the same addresses would take each other's packets.
fn free_net() -> Result<u8> {
    let output =
        Command::new("ip").args(["-o", "addr"]).stdin(Stdio::null()).output().context("running ip")?;
    let taken = String::from_utf8_lossy(&output.stdout).into_owned();
    // From another start in each process: two that look at the same moment shall not find the same.
    let start = (std::process::id() % u32::from(PEERS)) as u8;
    let mut nets = (0..PEERS).map(|n| (start + n) % PEERS);
    let is_free = |net: &u8| !taken.contains(&format!(" {}/", addresses(*net, 1)[0]));
    nets.find(is_free).context("no free network for a second host")
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output().context("running ip")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
