// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VMI asks of netagent: a port for each interface that is bound by our plugin, or by a bridge.
//!
//! An option that cannot be served is left out and told of: it must not cost a VM its start. What the VM could not run
//! without, its MAC or its queues, is an error.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    names::{Names, QEMU},
    vmi::{DhcpOptions, Interface, InterfaceStatus, Vmi},
};
use crate::core::{
    bridged,
    hand_off::HandOff,
    ids::{IdError, IfName, MacAddr},
    mode::Mode,
    spec::TapSpec,
};

/// `MAX_TAP_QUEUES` of drivers/net/tun.c, and KubeVirt's own limit.
const MAX_QUEUES: u32 = 256;
/// The guest's MTU, on the VMI. With `.NETWORK` behind it, of one interface alone.
const MTU: &str = "netagent.dev/mtu";

/// Why the VM needs its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It starts.
    Start,
    /// It arrives from another node, where it runs: its cards are what they are there.
    Arrival,
}

/// One port that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The interface's name in the VMI.
    pub interface: String,
    /// What the port is made of.
    pub mode: Mode,
    /// The link that the CNI made, by the name that it has when the VM starts.
    pub pod_link: IfName,
    /// The tap that libvirt will open.
    pub tap: TapSpec,
    /// The guest's MAC; the pod's when not given.
    pub mac: Option<MacAddr>,
    /// What the guest is told besides.
    pub hand_off: HandOff,
    /// What is left out of it, in words.
    pub left_out: Vec<String>,
}

/// An interface that cannot be wired as the VMI has it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nothing says what it is connected to.
    #[error("interface {0} has no network of that name in the VMI")]
    NoNetwork(String),
    /// Its MAC is none.
    #[error("interface {interface} has a MAC that is none; correct macAddress in the VM")]
    Mac {
        /// The interface.
        interface: String,
        /// Why.
        #[source]
        source: IdError,
    },
    /// Its pod link has a name that no link has.
    #[error("interface {interface} is on a pod link that cannot be")]
    PodLink {
        /// The interface.
        interface: String,
        /// Why.
        #[source]
        source: IdError,
    },
    /// Its pod link has the name that its tap is to have.
    #[error(
        "interface {interface} is on a pod link named {name}, which is its tap's name; give the link another one"
    )]
    LinkIsTap {
        /// The interface.
        interface: String,
        /// The name of both.
        name: IfName,
    },
}

/// The ports of the interfaces that are bound by the plugin of that name.
///
/// # Errors
/// The first interface that cannot be wired.
pub fn bound_by_plugin(vmi: &Vmi, plugin: &str, moment: Moment) -> Result<Vec<Wanted>, AskError> {
    let bound = |interface: &&Interface| interface.binding.as_ref().is_some_and(|b| b.name == plugin);
    present(vmi).filter(bound).map(|interface| by_plugin(vmi, interface, moment)).collect()
}

/// The ports of the interfaces that KubeVirt has bound by a bridge.
///
/// # Errors
/// The first interface that cannot be accelerated.
pub fn bound_by_bridge(vmi: &Vmi, moment: Moment) -> Result<Vec<Wanted>, AskError> {
    let bound = |interface: &&Interface| interface.bridge.is_some();
    present(vmi).filter(bound).map(|interface| by_bridge(vmi, interface, moment)).collect()
}

fn present(vmi: &Vmi) -> impl Iterator<Item = &Interface> {
    vmi.spec.domain.devices.interfaces.iter().filter(|interface| interface.state != "absent")
}

fn by_plugin(vmi: &Vmi, interface: &Interface, moment: Moment) -> Result<Wanted, AskError> {
    let (pod_link, tap) = devices(vmi, interface)?;
    let (hand_off, left_out) = hand_off(vmi, interface);
    Ok(Wanted {
        interface: interface.name.clone(),
        mode: Mode::L2,
        pod_link,
        tap: TapSpec { name: tap, queues: queues(vmi, interface, moment), uid: Some(QEMU), gid: Some(QEMU) },
        mac: mac(vmi, interface, moment)?,
        hand_off,
        left_out,
    })
}

fn by_bridge(vmi: &Vmi, interface: &Interface, moment: Moment) -> Result<Wanted, AskError> {
    let (pod_link, tap) = devices(vmi, interface)?;
    let renamed = bridged::pod_link_of(&pod_link);
    let source = |source| AskError::PodLink { interface: interface.name.clone(), source };
    Ok(Wanted {
        interface: interface.name.clone(),
        mode: Mode::Accelerate,
        pod_link: renamed.map_err(source)?,
        tap: TapSpec { name: tap, queues: 1, uid: None, gid: None },
        mac: mac(vmi, interface, moment)?,
        hand_off: HandOff::default(),
        left_out: Vec::new(),
    })
}

/// Pod link and tap, by KubeVirt's scheme of names.
fn devices(vmi: &Vmi, interface: &Interface) -> Result<(IfName, IfName), AskError> {
    let network = vmi.spec.networks.iter().find(|network| network.name == interface.name);
    let network = network.ok_or_else(|| AskError::NoNetwork(shown(&interface.name)))?;
    let primary = network.pod.is_some() || network.multus.is_some_and(|multus| multus.default);
    let names = if primary { Names::primary() } else { Names::secondary(&network.name) };
    // The CNI of a default network may call its link otherwise, and KubeVirt knows.
    let told = status(vmi, interface).map(|status| status.pod_interface_name.as_str()).unwrap_or_default();
    let pod_link = if primary && !told.is_empty() {
        told.parse().map_err(|source| AskError::PodLink { interface: shown(&interface.name), source })?
    } else {
        names.pod_link
    };
    if pod_link == names.tap {
        return Err(AskError::LinkIsTap { interface: shown(&interface.name), name: pod_link });
    }
    Ok((pod_link, names.tap))
}

/// libvirt opens a tap of several queues in another way than one of one queue, and fails where it is the other kind.
/// KubeVirt's rule (pkg/network/vmispec); the cards of a VM that arrives are as they were made.
fn queues(vmi: &Vmi, interface: &Interface, moment: Moment) -> u16 {
    let running = status(vmi, interface).map_or(0, |status| status.queue_count.max(0).cast_unsigned());
    let virtio = matches!(interface.model.as_str(), "" | "virtio");
    let queues = match moment {
        Moment::Arrival if running > 0 => running,
        _ if virtio && vmi.spec.domain.devices.network_interface_multiqueue => {
            let cpu = vmi.spec.domain.cpu;
            let factors = [cpu.cores, cpu.sockets, cpu.threads];
            factors.iter().fold(1u32, |product, factor| product.saturating_mul((*factor).max(1)))
        }
        _ => 1,
    };
    queues.clamp(1, MAX_QUEUES) as u16
}

fn mac(vmi: &Vmi, interface: &Interface, moment: Moment) -> Result<Option<MacAddr>, AskError> {
    let running = status(vmi, interface).map(|status| status.mac.as_str()).unwrap_or_default();
    let text = match moment {
        _ if !interface.mac_address.is_empty() => interface.mac_address.as_str(),
        Moment::Arrival => running,
        Moment::Start => "",
    };
    if text.is_empty() {
        return Ok(None);
    }
    // Windows' way of writing is allowed.
    let mac = text.replace('-', ":").parse();
    mac.map(Some).map_err(|source| AskError::Mac { interface: shown(&interface.name), source })
}

fn status<'a>(vmi: &'a Vmi, interface: &Interface) -> Option<&'a InterfaceStatus> {
    vmi.status.interfaces.iter().find(|status| status.name == interface.name)
}

fn hand_off(vmi: &Vmi, interface: &Interface) -> (HandOff, Vec<String>) {
    let mut options = Options::default();
    let annotation = |key: &str| vmi.metadata.annotations.get(key);
    if let Some(mtu) = annotation(&format!("{MTU}.{}", interface.name)).or_else(|| annotation(MTU)) {
        match mtu.parse() {
            Ok(mtu) => options.lay("annotation mtu", |hand_off| hand_off.mtu = Some(mtu)),
            Err(_) => options.left_out.push(format!("annotation mtu: `{}` is no number", shown(mtu))),
        }
    }
    if let Some(told) = &interface.dhcp_options {
        options.lay_all(told);
    }
    (options.hand_off, options.left_out)
}

/// Options as far as each of them can be served.
#[derive(Default)]
struct Options {
    hand_off: HandOff,
    left_out: Vec<String>,
}

impl Options {
    fn lay_all(&mut self, told: &DhcpOptions) {
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        self.lay("bootFileName", |hand_off| hand_off.boot_file = text(&told.boot_file_name));
        self.lay("tftpServerName", |hand_off| hand_off.tftp_server = text(&told.tftp_server_name));
        for server in &told.ntp_servers {
            match ipv4(server) {
                Some(address) => self.lay("ntpServers", |hand_off| hand_off.ntp.push(address)),
                None => self.left_out.push(format!("ntpServers: `{}` is no address", shown(server))),
            }
        }
        for private in &told.private_options {
            match u8::try_from(private.option) {
                Ok(code) => self.lay("privateOptions", |hand_off| {
                    _ = hand_off.private_options.insert(code, private.value.clone().into_bytes());
                }),
                Err(_) => self.left_out.push(format!("privateOptions: {} is no code", private.option)),
            }
        }
    }

    /// Lays one option over, unless what comes of it cannot be served.
    fn lay(&mut self, what: &str, lay: impl FnOnce(&mut HandOff)) {
        let mut with = self.hand_off.clone();
        lay(&mut with);
        match with.check() {
            Ok(()) => self.hand_off = with,
            Err(error) => self.left_out.push(format!("{what}: {error}")),
        }
    }
}

/// An address as KubeVirt takes it: IPv4, with leading zeros that mean nothing.
fn ipv4(text: &str) -> Option<IpAddr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let digits =
            parts.next().filter(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))?;
        *octet = digits.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets).into())
}

/// What a tenant wrote, fit for a log line.
fn shown(text: &str) -> String {
    text.escape_debug().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kubevirt::vmi::tests::VMI;

    fn vmi() -> Vmi {
        Vmi::read(VMI.as_bytes()).unwrap()
    }

    fn ours(vmi: &Vmi, moment: Moment) -> Wanted {
        let mut wanted = bound_by_plugin(vmi, "netagent", moment).unwrap();
        assert_eq!(wanted.len(), 1);
        wanted.remove(0)
    }

    #[test]
    fn an_interface_of_the_plugin_becomes_a_port_with_all_that_the_vmi_says() {
        let wanted = ours(&vmi(), Moment::Start);
        assert_eq!((wanted.interface.as_str(), wanted.mode), ("default", Mode::L2));
        assert_eq!((wanted.pod_link.as_str(), wanted.tap.name.as_str()), ("eth0", "tap0"));
        assert_eq!((wanted.tap.queues, wanted.tap.owner_text()), (4, "107:107".into()));
        assert_eq!(wanted.mac.map(|mac| mac.to_string()).as_deref(), Some("02:00:00:0a:0b:0c"));
        let told = &wanted.hand_off;
        assert_eq!(
            (told.boot_file.as_deref(), told.tftp_server.as_deref()),
            (Some("pxelinux.0"), Some("tftp.shop.example"))
        );
        let ntp: Vec<_> = told.ntp.iter().map(ToString::to_string).collect();
        assert_eq!(ntp, ["10.0.0.1", "127.0.0.3"]);
        assert_eq!((told.private_options.get(&240), told.mtu), (Some(&b"site:one".to_vec()), Some(1400)));
        assert_eq!(wanted.left_out, Vec::<String>::new());
        assert_eq!(bound_by_plugin(&vmi(), "other", Moment::Start).unwrap(), []);
    }

    #[test]
    fn an_interface_of_the_bridge_is_one_to_accelerate() {
        let wanted = bound_by_bridge(&vmi(), Moment::Start).unwrap();
        let names: Vec<_> =
            wanted.iter().map(|w| format!("{} {} {}", w.mode, w.pod_link, w.tap.name)).collect();
        assert_eq!(names, ["accelerate b1f51a511f1-nic tapb1f51a511f1"]);
    }

    #[test]
    fn queues_follow_kubevirt_s_rule() {
        let queues = |spoil: fn(&mut Vmi), moment| {
            let mut vmi = vmi();
            spoil(&mut vmi);
            ours(&vmi, moment).tap.queues
        };
        assert_eq!(queues(|_| {}, Moment::Start), 4);
        assert_eq!(
            queues(|vmi| vmi.spec.domain.devices.network_interface_multiqueue = false, Moment::Start),
            1
        );
        assert_eq!(
            queues(|vmi| vmi.spec.domain.devices.interfaces[0].model = "e1000".into(), Moment::Start),
            1
        );
        assert_eq!(
            queues(|vmi| vmi.spec.domain.devices.interfaces[0].model = "virtio".into(), Moment::Start),
            4
        );
        assert_eq!(queues(|vmi| vmi.spec.domain.cpu = Default::default(), Moment::Start), 1);
        assert_eq!(queues(|vmi| vmi.spec.domain.cpu.cores = u32::MAX, Moment::Start), 256);
        // A running VM's cards stay as they are, whatever its spec says by now.
        assert_eq!(queues(|vmi| vmi.status.interfaces[0].queue_count = 2, Moment::Arrival), 2);
        assert_eq!(queues(|vmi| vmi.status.interfaces[0].queue_count = 1, Moment::Arrival), 1);
        assert_eq!(queues(|vmi| vmi.status.interfaces[0].queue_count = 2, Moment::Start), 4);
        assert_eq!(queues(|vmi| vmi.status.interfaces.clear(), Moment::Arrival), 4);
        assert_eq!(queues(|vmi| vmi.status.interfaces[0].queue_count = i32::MIN, Moment::Arrival), 4);
    }

    #[test]
    fn a_guest_that_arrives_brings_its_mac() {
        let mut vmi = vmi();
        vmi.spec.domain.devices.interfaces[0].mac_address.clear();
        assert_eq!(ours(&vmi, Moment::Start).mac, None);
        assert_eq!(ours(&vmi, Moment::Arrival).mac.unwrap().to_string(), "02:00:00:0a:0b:0c");
        vmi.spec.domain.devices.interfaces[0].mac_address = "DE-AD-00-00-BE-AF".into();
        assert_eq!(ours(&vmi, Moment::Arrival).mac.unwrap().to_string(), "de:ad:00:00:be:af");
        vmi.spec.domain.devices.interfaces[0].mac_address = "none".into();
        let error = bound_by_plugin(&vmi, "netagent", Moment::Start).unwrap_err();
        assert_eq!(
            error.to_string(),
            "interface default has a MAC that is none; correct macAddress in the VM"
        );
    }

    #[test]
    fn devices_are_named_by_kubevirt_s_scheme_or_its_word() {
        let mut vmi = vmi();
        vmi.status.interfaces[0].pod_interface_name = "ovn-udn1".into();
        let names = |vmi: &Vmi| {
            let wanted = ours(vmi, Moment::Start);
            (wanted.pod_link.to_string(), wanted.tap.name.to_string())
        };
        assert_eq!(names(&vmi), ("ovn-udn1".into(), "tap0".into()));
        vmi.status.interfaces[0].pod_interface_name = "../../x".into();
        assert!(matches!(bound_by_plugin(&vmi, "netagent", Moment::Start), Err(AskError::PodLink { .. })));
        vmi.status.interfaces[0].pod_interface_name = "tap0".into();
        assert!(matches!(bound_by_plugin(&vmi, "netagent", Moment::Start), Err(AskError::LinkIsTap { .. })));
        vmi.status.interfaces.clear();
        vmi.spec.networks[0].pod = None;
        assert_eq!(names(&vmi), ("pod37a8eec1ce1".into(), "tap37a8eec1ce1".into()));
        vmi.spec.networks.remove(0);
        let error = bound_by_plugin(&vmi, "netagent", Moment::Start).unwrap_err();
        assert_eq!(error, AskError::NoNetwork("default".into()));
        vmi.spec.domain.devices.interfaces[0].state = "absent".into();
        assert_eq!(bound_by_plugin(&vmi, "netagent", Moment::Start).unwrap(), []);
    }

    #[test]
    fn what_cannot_be_served_is_left_out_and_told_of() {
        let mut vmi = vmi();
        vmi.metadata.annotations.insert("netagent.dev/mtu.default".into(), "big".into());
        let options = vmi.spec.domain.devices.interfaces[0].dhcp_options.as_mut().unwrap();
        options.ntp_servers = vec!["ntp.example".into(), "10.0.0.1".into()];
        options.boot_file_name = "x".repeat(300);
        options.private_options[0].option = 7;
        let wanted = ours(&vmi, Moment::Start);
        assert_eq!(wanted.left_out.len(), 4, "{:?}", wanted.left_out);
        for (note, begins) in wanted.left_out.iter().zip([
            "annotation mtu: `big`",
            "bootFileName: ",
            "ntpServers: `ntp.example`",
            "privateOptions: ",
        ]) {
            assert!(note.starts_with(begins), "{note}");
        }
        assert_eq!((wanted.hand_off.mtu, wanted.hand_off.ntp.len()), (None, 1));
        assert_eq!(wanted.hand_off.tftp_server.as_deref(), Some("tftp.shop.example"));
    }
}
