// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent may die at any time: no packet is lost, and the next one adopts the port and goes on counting.

use std::net::SocketAddr;

use netagent_tests::{
    agent::Agent,
    attached::{self, Attached},
    flood::{Counted, Echo, Flood},
    poll,
    stand_in::StandIn,
    topology::{POD4, POD6, Pod},
};
use serde_json::Value;

use crate::{
    require_netns,
    scene::{SOON, Scene, configure, number, wait_ping},
};

/// Datagrams a second, each way: a busy machine may stall the stand-in for most of a second without losing one.
const RATE: u32 = 500;
/// Datagrams to see before something is taken as going on.
const SOME: u64 = 250;

#[derive(Clone, Copy, Debug)]
enum End {
    Sigkill,
    Sigterm,
}

struct Traffic {
    echo: Echo,
    flood: Flood,
}

impl Traffic {
    fn start(scene: &Scene, guest: &StandIn, target: SocketAddr) -> Self {
        wait_ping(scene.node(), &target.ip().to_string()).unwrap();
        let echo = Echo::start(&guest.guest, target).unwrap();
        Self { echo, flood: Flood::start(scene.node(), target, RATE).unwrap() }
    }

    fn wait_more(&self, what: &str) {
        let goal = self.flood.so_far().1 + SOME;
        poll::wait_until(&format!("traffic {what}"), SOON, || (self.flood.so_far().1 >= goal).then_some(()))
            .unwrap();
    }

    /// Nothing lost, counted at both ends.
    fn stop(self) -> Counted {
        let counted = self.flood.stop().unwrap();
        assert_eq!((counted.lost, counted.duplicated, counted.refused), (0, 0, 0), "{counted:?}");
        assert_eq!(self.echo.arrived(), counted.sent, "{counted:?}");
        counted
    }
}

fn survives(without_tcx: bool, end: End) {
    let mut builder = Agent::builder();
    if without_tcx {
        builder = builder.arg("--without").arg("tcx");
    }
    let mut scene = Scene::with(Pod::default(), builder).unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    configure(&guest).unwrap();
    let four = Traffic::start(&scene, &guest, (POD4, 7000).into());
    let six = Traffic::start(&scene, &guest, (POD6, 7000).into());
    four.wait_more("before");
    six.wait_more("before");
    let (programs, before) = (attached::programs(scene.pod()).unwrap(), scene.show().unwrap());
    assert_eq!(programs.len(), 3, "{programs:?}");

    match end {
        End::Sigkill => scene.agent.kill9().unwrap(),
        End::Sigterm => assert!(scene.agent.terminate().unwrap().success()),
    }
    four.wait_more("without an agent");
    six.wait_more("without an agent");
    assert_eq!(attached::programs(scene.pod()).unwrap(), programs);

    scene.agent.start().unwrap();
    let adopted = scene.wait_port("the port to be adopted", |port| port["state"] == "ready").unwrap();
    four.wait_more("after the restart");
    six.wait_more("after the restart");
    assert_same(&programs, &attached::programs(scene.pod()).unwrap());
    for counter in ["/counters/from_vm/packets", "/counters/to_vm/packets"] {
        let (then, now) = (number(&before, counter).unwrap(), number(&adopted, counter).unwrap());
        // All that passed without an agent was counted too.
        assert!(now >= then + 2 * SOME, "{counter}: {then} before, {now} after the restart");
    }
    assert_eq!(standing(adopted), standing(before));
    assert_eq!(scene.plan(&[]).unwrap(), Vec::<String>::new());
    let (four, six) = (four.stop(), six.stop());
    let after = scene.show().unwrap();
    for counter in ["/counters/from_vm/packets", "/counters/to_vm/packets"] {
        assert!(number(&after, counter).unwrap() >= four.sent + six.sent, "{counter}: {after}");
    }
    // The adopted port still answers DHCP.
    crate::scene::lease(&guest, netagent_tests::lease::DhcpClient::Udhcpc).unwrap();
}

fn assert_same(before: &[Attached], after: &[Attached]) {
    assert_eq!(before, after, "the programs are not the same ones any more");
}

/// A port without what goes on by itself.
fn standing(mut port: Value) -> Value {
    if let Some(fields) = port.as_object_mut() {
        fields.retain(|name, _| !["counters", "dhcp", "state_seconds"].contains(&name.as_str()));
    }
    port
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn nothing_is_lost_by_sigkill_with_tcx() {
    require_netns!();
    survives(false, End::Sigkill);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn nothing_is_lost_by_sigkill_with_clsact() {
    require_netns!();
    survives(true, End::Sigkill);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn nothing_is_lost_by_sigterm() {
    require_netns!();
    survives(false, End::Sigterm);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn an_agent_that_lacks_tcx_now_adopts_what_is_on_tcx() {
    require_netns!();
    let mut scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    configure(&guest).unwrap();
    let programs = attached::programs(scene.pod()).unwrap();
    let traffic = Traffic::start(&scene, &guest, (POD4, 7000).into());
    scene.agent.kill9().unwrap();
    scene.agent.set_args(["--without", "tcx"]);
    scene.agent.start().unwrap();
    let port = scene.wait_port("the port to be adopted", |port| port["state"] == "ready").unwrap();
    assert_eq!(port["datapath"]["hook"], "tcx");
    traffic.wait_more("after the restart");
    traffic.stop();
    assert_same(&programs, &attached::programs(scene.pod()).unwrap());
}
