// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests as they come in, checked field by field, as asks.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::v1;
use crate::{
    core::{
        ask::{MAX_QUEUES, PortAsk},
        guard::{self, GuardError, GuardSpec, RulesOff},
        hand_off::{HandOff, HandOffError},
        ids::{IdError, IfName},
        mode::{Mode, ModeError},
        origin::{Origin, OriginError, Pod},
        spec::{PortSpec, TapSpec},
    },
    sys::netns::{Netns, NetnsError},
};

/// A field that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// Not an identity.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Not a namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A relative path means nothing to the agent.
    #[error("{field} `{path}` is not an absolute path")]
    Relative {
        /// The field.
        field: &'static str,
        /// Its value.
        path: String,
    },
    /// No such mode.
    #[error(transparent)]
    Mode(#[from] ModeError),
    /// What KubeVirt tells the guest stays KubeVirt's.
    #[error(
        "mode accelerate leaves to KubeVirt what the guest is told; leave out what is laid over it, as dns, mtu or lease_seconds"
    )]
    NotOurHandOff,
    /// No such tier.
    #[error("tier {0}")]
    Tier(String),
    /// A tap has no so many.
    #[error("{0} queues: a tap has 1 to {MAX_QUEUES}")]
    Queues(u32),
    /// An exception from the guard.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Not a prefix.
    #[error("`{0}` is no prefix; give it as in 192.0.2.0/24 or 2001:db8::/64")]
    Prefix(String),
    /// Not an address.
    #[error("`{address}` is no address of {what}; give it as in 192.0.2.1 or 2001:db8::1")]
    Address {
        /// What it should be the address of.
        what: &'static str,
        /// The text.
        address: String,
    },
    /// Something to lay over the pod's word.
    #[error(transparent)]
    HandOff(#[from] HandOffError),
    /// Who asks, and for which pod.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// Nothing names a port.
    #[error("name a port by its id, or by --netns")]
    NoPort,
}

/// The ask of a request. Opens the namespace to know which one it is.
///
/// # Errors
/// The first field that cannot be used.
pub fn port_spec(request: &v1::AttachRequest) -> Result<PortSpec, FieldError> {
    let netns = Netns::open_pod(&absolute("netns", &request.netns)?)?;
    let mode: Mode = given(&request.mode).map(|mode| mode.parse()).transpose()?.unwrap_or_default();
    let hand_off = hand_off(request)?;
    if mode == Mode::Accelerate && hand_off != HandOff::default() {
        return Err(FieldError::NotOurHandOff);
    }
    let ask = PortAsk {
        pod_link: name(&request.pod_link, mode.usual_pod_link())?,
        mode,
        tap: TapSpec {
            name: name(&request.tap, "tap0")?,
            queues: queues(request.queues)?,
            uid: request.uid,
            gid: request.gid,
        },
        mac: given(&request.mac).map(|mac| mac.parse()).transpose()?,
        tier: given(&request.tier)
            .map(|tier| tier.parse().map_err(FieldError::Tier))
            .transpose()?
            .unwrap_or_default(),
        guard: guard_spec(request)?,
        hand_off,
        resolv_conf: given(&request.resolv_conf).map(|p| absolute("resolv_conf", &p)).transpose()?,
        hostname: given(&request.hostname),
    };
    Ok(ask.into_spec(netns.path().to_owned(), netns.id(), origin(request)?))
}

fn queues(number: u32) -> Result<u16, FieldError> {
    let narrow = u16::try_from(number).ok().filter(|queues| *queues <= MAX_QUEUES);
    narrow.map(|queues| queues.max(1)).ok_or(FieldError::Queues(number))
}

fn origin(request: &v1::AttachRequest) -> Result<Origin, OriginError> {
    let v1::Origin { source, sandbox, pod_uid, pod_namespace, pod_name, network, ifname } =
        request.origin.clone().unwrap_or_default();
    let origin = Origin {
        source: given(&source).map(|source| source.parse()).transpose()?.unwrap_or_default(),
        pod: Pod { uid: pod_uid, namespace: pod_namespace, name: pod_name },
        sandbox,
        network,
        ifname,
    };
    origin.check()?;
    Ok(origin)
}

fn guard_spec(request: &v1::AttachRequest) -> Result<GuardSpec, FieldError> {
    let prefix = |text: &String| -> Result<_, FieldError> {
        // An address stands for itself.
        let net = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(Into::into));
        Ok(guard::prefix(net.map_err(|_| FieldError::Prefix(text.clone()))?)?)
    };
    Ok(GuardSpec {
        off: RulesOff::from_names(request.guard_off.iter().map(String::as_str))?,
        prefixes: request.allowed_prefixes.iter().map(prefix).collect::<Result<_, _>>()?,
        vlans: request
            .allowed_vlans
            .iter()
            .map(|id| u16::try_from(*id).map_err(|_| GuardError::Vlan(id.to_string()))?.try_into())
            .collect::<Result<_, _>>()?,
        ethertypes: request
            .allowed_ethertypes
            .iter()
            .map(|n| u16::try_from(*n).map_err(|_| GuardError::EtherType(format!("{n:#x}")))?.try_into())
            .collect::<Result<_, _>>()?,
    })
}

fn hand_off(request: &v1::AttachRequest) -> Result<HandOff, FieldError> {
    let addresses = |what, texts: &[String]| -> Result<Vec<IpAddr>, FieldError> {
        let address =
            |text: &String| text.parse().map_err(|_| FieldError::Address { what, address: text.clone() });
        texts.iter().map(address).collect()
    };
    let private = |(code, value): (&u32, &Vec<u8>)| {
        let narrow = u8::try_from(*code).map_err(|_| HandOffError::PrivateCode(*code))?;
        Ok::<_, HandOffError>((narrow, value.clone()))
    };
    let number = |number: u32| (number != 0).then_some(number);
    let hand_off = HandOff {
        off: request.no_hand_off,
        dns: addresses("a name server", &request.dns)?,
        search: request.search.clone(),
        domain: given(&request.domain),
        ntp: addresses("an NTP server", &request.ntp)?,
        mtu: number(request.mtu),
        tftp_server: given(&request.tftp_server),
        boot_file: given(&request.boot_file),
        private_options: request.private_options.iter().map(private).collect::<Result<_, _>>()?,
        lease_seconds: number(request.lease_seconds),
    };
    hand_off.check()?;
    Ok(hand_off)
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The name given, or the usual one.
pub(super) fn name(given: &str, usual: &str) -> Result<IfName, IdError> {
    if given.is_empty() { usual.parse() } else { given.parse() }
}

/// A path that means the same to everybody.
pub(super) fn absolute(field: &'static str, path: &str) -> Result<PathBuf, FieldError> {
    if Path::new(path).is_absolute() {
        Ok(path.into())
    } else {
        Err(FieldError::Relative { field, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_refused_by_name_before_anything_is_touched() {
        let error = |request| port_spec(&request).unwrap_err().to_string();
        let request = v1::AttachRequest::default;
        assert_eq!(error(request()), "netns `` is not an absolute path");
        let host = v1::AttachRequest { netns: "/proc/self/ns/net".into(), ..request() };
        assert!(error(host).contains("is the node's own network namespace"));
        let missing = v1::AttachRequest { netns: "/run/netns/not-there".into(), ..request() };
        assert!(error(missing).contains("no network namespace at /run/netns/not-there"));
    }

    #[test]
    fn what_is_laid_over_is_checked_field_by_field() {
        let request = v1::AttachRequest::default;
        let given = v1::AttachRequest {
            dns: vec!["192.0.2.1".into(), "2001:db8::1".into()],
            search: vec!["a domain?".into()],
            mtu: 1400,
            private_options: [(224, vec![1])].into(),
            ..request()
        };
        let read = hand_off(&given).unwrap();
        assert_eq!((read.dns.len(), read.mtu, read.lease_seconds), (2, Some(1400), None));
        assert_eq!((read.private_options.get(&224), read.domain), (Some(&vec![1]), None));
        assert_eq!(hand_off(&request()).unwrap(), HandOff::default());
        for (expected, request) in [
            (
                "`ns1` is no address of a name server",
                v1::AttachRequest { dns: vec!["ns1".into()], ..request() },
            ),
            ("`` is no address of an NTP server", v1::AttachRequest { ntp: vec!["".into()], ..request() }),
            ("leases of 5 seconds", v1::AttachRequest { lease_seconds: 5, ..request() }),
            (
                "option 480 is not for private use",
                v1::AttachRequest { private_options: [(480, vec![1])].into(), ..request() },
            ),
        ] {
            let error = hand_off(&request).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} should say {expected}");
        }
    }
}
