// SPDX-License-Identifier: MIT OR Apache-2.0
//! A port as the API shows it.

use netagent_common::counters::{Count, DropReason, PortCounters};

use super::v1;
use crate::{
    core::{guard::GuardSpec, guest::Guest, hand_off::to_hex},
    datapath::DatapathError,
    reconcile::{Parts, PortLookup, Wired},
};

/// The port's message; counters and dialogue are read now.
pub(super) fn port(parts: &Parts, lookup: &PortLookup) -> Result<v1::Port, DatapathError> {
    let spec = &lookup.spec;
    let mut port = v1::Port {
        id: lookup.id.to_string(),
        state: lookup.status.state.as_str().to_owned(),
        reason: lookup.status.reason.clone(),
        netns: spec.netns.display().to_string(),
        pod_link: Some(v1::PodLink { ifname: spec.pod_link.to_string(), ..v1::PodLink::default() }),
        tap: Some(v1::Tap {
            ifname: spec.tap.name.to_string(),
            queues: spec.tap.queues.into(),
            owner: spec.tap.owner_text(),
            ..v1::Tap::default()
        }),
        guard: Some(guard(&spec.guard)),
        origin: Some(v1::Origin {
            source: spec.origin.source.to_string(),
            sandbox: spec.origin.sandbox.clone(),
            pod_uid: spec.origin.pod.uid.clone(),
            pod_namespace: spec.origin.pod.namespace.clone(),
            pod_name: spec.origin.pod.name.clone(),
        }),
        mode: spec.mode.to_string(),
        state_seconds: lookup.status.since.elapsed().as_secs(),
        ..v1::Port::default()
    };
    if let Some(wired) = &lookup.status.wired {
        fill(&mut port, parts, wired)?;
    }
    Ok(port)
}

fn fill(port: &mut v1::Port, parts: &Parts, wired: &Wired) -> Result<(), DatapathError> {
    let link = &wired.desired.pod_link;
    if let Some(pod_link) = &mut port.pod_link {
        pod_link.ifindex = link.ifindex;
        pod_link.mac = wired.desired.pod_mac.to_string();
        pod_link.mtu = link.mtu;
    }
    if let Some(tap) = &mut port.tap {
        tap.ifindex = wired.tap_ifindex;
        tap.mtu = link.mtu;
    }
    let lease = parts.dhcp.lease(wired.slot);
    let seconds = lease.as_ref().map(|lease| u32::try_from(lease.lease_time.as_secs()).unwrap_or(u32::MAX));
    let own = wired.desired.guest.hand_off.lease_seconds;
    port.guest = Some(guest(&wired.desired.guest, own.or(seconds).unwrap_or_default()));
    port.datapath = Some(v1::Datapath {
        tier: wired.desired.tier.to_string(),
        hook: wired.hook.to_string(),
        reason: wired.desired.tier_reason.clone(),
        warnings: wired.desired.warnings.clone(),
    });
    port.counters = Some(counters(&parts.datapath.maps().counters(wired.slot)?));
    let dialogue = parts.dhcp.dialogue(wired.slot);
    port.dhcp = Some(v1::Dhcp {
        lease: lease.map_or_else(String::new, |lease| {
            format!("{} for {} s", lease.address, lease.lease_time.as_secs())
        }),
        last: dialogue.last,
        messages: dialogue.messages,
    });
    Ok(())
}

fn guest(guest: &Guest, lease_seconds: u32) -> v1::Guest {
    let told = &guest.hand_off;
    v1::Guest {
        mac: guest.mac.to_string(),
        addresses: guest.addresses.iter().map(ToString::to_string).collect(),
        gateway: guest.ipv4_gateway().map_or_else(String::new, |g| g.to_string()),
        routes: guest
            .routes
            .iter()
            .map(|r| v1::Route {
                destination: r.destination.to_string(),
                gateway: r.gateway.map_or_else(String::new, |g| g.to_string()),
            })
            .collect(),
        dns: Some(v1::Dns {
            servers: guest.dns.servers.iter().map(ToString::to_string).collect(),
            search: guest.dns.search.clone(),
        }),
        hostname: guest.hostname.clone().unwrap_or_default(),
        routers: guest
            .routers
            .iter()
            .map(|r| v1::Router {
                link_local: r.link_local.to_string(),
                default_route: r.default,
                routes: r.routes.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        mtu: guest.mtu,
        domain: told.domain.clone().unwrap_or_default(),
        ntp: told.ntp.iter().map(ToString::to_string).collect(),
        tftp_server: told.tftp_server.clone().unwrap_or_default(),
        boot_file: told.boot_file.clone().unwrap_or_default(),
        private_options: told.private_options.iter().map(|(code, v)| ((*code).into(), to_hex(v))).collect(),
        lease_seconds,
    }
}

fn guard(guard: &GuardSpec) -> v1::Guard {
    v1::Guard {
        off: guard.off.names().into_iter().map(str::to_owned).collect(),
        allowed_prefixes: guard.prefixes.iter().map(ToString::to_string).collect(),
        allowed_vlans: guard.vlans.iter().map(|id| id.get().into()).collect(),
        allowed_ethertypes: guard.ethertypes.iter().map(ToString::to_string).collect(),
    }
}

fn counters(counters: &PortCounters) -> v1::Counters {
    let count = |c: Count| Some(v1::Count { packets: c.packets, bytes: c.bytes });
    v1::Counters {
        from_vm: count(counters.from_vm),
        to_vm: count(counters.to_vm),
        punted: count(counters.punted),
        drops: DropReason::ALL
            .into_iter()
            .filter_map(|reason| counters.drops.get(reason as usize).map(|c| (reason, c.packets)))
            .filter(|(_, packets)| *packets > 0)
            .map(|(reason, packets)| (reason.as_str().to_owned(), packets))
            .collect(),
    }
}
