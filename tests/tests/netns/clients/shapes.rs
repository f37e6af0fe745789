// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pods as container network plugins leave them: every client boots in each and can reach what the pod could.

use std::thread;

use anyhow::{Result, anyhow};
use netagent_tests::{
    agent::Agent,
    client::Client,
    topology::{Layout, Pod},
};

use super::{
    case::Case,
    differences::remark,
    table::{self, Cell, Part},
};

const RESOLV_CONF: &str = "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\nnameserver 10.96.0.11\nnameserver fd00:96::10\n";

fn pod(layout: Layout) -> Pod {
    Pod { layout, mtu: 1450, resolv_conf: RESOLV_CONF.to_owned(), ..Pod::default() }
}

fn ipv6_alone(layout: Layout) -> Pod {
    Pod { ipv4: false, ..pod(layout) }
}

/// All clients at once, each in a pod of its own, behind one agent.
fn every_client(place: usize, name: &'static str, pod: &Pod) {
    crate::require_clients!();
    let agent = &Agent::builder().start().unwrap();
    let cells = thread::scope(|scope| {
        let runs = Client::ALL.map(|client| (client, scope.spawn(move || boot(agent, pod.clone(), client))));
        runs.map(|(client, run)| {
            let outcome = run.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
            let cell = outcome.unwrap_or_else(|error| Cell::Differs(format!("{error:#}")));
            table::note(Part::Shapes, place, name, client, &cell);
            (client.to_string(), cell)
        })
    });
    table::check(&cells);
}

fn boot(agent: &Agent, pod: Pod, client: Client) -> Result<Cell> {
    let case = Case::boot(agent, pod, client, &[])?;
    case.use_network()?;
    Ok(Cell::Ok(remark(&case)?))
}

macro_rules! shapes {
    ($($test:ident: $place:literal, $name:literal, $pod:expr;)+) => {
        $(
            #[test]
            #[ignore = "needs root: cargo xtask test netns"]
            fn $test() {
                every_client($place, $name, &$pod);
            }
        )+
    };
}

shapes! {
    every_client_in_a_pod_of_ptp: 1, "ptp: /32 gateway, prefix behind it", pod(Layout::Ptp);
    every_client_in_a_pod_of_flannel: 2, "flannel, bridge + host-local: /24, cluster range via the gateway", pod(Layout::Flannel);
    every_client_in_a_pod_of_calico: 3, "Calico: /32, 169.254.1.1 on link", pod(Layout::Calico);
    every_client_in_a_pod_of_cilium: 4, "Cilium: /32, gateway of link scope", pod(Layout::Cilium);
    every_client_in_a_pod_of_openshift: 5, "OpenShift: /14 and 224.0.0.0/4 on link, services via the gateway", pod(Layout::OpenShift);
    every_client_in_a_pod_without_routes: 6, "static, no routes", pod(Layout::NoRoutes);
    every_client_in_a_pod_without_default_route: 7, "static, one route, no default", pod(Layout::NoDefault);
    every_client_in_a_pod_of_several_addresses: 8, "several addresses", pod(Layout::SeveralAddresses);
    every_client_in_a_pod_with_a_link_local_gateway: 9, "dual stack, IPv6 gateway fe80::1", pod(Layout::LinkLocalGateway);
    every_client_in_a_pod_of_ipv6_alone: 10, "IPv6 alone: /64", ipv6_alone(Layout::Subnet);
    every_client_in_a_pod_of_ipv6_alone_by_ptp: 11, "IPv6 alone, ptp: /128 gateway", ipv6_alone(Layout::Ptp);
}
