// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each command does: a few calls of the agent, which does the work.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use super::{Ask, Call, CniError, Removal, Request, SpecVersion, agent::Agent, error::chain};
use crate::{
    api::{ClientError, v1},
    core::{
        ids::{IfName, PortId},
        origin::Source,
        owned,
    },
    netlink::Netlink,
    sys::netns::Netns,
};

/// Carries a request out; what is to be said, if anything.
pub(super) async fn carry_out(request: &Request) -> Result<Option<Value>, CniError> {
    let socket = &request.socket;
    match &request.call {
        Call::Add(ask) => add(ask, socket).await.map(Some),
        Call::Check(ask) => check(ask, socket).await.map(|()| None),
        Call::Del(removal) => del(removal, socket).await.map(|()| None),
        Call::Gc { network, valid } => gc(network, valid, socket).await.map(|()| None),
        Call::Status => status(socket).await.map(|()| None),
        Call::Version { spoken } => Ok(Some(versions(spoken))),
    }
}

/// The agent wires a port whole or leaves nothing of it; so there is nothing to undo here.
async fn add(ask: &Ask, socket: &Path) -> Result<Value, CniError> {
    let request = ask.request(secondary_is_there(ask).await?);
    let port = Agent::connect(socket).await?.attach(request).await?;
    Ok(ask.result(&port).encode(ask.version))
}

/// Ready, as the agent says; and as it should be, by a look of now; and with what the chain's result says.
async fn check(ask: &Ask, socket: &Path) -> Result<(), CniError> {
    let request = ask.request(secondary_is_there(ask).await?);
    let mut agent = Agent::connect(socket).await?;
    let port = agent.get((&ask.attachment).into()).await.map_err(|error| match error {
        CniError::Agent { source: ClientError::Refused(status), .. }
            if status.code() == tonic::Code::NotFound =>
        {
            CniError::NotAsAdded(status.message().to_owned())
        }
        other => other,
    })?;
    if port.state != "ready" {
        return Err(CniError::NotAsAdded(format!("port {} is {}: {}", port.id, port.state, port.reason)));
    }
    let steps = agent.plan(request).await?;
    if !steps.is_empty() {
        let steps = steps.join("; ");
        return Err(CniError::NotAsAdded(format!(
            "port {} is not as it should be; it takes: {steps}",
            port.id
        )));
    }
    match ask.difference(&port) {
        Some(difference) => Err(CniError::NotAsAdded(format!("port {}: {difference}", port.id))),
        None => Ok(()),
    }
}

/// Without an agent a DEL succeeds when nothing of ours is in the namespace, and when it is a Kubernetes pod's: the
/// kubelet would keep a pod that cannot be taken down, its namespace goes with it, and everything of ours with that. The
/// agent drops its record when it starts again and the namespace is not there.
async fn del(removal: &Removal, socket: &Path) -> Result<(), CniError> {
    let detach = async { Agent::connect(socket).await?.detach((&removal.attachment).into()).await };
    match detach.await {
        Ok(detached) => {
            if !detached.is_empty() {
                log(format_args!("DEL took off {}", detached.join(", ")));
            }
            Ok(())
        }
        Err(error @ (CniError::NoAgent(_) | CniError::Slow { .. })) => {
            if removal.kubernetes {
                log(format_args!(
                    "DEL leaves {} to its namespace's end: {error}",
                    removal.attachment.container
                ));
                Ok(())
            } else if tap_is_there(removal).await? {
                Err(error)
            } else {
                Ok(())
            }
        }
        Err(error) => Err(error),
    }
}

async fn gc(network: &str, valid: &BTreeSet<(String, String)>, socket: &Path) -> Result<(), CniError> {
    let mut agent = Agent::connect(socket).await?;
    let origins = agent.ports().await?.into_iter().filter_map(|port| port.origin);
    let of_network = |origin: &v1::Origin| origin.source == Source::Cni.as_str() && origin.network == network;
    let mut reasons = Vec::new();
    for origin in origins.filter(of_network) {
        let key = (origin.sandbox, origin.ifname);
        if valid.contains(&key) {
            continue;
        }
        let (sandbox, ifname) = key;
        match agent.detach(v1::Attachment { sandbox, ifname }).await {
            Ok(detached) => log(format_args!("GC took off {}", detached.join(", "))),
            // The rest goes all the same.
            Err(error) => reasons.push(error.to_string()),
        }
    }
    match reasons.len() {
        0 => Ok(()),
        count => Err(CniError::Stale { count, reasons: reasons.join("; ") }),
    }
}

async fn status(socket: &Path) -> Result<(), CniError> {
    let room = Agent::connect(socket).await?.capacity().await?;
    if room.ports >= room.limit { Err(CniError::Full { limit: room.limit }) } else { Ok(()) }
}

fn versions(spoken: &str) -> Value {
    let supported: Vec<_> = SpecVersion::ALL.iter().map(|version| version.as_str()).collect();
    json!({ "cniVersion": spoken, "supportedVersions": supported })
}

/// Whether the pod has the link of the secondary network that KubeVirt's call may be for: Multus makes it before.
async fn secondary_is_there(ask: &Ask) -> Result<bool, CniError> {
    let netns = open(&ask.netns)?;
    match ask.secondary_link() {
        Some(link) => Ok(link_alias(&netns, &link).await?.is_some()),
        None => Ok(false),
    }
}

async fn tap_is_there(removal: &Removal) -> Result<bool, CniError> {
    let Some(path) = &removal.netns else { return Ok(false) };
    let netns = match Netns::open(path) {
        Ok(netns) => netns,
        Err(e) if e.is_gone() => return Ok(false),
        Err(e) => return Err(look(&e)),
    };
    let pod_link = removal.attachment.ifname.clone();
    let port = PortId { netns_ino: netns.id().ino, pod_link };
    let alias = link_alias(&netns, &removal.tap).await?;
    Ok(alias.is_some_and(|alias| owned::is_tap_of(&port, alias.as_deref())))
}

fn open(path: &Path) -> Result<Netns, CniError> {
    Netns::open_pod(path).map_err(|e| CniError::Netns(chain(&e)))
}

/// The alias of a link, which it need not have; `None` when there is no such link.
async fn link_alias(netns: &Netns, name: &IfName) -> Result<Option<Option<String>>, CniError> {
    let netlink = Netlink::open(netns).await.map_err(|e| look(&e))?;
    let link = netlink.link(name).await.map_err(|e| look(&e))?;
    Ok(link.map(|link| link.alias))
}

fn look(error: &(dyn std::error::Error + 'static)) -> CniError {
    CniError::Look(chain(error))
}

/// To standard error, which runtimes put into their log. Standard output is the runtime's.
fn log(text: std::fmt::Arguments<'_>) {
    eprintln!("netagent: {text}");
}
