// SPDX-License-Identifier: MIT OR Apache-2.0
//! Verbs and flags. They are a contract: other programs call them.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::hand_off::{HandOffArgs, LeaseArgs};
use crate::{
    api::v1,
    core::{
        guard::{EtherType, RulesOff, VlanId},
        ids::{IfName, MacAddr},
        mode::{Mode, ModeError},
        tier::TierChoice,
    },
    datapath::Feature,
    sys::labelled_tap,
};

/// Gives a VM inside a pod the pod's network, through eBPF instead of a bridge.
#[derive(Debug, Parser)]
#[command(name = "netagent", version, max_term_width = 100)]
pub(super) struct Cli {
    /// The agent's socket [default: /run/netagent/netagent.sock].
    #[arg(long, global = true, value_name = "PATH", env = "NETAGENT_SOCKET")]
    pub(super) socket: Option<PathBuf>,
    /// What to print.
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    pub(super) output: Output,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to print.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Output {
    /// Tables for people.
    Table,
    /// JSON with stable names, for programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the agent. Stopping it leaves the ports forwarding.
    Run(RunArgs),
    /// Wire a port and wait until it is ready. Again for the same port: changes nothing, prints it.
    Attach(AttachArgs),
    /// Take a port off and wait until nothing of it is left.
    Detach(PortArgs),
    /// List all ports.
    Status,
    /// List the container runtimes that tell of pods, and the pods that ask for ports and have none.
    Sources,
    /// Show one port.
    Show(PortArgs),
    /// Print the steps that `attach` would take now.
    Plan(AttachArgs),
    /// Remove everything that netagent made on this node. Only while no agent runs.
    Cleanup(CleanupArgs),
    /// Copy this binary to where the container runtime looks for CNI plugins: whole, or not at all.
    InstallCni(InstallCniArgs),
    /// Make a tap on standard input. The agent starts itself so, under the SELinux label that the tap is to have.
    #[command(name = labelled_tap::VERB, hide = true)]
    MakeTap {
        name: IfName,
        /// `IFF_*`.
        flags: i32,
    },
    /// Be the CNI plugin, as without any verb where CNI_COMMAND is set.
    Cni,
    /// Print or check a configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Configuration file [default: /etc/netagent/netagent.toml, where it is there].
    #[arg(long, value_name = "FILE", env = "NETAGENT_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// A mounted BPF filesystem [default: /sys/fs/bpf].
    #[arg(long, value_name = "DIR")]
    pub(super) bpffs: Option<PathBuf>,
    /// Serve metrics and health over HTTP on this address.
    #[arg(long, value_name = "ADDR")]
    pub(super) metrics: Option<SocketAddr>,
    /// Attach this namespace at start, with default settings. Can be given again.
    #[arg(long, value_name = "NETNS")]
    pub(super) attach: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) lease: LeaseArgs,
    /// Compare a port with what it should be this often when nothing else calls for it [default: 30].
    #[arg(long, value_name = "N")]
    pub(super) resync_seconds: Option<u32>,
    /// What to log, as in `info` or `netagent=debug` [default: info].
    #[arg(long, value_name = "FILTER")]
    pub(super) log: Option<String>,
    /// Log JSON lines.
    #[arg(long)]
    pub(super) log_json: bool,
    /// Set any key of the configuration, as in resync_seconds=60 or section.key=value; so does the environment variable
    /// NETAGENT_KEY or NETAGENT_SECTION_KEY. Can be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<Assignment>,
    /// Take the kernel to lack a feature that it has, to see the fallback work.
    #[arg(long, value_name = "FEATURE")]
    pub(super) without: Vec<Without>,
}

/// A key of the configuration and its value.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) key: String,
    pub(super) value: String,
}

impl std::str::FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
        Ok(Self { key: key.trim().to_owned(), value: value.trim().to_owned() })
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Without {
    /// tcx links (kernel 6.6).
    Tcx,
    /// bpf_redirect_peer (kernel 5.10).
    RedirectPeer,
    /// A bpf_redirect_peer that scrubs the packet (kernel 6.16).
    PeerScrub,
    /// XDP programs.
    Xdp,
}

impl RunArgs {
    pub(super) fn lacking(&self) -> Vec<Feature> {
        let feature = |w: &Without| match w {
            Without::Tcx => Feature::Tcx,
            Without::RedirectPeer => Feature::RedirectPeer,
            Without::PeerScrub => Feature::PeerScrub,
            Without::Xdp => Feature::Xdp,
        };
        self.without.iter().map(feature).collect()
    }
}

#[derive(Debug, Args)]
pub(super) struct AttachArgs {
    /// The pod's network namespace, as /run/netns/NAME or /proc/PID/ns/net.
    #[arg(long, value_name = "PATH")]
    netns: PathBuf,
    /// The interface that the CNI put into it [default: eth0, with mode accelerate eth0-nic].
    #[arg(long, value_name = "IFNAME")]
    pod_link: Option<IfName>,
    /// The tap to make, with mode accelerate the one that is there.
    #[arg(long, value_name = "IFNAME", default_value = "tap0")]
    tap: IfName,
    /// The guest's MAC [default: the pod link's].
    #[arg(long)]
    mac: Option<MacAddr>,
    /// Queue pairs of the tap; with more than one the VMM must open it as multi-queue.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    queues: u32,
    /// The only user, and group, that may open the tap without CAP_NET_ADMIN [default: everybody in the pod who may
    /// open /dev/net/tun].
    #[arg(long, value_name = "UID[:GID]")]
    owner: Option<Owner>,
    /// How the guest meets the pod's network: l2 (it has the pod's address and MAC, through a tap of netagent's), or
    /// accelerate (it keeps the bridge that KubeVirt made, and the programs take the frames before that does).
    #[arg(long, value_name = "MODE", default_value_t = Mode::L2, value_parser = mode)]
    mode: Mode,
    /// How packets leave: auto, peer, plain, or xdp for a guest and a host peer without offloads.
    #[arg(long, default_value_t = TierChoice::Auto)]
    tier: TierChoice,
    /// Guard rules not to hold, by the names under which `show` counts their drops; `all` for every one.
    #[arg(long, value_name = "RULE", value_delimiter = ',', value_parser = rule_name)]
    guard_off: Vec<String>,
    /// A prefix or address that the guest may use besides the pod's, as a router or a VIP's holder does.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    allow_prefix: Vec<String>,
    /// A VLAN whose tag the guest may use, 1 to 4094.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    allow_vlan: Vec<VlanId>,
    /// An EtherType that passes besides IPv4, ARP and IPv6, as in 0x88cc.
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    allow_ethertype: Vec<EtherType>,
    /// resolv.conf for the guest [default: the pod's own, where it is found].
    #[arg(long, value_name = "FILE")]
    resolv_conf: Option<PathBuf>,
    /// Host name for the guest [default: the pod's own, where it is found].
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    #[command(flatten)]
    hand_off: HandOffArgs,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    uid: u32,
    gid: Option<u32>,
}

impl std::str::FromStr for Owner {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let number =
            |id: &str| id.parse().map_err(|_| format!("`{id}` is not a number; give UID or UID:GID"));
        match s.split_once(':') {
            Some((uid, gid)) => Ok(Self { uid: number(uid)?, gid: Some(number(gid)?) }),
            None => Ok(Self { uid: number(s)?, gid: None }),
        }
    }
}

impl AttachArgs {
    pub(super) fn request(&self) -> Result<v1::AttachRequest> {
        Ok(v1::AttachRequest {
            netns: absolute(&self.netns)?,
            pod_link: self.pod_link.as_ref().map_or_else(String::new, IfName::to_string),
            mode: self.mode.to_string(),
            tap: self.tap.to_string(),
            mac: self.mac.map_or_else(String::new, |mac| mac.to_string()),
            queues: self.queues,
            uid: self.owner.map(|o| o.uid),
            gid: self.owner.and_then(|o| o.gid),
            tier: self.tier.to_string(),
            no_hand_off: self.hand_off.no_hand_off,
            resolv_conf: self.resolv_conf.as_deref().map(absolute).transpose()?.unwrap_or_default(),
            hostname: self.hostname.clone().unwrap_or_default(),
            guard_off: self.guard_off.clone(),
            allowed_prefixes: self.allow_prefix.clone(),
            allowed_vlans: self.allow_vlan.iter().map(|id| id.get().into()).collect(),
            allowed_ethertypes: self.allow_ethertype.iter().map(|t| t.get().into()).collect(),
            dns: self.hand_off.dns.iter().map(ToString::to_string).collect(),
            search: self.hand_off.search.clone(),
            domain: self.hand_off.domain.clone().unwrap_or_default(),
            ntp: self.hand_off.ntp.iter().map(ToString::to_string).collect(),
            mtu: self.hand_off.mtu.unwrap_or_default(),
            tftp_server: self.hand_off.tftp_server.clone().unwrap_or_default(),
            boot_file: self.hand_off.boot_file.clone().unwrap_or_default(),
            private_options: self.hand_off.private_options()?,
            lease_seconds: self.hand_off.lease.seconds().unwrap_or_default(),
            origin: None,
        })
    }
}

fn mode(text: &str) -> Result<Mode, ModeError> {
    text.parse()
}

fn rule_name(name: &str) -> Result<String, String> {
    RulesOff::from_names([name]).map(|_| name.to_owned()).map_err(|e| e.to_string())
}

/// A port, by its id or its namespace.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct PortArgs {
    /// The port's id, as `status` prints it.
    #[arg(value_name = "PORT", conflicts_with_all = ["netns", "pod_link"])]
    id: Option<String>,
    /// The pod's network namespace.
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
    /// Of several ports in the namespace, the one with this pod link.
    #[arg(long, value_name = "IFNAME", requires = "netns")]
    pod_link: Option<IfName>,
}

impl PortArgs {
    pub(super) fn reference(&self) -> Result<v1::PortRef> {
        Ok(v1::PortRef {
            id: self.id.clone().unwrap_or_default(),
            netns: self.netns.as_deref().map(absolute).transpose()?.unwrap_or_default(),
            pod_link: self.pod_link.as_ref().map_or_else(String::new, IfName::to_string),
            attachment: None,
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct CleanupArgs {
    /// Configuration file of the agent that is to be cleaned up after.
    #[arg(long, value_name = "FILE", env = "NETAGENT_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// The BPF filesystem that it used [default: /sys/fs/bpf].
    #[arg(long, value_name = "DIR")]
    pub(super) bpffs: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct InstallCniArgs {
    /// The directory of the plugins.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    pub(super) to: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the defaults, as a file to start from.
    Default,
    /// Check file and environment, and print what they come to.
    Check {
        /// The file [default: /etc/netagent/netagent.toml].
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Set a key over file and environment, as `run --set` does.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<Assignment>,
    },
}

/// The agent may have another working directory.
fn absolute(path: impl AsRef<std::path::Path>) -> Result<String> {
    let path = path.as_ref();
    let absolute = std::path::absolute(path).with_context(|| format!("path `{}`", path.display()))?;
    let text = absolute.to_str().with_context(|| format!("path {} is not UTF-8", absolute.display()))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn owners_are_numbers() {
        let owner: Owner = "107:108".parse().unwrap();
        assert_eq!((owner.uid, owner.gid), (107, Some(108)));
        assert_eq!("107".parse::<Owner>().unwrap().gid, None);
        assert!("qemu".parse::<Owner>().unwrap_err().contains("UID:GID"));
    }

    #[test]
    fn interface_names_are_checked_before_anybody_is_asked() {
        let of = |flag: &str, name: &str| {
            let error =
                Cli::try_parse_from(["netagent", "attach", "--netns", "/run/netns/a", flag, name]).err()?;
            Some((error.exit_code(), error.to_string()))
        };
        assert_eq!(of("--tap", "tap7"), None);
        for flag in ["--tap", "--pod-link"] {
            let (code, text) = of(flag, "a/b").unwrap();
            assert_eq!(code, 2);
            assert!(text.contains("`a/b` is not an interface name"), "{text}");
        }
        let detach = ["netagent", "detach", "--netns", "/run/netns/a", "--pod-link", "much-too-long-a-name"];
        assert_eq!(Cli::try_parse_from(detach).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_port_needs_a_name() {
        assert!(Cli::try_parse_from(["netagent", "detach"]).is_err());
        assert!(Cli::try_parse_from(["netagent", "detach", "7-eth0"]).is_ok());
        assert!(Cli::try_parse_from(["netagent", "detach", "--netns", "/run/netns/a"]).is_ok());
        assert!(Cli::try_parse_from(["netagent", "detach", "--pod-link", "eth0"]).is_err());
    }
}
