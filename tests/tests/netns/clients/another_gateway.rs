// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pod's default gateway is another one, and the one of before is still there: a guest renews with that, is answered,
//! and goes the pod's new way.

use std::thread;

use anyhow::{Context as _, Result, anyhow};
use netagent_tests::{
    agent::Agent,
    client::{Ask, Client, System},
    dialogue::{Message, State::Renewing},
    poll,
    topology::{HOST_LINK, Layout, POD_LINK, Pod},
};

use super::{
    case::Case,
    differences::differences,
    table::{self, Cell, Part},
};
use crate::scene::{SOON, show};

const GATEWAY: &str = "10.88.0.2";

fn renews(agent: &Agent, client: Client) -> Result<Cell> {
    let by_itself = System::cannot(client, Ask::Renew);
    // One that cannot be asked renews at T1 alone, which comes after half a minute at the soonest.
    let flags: &[&str] = if by_itself.is_some() { &["--lease-seconds", "60"] } else { &[] };
    let pod = Pod { layout: Layout::Flannel, ipv6: false, ..Pod::default() };
    let mut case = Case::boot(agent, pod, client, flags)?;
    case.use_network()?;
    case.topology.node.ip(&format!("address add {GATEWAY}/24 dev {HOST_LINK}"))?;
    case.topology.pod.ip(&format!("route replace default via {GATEWAY} dev {POD_LINK}"))?;
    poll::try_until("the agent to serve the new gateway", SOON, || {
        let port = show(agent, &case.topology)?;
        Ok(port["guest"]["routes"].to_string().contains(GATEWAY).then_some(()))
    })?;
    let seen = case.messages()?.len();
    if by_itself.is_none() {
        case.system.ask(Ask::Renew)?;
    }
    case.wait_said(seen, &[Message::Request(Renewing), Message::ACK])?;
    let how = if client == Client::Dhclient {
        only_the_route_is_old(&case)?;
        "at T1; Debian's script sets routes along with another address alone"
    } else {
        case.wait_inherited().with_context(|| case.system.log())?;
        ""
    };
    case.use_network()?;
    Ok(Cell::Ok(how.to_owned()))
}

/// It heard of the new gateway, and nothing else is amiss.
fn only_the_route_is_old(case: &Case) -> Result<()> {
    let known = format!("option routers {GATEWAY};");
    poll::try_until("the new gateway in the client's lease", SOON, || {
        Ok(case.system.leases()?.contains(&known).then_some(()))
    })?;
    let differs = differences(case)?;
    let [one] = differs.as_slice() else { return Err(anyhow!("{}", differs.join("; "))) };
    if one.starts_with("route 0.0.0.0/0: ") { Ok(()) } else { Err(anyhow!("{one}")) }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn every_client_renews_with_the_gateway_of_before() {
    crate::require_clients!();
    let agent = &Agent::builder().start().unwrap();
    let cells = thread::scope(|scope| {
        let runs = Client::ALL.map(|client| (client, scope.spawn(move || renews(agent, client))));
        runs.map(|(client, run)| {
            let outcome = run.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
            let cell = outcome.unwrap_or_else(|error| Cell::Differs(format!("{error:#}")));
            table::note(Part::Scenarios, 8, "the pod has another gateway than the lease", client, &cell);
            (client.to_string(), cell)
        })
    });
    table::check(&cells);
}
