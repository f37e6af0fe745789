// SPDX-License-Identifier: MIT OR Apache-2.0
//! From what a runtime says to what the agent is asked for, and from the port back to a result. Pure.

use std::path::PathBuf;

use super::{
    Args, Attachment, CniError, CniResult, NetConf, Owner, SpecVersion, VmPair, Wishes, netconf::field,
};
use crate::{
    api::v1,
    core::{
        hand_off::{MAX_SEARCH, MAX_SERVERS},
        ids::IfName,
        kubevirt::names::{Names, QEMU},
        origin::Origin,
    },
};

/// Name under which Firecracker's tools call the plugin that netagent can stand in for.
const TC_REDIRECT_TAP: &str = "tc-redirect-tap";

/// Of whom the plugin is called, which says what is wired and what the result looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Last in the chain of a Kubernetes network. The result is that of the plugins before: Kubernetes would take every
    /// address in it for the pod's, and Multus every interface in the pod for the network's.
    Chained,
    /// Last in the chain of whoever starts a VM in the namespace: he reads tap and card from the result.
    Vm,
    /// KubeVirt's network binding plugin: the names are agreed on, and nothing is said.
    KubeVirt,
}

/// An ADD, or a CHECK of one: the same parameters come with both.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Whose interface it is.
    pub attachment: Attachment,
    /// `CNI_NETNS`.
    pub netns: PathBuf,
    /// The version to answer in.
    pub version: SpecVersion,
    /// Who calls.
    pub role: Role,
    /// What the plugins before this one have made; with CHECK, what the whole chain made.
    pub previous: Option<CniResult>,
    wishes: Wishes,
    origin: Origin,
    logic_network: Option<String>,
}

impl Ask {
    /// Puts together what was read.
    ///
    /// # Errors
    /// When the parts do not fit, or one of them cannot be used.
    pub fn new(attachment: Attachment, netns: PathBuf, args: Args, conf: &NetConf) -> Result<Self, CniError> {
        let mut wishes = Wishes::of(conf)?;
        let previous = conf.previous()?;
        let origin = args.origin(&attachment, &conf.name)?;
        let stands_in = conf.plugin == TC_REDIRECT_TAP;
        let role = match &conf.logic_network {
            Some(_) => Role::KubeVirt,
            None if stands_in || args.are_for_tc_redirect_tap() || !args.kubernetes => Role::Vm,
            None => Role::Chained,
        };
        match role {
            Role::KubeVirt => {
                if let Some(tap) = &wishes.tap {
                    let why = "KubeVirt looks for the tap under a name of its own; leave it out";
                    return Err(field("tap", &tap.to_string().into(), why));
                }
                wishes.owner.get_or_insert(Owner { uid: QEMU, gid: Some(QEMU) });
            }
            Role::Vm | Role::Chained => {
                if previous.is_none() {
                    let why = "netagent wires what another plugin has made: it stands behind one in a chain";
                    return Err(CniError::Missing { key: "prevResult", why });
                }
                if role == Role::Vm {
                    take_redirect_args(&mut wishes, &args, stands_in)?;
                }
            }
        }
        let (version, logic_network) = (conf.version, conf.logic_network.clone());
        Ok(Self { attachment, netns, version, role, previous, wishes, origin, logic_network })
    }

    /// The pod link that a secondary network of KubeVirt's has. When it is there, the call is for it; else for the pod's
    /// primary network, of which KubeVirt says no more than a name.
    pub fn secondary_link(&self) -> Option<IfName> {
        self.logic_network.as_deref().map(|network| Names::secondary(network).pod_link)
    }

    /// What the agent is asked for.
    pub fn request(&self, secondary_is_there: bool) -> v1::AttachRequest {
        let (pod_link, tap) = match &self.logic_network {
            Some(network) => {
                let names = if secondary_is_there { Names::secondary(network) } else { Names::primary() };
                (names.pod_link, Some(names.tap))
            }
            None => (self.attachment.ifname.clone(), self.wishes.tap.clone()),
        };
        let told = &self.wishes.hand_off;
        let (dns, search) = self.resolvers();
        v1::AttachRequest {
            netns: self.netns.display().to_string(),
            pod_link: pod_link.to_string(),
            tap: tap.map_or_else(String::new, |tap| tap.to_string()),
            mac: self.wishes.mac.map_or_else(String::new, |mac| mac.to_string()),
            queues: self.wishes.queues.unwrap_or_default().into(),
            uid: self.wishes.owner.map(|owner| owner.uid),
            gid: self.wishes.owner.and_then(|owner| owner.gid),
            tier: self.wishes.tier.to_string(),
            no_hand_off: told.off,
            dns,
            search,
            domain: told.domain.clone().unwrap_or_default(),
            ntp: told.ntp.iter().map(ToString::to_string).collect(),
            mtu: told.mtu.unwrap_or_default(),
            tftp_server: told.tftp_server.clone().unwrap_or_default(),
            boot_file: told.boot_file.clone().unwrap_or_default(),
            private_options: told
                .private_options
                .iter()
                .map(|(code, v)| ((*code).into(), v.clone()))
                .collect(),
            lease_seconds: told.lease_seconds.unwrap_or_default(),
            origin: Some(v1::Origin::from(&self.origin)),
            ..v1::AttachRequest::default()
        }
    }

    /// Name servers and search domains. Where no kubelet writes a resolv.conf, what the plugins before say is all that
    /// there is.
    fn resolvers(&self) -> (Vec<String>, Vec<String>) {
        let told = &self.wishes.hand_off;
        let (mut dns, mut search) = (told.dns.iter().map(ToString::to_string).collect(), told.search.clone());
        if let (Role::Vm, Some(previous)) = (self.role, &self.previous) {
            let (servers, domains) = previous.dns();
            if told.dns.is_empty() {
                let servers = servers.into_iter().filter(|text| text.parse::<std::net::IpAddr>().is_ok());
                dns = servers.take(MAX_SERVERS).map(str::to_owned).collect::<Vec<_>>();
            }
            if told.search.is_empty() {
                search = domains.into_iter().take(MAX_SEARCH).map(str::to_owned).collect();
            }
        }
        (dns, search)
    }

    /// The result of an ADD.
    pub fn result(&self, port: &v1::Port) -> CniResult {
        let mut result = self.previous.clone().unwrap_or_default();
        if self.role == Role::Vm {
            let (tap, guest) = (port.tap.clone().unwrap_or_default(), port.guest.clone().unwrap_or_default());
            let pair = VmPair { tap: &tap.ifname, tap_mac: &tap.mac, guest_mac: &guest.mac, mtu: tap.mtu };
            result.add_vm(&self.attachment, &self.netns, &pair);
        }
        result
    }

    /// In what a port differs from what the chain's result says; `None` when it does not.
    pub fn difference(&self, port: &v1::Port) -> Option<String> {
        let previous = self.previous.as_ref()?;
        let pod_link = port.pod_link.clone().unwrap_or_default();
        let guest = port.guest.clone().unwrap_or_default();
        let link = previous.pod_link(&self.attachment, &self.netns);
        if let Some(link) = link.filter(|link| !link.mac.is_empty() && !link.has_mac(&pod_link.mac)) {
            return Some(format!("{} has the address {} instead of {}", link.name, pod_link.mac, link.mac));
        }
        let has: Vec<ipnet::IpNet> = guest.addresses.iter().filter_map(|text| text.parse().ok()).collect();
        let lost = |address: &ipnet::IpNet| !has.iter().any(|one| one.addr() == address.addr());
        if let Some(address) = previous.addresses(&self.attachment, &self.netns).find(lost) {
            return Some(format!("{} has no address {address} any more", self.attachment.ifname));
        }
        (self.role == Role::Vm).then(|| self.pair_difference(previous, port)).flatten()
    }

    fn pair_difference(&self, previous: &CniResult, port: &v1::Port) -> Option<String> {
        let (tap, guest) = (port.tap.clone().unwrap_or_default(), port.guest.clone().unwrap_or_default());
        for (what, mac, sandbox) in [
            ("tap", &tap.mac, &self.netns.display().to_string()),
            ("guest", &guest.mac, &self.attachment.container),
        ] {
            match previous.interface(&tap.ifname, sandbox) {
                None => return Some(format!("the result has no {what} {}", tap.ifname)),
                Some(one) if !one.has_mac(mac) => {
                    return Some(format!("the {what} has the address {mac} instead of {}", one.mac));
                }
                Some(_) => {}
            }
        }
        None
    }
}

/// tc-redirect-tap's arguments: they are of this one VM, and go before what is the same for all. Without them its tap is
/// the caller's alone, who is root.
fn take_redirect_args(wishes: &mut Wishes, args: &Args, stands_in: bool) -> Result<(), CniError> {
    let bad =
        |key: &str, why: String| CniError::Environment { variable: "CNI_ARGS", why: format!("{key}: {why}") };
    if let Some(tap) = &args.tap {
        wishes.tap = Some(tap.parse().map_err(|e| bad("TC_REDIRECT_TAP_NAME", format!("{e}")))?);
    }
    let number = |key: &str, text: &Option<String>| -> Result<Option<u32>, CniError> {
        let parsed = text.as_deref().map(str::parse);
        parsed
            .transpose()
            .map_err(|_| bad(key, format!("`{}` is no number", text.as_deref().unwrap_or_default())))
    };
    let uid = number("TC_REDIRECT_TAP_UID", &args.uid)?;
    let gid = number("TC_REDIRECT_TAP_GID", &args.gid)?;
    if uid.is_some() || gid.is_some() || (stands_in && wishes.owner.is_none()) {
        const ROOT: u32 = 0;
        wishes.owner = Some(Owner { uid: uid.unwrap_or(ROOT), gid: Some(gid.unwrap_or(ROOT)) });
    }
    Ok(())
}
