//! Every system package that a command needs, in one table.

/// What a package is needed for. A command asks for one or more of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compiling the workspace and the eBPF object.
    Build,
    /// The window on a desktop: libraries that it opens at run time.
    Window,
    /// A helper on a private bus with a real polkit.
    Bus,
    /// The window on a virtual display.
    Screenshot,
    /// Network namespaces and traffic of the tests.
    Test,
    /// Distribution kernels in a virtual machine.
    Vm,
    /// Traffic of `bench`.
    Bench,
    /// Other programs beside which `bench --peers` measures.
    Peers,
}

/// What shows that a need is met, besides the package being installed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Proof {
    /// This program can be found, whoever installed it.
    Program(&'static str),
    /// This path exists.
    Path(&'static str),
    /// A shared library of this name is known to the loader.
    Library(&'static str),
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Need {
    /// Package names, the preferred one first; distributions and releases differ.
    pub packages: &'static [&'static str],
    /// What shows that it is there already.
    pub proof: Proof,
    /// Who needs it.
    pub purposes: &'static [Purpose],
}

const fn need(packages: &'static [&'static str], proof: Proof, purposes: &'static [Purpose]) -> Need {
    Need { packages, proof, purposes }
}

use Proof::{Library, Path, Program};
use Purpose::{Bench, Build, Bus, Peers, Screenshot, Test, Vm, Window};

/// The table. The compiler and LLVM for eBPF are chosen in `setup::bpf_tools`, because their names carry versions.
pub(crate) const NEEDS: &[Need] = &[
    need(&["gcc"], Program("cc"), &[Build]),
    need(&["libc6-dev"], Path("/usr/include/stdio.h"), &[Build]),
    // The runtime of the fuzz targets is C++.
    need(&["g++"], Program("c++"), &[Test]),
    need(&["util-linux"], Program("unshare"), &[Bus, Test]),
    need(&["dbus-daemon", "dbus"], Program("dbus-daemon"), &[Bus, Test]),
    need(&["dbus-bin", "dbus"], Program("dbus-send"), &[Bus, Test]),
    need(&["polkitd", "policykit-1"], Path("/usr/lib/polkit-1/polkitd"), &[Bus, Test]),
    need(&["iproute2"], Program("ip"), &[Test]),
    // The helper opens it at run time; without it nothing can be blocked.
    need(&["libnftables1"], Library("libnftables.so.1"), &[Bus, Test]),
    need(&["nftables"], Program("nft"), &[Test]),
    need(&["curl"], Program("curl"), &[Test, Screenshot]),
    // winit, glutin and xkbcommon open these with dlopen, so no package dependency brings them.
    need(&["libx11-6"], Library("libX11.so.6"), &[Window, Screenshot]),
    need(&["libx11-xcb1"], Library("libX11-xcb.so.1"), &[Window, Screenshot]),
    need(&["libxcursor1"], Library("libXcursor.so.1"), &[Window, Screenshot]),
    need(&["libxi6"], Library("libXi.so.6"), &[Window, Screenshot]),
    need(&["libxkbcommon0"], Library("libxkbcommon.so.0"), &[Window, Screenshot]),
    need(&["libxkbcommon-x11-0"], Library("libxkbcommon-x11.so.0"), &[Window, Screenshot]),
    need(&["libwayland-client0"], Library("libwayland-client.so.0"), &[Window]),
    need(&["libwayland-egl1"], Library("libwayland-egl.so.1"), &[Window]),
    need(&["libegl1"], Library("libEGL.so.1"), &[Window, Screenshot]),
    need(&["libgl1"], Library("libGL.so.1"), &[Window, Screenshot]),
    need(&["libgl1-mesa-dri"], Path("/usr/lib/*/dri/swrast_dri.so"), &[Window, Screenshot]),
    need(&["xvfb"], Program("Xvfb"), &[Screenshot]),
    need(&["openbox"], Program("openbox"), &[Screenshot]),
    need(&["xdotool"], Program("xdotool"), &[Test]),
    need(&["imagemagick"], Program("convert"), &[Test]),
    need(&["qemu-system-x86"], Program("qemu-system-x86_64"), &[Vm]),
    // Newer kernel packages have compressed modules.
    need(&["xz-utils"], Program("xz"), &[Vm]),
    need(&["iperf3"], Program("iperf3"), &[Bench]),
    need(&["libbpf-tools"], Program("opensnoop"), &[Peers]),
    need(&["systemd"], Program("systemd-analyze"), &[Test]),
    need(&["desktop-file-utils"], Program("desktop-file-validate"), &[Test]),
    need(&["appstream"], Program("appstreamcli"), &[Test]),
    need(&["libxml2-utils"], Program("xmllint"), &[Test]),
    need(&["python3"], Program("python3"), &[Test]),
    need(&["strace"], Program("strace"), &[Test]),
    need(&["openssh-client"], Program("ssh-keygen"), &[Test]),
    need(&["python3-pip"], Program("pip3"), &[Test]),
];

/// The lines that serve any of `purposes`, in the table's order.
pub(crate) fn needs_for(purposes: &[Purpose]) -> impl Iterator<Item = &'static Need> {
    NEEDS.iter().filter(move |need| need.purposes.iter().any(|purpose| purposes.contains(purpose)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_package_is_named_once() {
        let mut seen = BTreeSet::new();
        let twice: Vec<_> =
            NEEDS.iter().map(|need| need.packages[0]).filter(|name| !seen.insert(*name)).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
