//! A second host on this machine: a network namespace behind a veth pair, gone when dropped.

use std::{
    net::IpAddr,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// A network namespace with one interface towards this one.
pub struct Peer {
    name: String,
    link: String,
}

impl Peer {
    /// This side's addresses (RFC 5737 and RFC 3849 documentation ranges).
    pub const HERE: [&str; 2] = ["198.51.100.1", "2001:db8:51::1"];
    /// The namespace's addresses.
    pub const THERE: [&str; 2] = ["198.51.100.2", "2001:db8:51::2"];

    /// Makes the namespace, the pair and the addresses. Needs root and iproute2.
    ///
    /// # Errors
    /// If `ip` is missing or refuses.
    pub fn create() -> Result<Self> {
        let tag = std::process::id() % 100_000;
        let peer = Self { name: format!("sekhmet-{tag}"), link: format!("skm{tag}") };
        let (name, link) = (peer.name.as_str(), peer.link.as_str());
        ip(&["netns", "add", name])?;
        ip(&["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        for (address, prefix) in Self::HERE.iter().zip(["24", "64"]) {
            ip(&["addr", "add", &format!("{address}/{prefix}"), "dev", link, "nodad"])
                .or_else(|_| ip(&["addr", "add", &format!("{address}/{prefix}"), "dev", link]))?;
        }
        for (address, prefix) in Self::THERE.iter().zip(["24", "64"]) {
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
    /// Never for the constants above.
    pub fn address(&self, v6: bool) -> Result<IpAddr> {
        Self::THERE[usize::from(v6)].parse().context("peer address")
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
