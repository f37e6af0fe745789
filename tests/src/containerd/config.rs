// SPDX-License-Identifier: MIT OR Apache-2.0
//! containerd's configuration, and that of the CNI plugins that it calls, below one folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Release, pause::IMAGE};

/// The pods' network. No masquerading, so no iptables is needed.
const NETWORK: &str = r#"{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "mtu": 1400,
    "ipam": {
      "type": "host-local",
      "dataDir": "@DIR@/cni/leases",
      "ranges": [[{ "subnet": "10.88.0.0/24" }]],
      "routes": [{ "dst": "0.0.0.0/0" }]
    }
  }]
}
"#;

/// Of 1.x, where CRI is one plugin.
const VERSION_2: &str = r#"version = 2
root = "@DIR@/root"
state = "@DIR@/state"
disabled_plugins = [@DISABLED@]
[grpc]
address = "@DIR@/c.sock"
[ttrpc]
address = "@DIR@/t.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "@IMAGE@"
disable_apparmor = true
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "@ROOT@/usr/lib/cni"
conf_dir = "@DIR@/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "@ROOT@/usr/sbin/runc"
SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
path = "@DIR@/opt"
"#;

/// Of 2.x, where images and pods are two.
const VERSION_3: &str = r#"version = 3
root = "@DIR@/root"
state = "@DIR@/state"
disabled_plugins = [@DISABLED@]
[grpc]
address = "@DIR@/c.sock"
[ttrpc]
address = "@DIR@/t.sock"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "@IMAGE@"
[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["@ROOT@/usr/lib/cni"]
conf_dir = "@DIR@/cni/net.d"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "@ROOT@/usr/sbin/runc"
SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
path = "@DIR@/opt"
"#;

const NRI: &str = r#"[plugins."io.containerd.nri.v1.nri"]
disable = false
socket_path = "@DIR@/nri.sock"
plugin_path = "@DIR@/nri/plugins"
plugin_config_path = "@DIR@/nri/conf.d"
"#;

/// Writes it.
pub(super) fn write(release: Release, root: &Path, dir: &Path) -> Result<()> {
    // What needs devices or file systems that a test machine may lack, and is not needed here.
    let disabled =
        ["aufs", "btrfs", "devmapper", "zfs"].map(|name| format!("\"io.containerd.snapshotter.v1.{name}\""));
    let text = match release {
        Release::Bookworm => VERSION_2.to_owned(),
        Release::Trixie => format!("{VERSION_2}{NRI}"),
        Release::Sid => format!("{VERSION_3}{NRI}"),
    };
    let fill = |text: &str| {
        text.replace("@DIR@", &dir.display().to_string())
            .replace("@ROOT@", &root.display().to_string())
            .replace("@IMAGE@", IMAGE)
            .replace("@DISABLED@", &disabled.join(", "))
    };
    let network = dir.join("cni/net.d");
    fs::create_dir_all(&network).with_context(|| format!("cannot make {}", network.display()))?;
    for (file, text) in [(file(dir), fill(&text)), (network.join("10-pods.conflist"), fill(NETWORK))] {
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("containerd.toml")
}

pub(super) fn socket(dir: &Path) -> PathBuf {
    dir.join("c.sock")
}

pub(super) fn nri_socket(dir: &Path) -> PathBuf {
    dir.join("nri.sock")
}
