// SPDX-License-Identifier: MIT OR Apache-2.0
//! Versions follow each other under a port that carries tens of thousands of packets a second: forwards, backwards,
//! with another ABI and with the same one, cut off by SIGKILL. Nothing is lost, and every count goes on.

use std::{collections::BTreeSet, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use netagent_tests::{
    agent::{Agent, Version},
    attached,
    load::{Carried, Load},
    poll,
    process::Process,
    require::Need,
    topology::{HOST_LINK, POD_LINK, POD4, Pod},
};
use serde_json::Value;

use crate::{
    require_netns,
    scene::{self, SOON, Scene, TAP, number},
    snapshot::Snapshot,
    traces,
};

/// Packets a second, each way.
const RATE: u32 = 27_500;
/// Packets to see, each way, before something is taken as going on.
const SOME: u64 = 500;
/// The versions in turn: every pair of neighbours differs in ABI, in programs, or in both.
const TURNS: [Version; 4] = [Version::Next, Version::This, Version::NextPrograms, Version::This];

/// A port that is not in the first slot, though that is free: whoever does not know its slot gives it another.
fn scene(without_tcx: bool) -> Result<(Scene, Snapshot, u64)> {
    let mut builder = Agent::builder();
    if without_tcx {
        builder = builder.arg("--without").arg("tcx");
    }
    let scene = Scene::with(Pod { ipv6: false, ..Pod::default() }, builder)?;
    // Nothing but the load is to be counted: no neighbour discovery, no ARP.
    for (netns, link) in [(scene.node(), HOST_LINK), (scene.pod(), POD_LINK)] {
        netns.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        netns.sysctl(&format!("ipv6/conf/{link}/disable_ipv6"), "1")?;
    }
    let mac = scene.topology.pod_mac()?;
    scene.node().ip(&format!("neigh replace {POD4} lladdr {mac} dev {HOST_LINK} nud permanent"))?;
    let before = Snapshot::take(scene.pod())?;
    let neighbour = Pod::default().build()?;
    scene::attach(&scene.agent, &neighbour, &[])?;
    scene.attach(&[])?;
    scene::detach(&scene.agent, &neighbour)?;
    let asked = asked(&scene)?;
    Ok((scene, before, asked))
}

/// How many questions the self-test asked, once each has its answer: all that the port has carried, each way.
fn asked(scene: &Scene) -> Result<u64> {
    let carried = |port: &Value, way| number(port, &format!("/counters/{way}/packets")).ok();
    let port = scene.wait_port("an answer to each question of the self-test", |port| {
        carried(port, "to_vm").is_some() && carried(port, "to_vm") == carried(port, "from_vm")
    })?;
    number(&port, "/counters/from_vm/packets")
}

fn wait_more(load: &Load, what: &str) -> Result<()> {
    let (from_vm, to_vm) = load.arrived();
    poll::wait_until(&format!("the load to pass {what}"), SOON, || {
        let now = load.arrived();
        (now.0 >= from_vm + SOME && now.1 >= to_vm + SOME).then_some(())
    })
}

/// The port's programs by their ids.
fn programs(scene: &Scene) -> Result<BTreeSet<u32>> {
    Ok(attached::programs(scene.pod())?.iter().map(|one| one.id).collect())
}

/// Starts `version` and sees that every program is its own, and that of the versions' maps only its own is left.
fn take_over(scene: &mut Scene, version: Version, before: &BTreeSet<u32>) -> Result<BTreeSet<u32>> {
    scene.agent.set_version(version)?;
    scene.agent.start()?;
    scene.wait_port("the port to be taken over", |port| port["state"] == "ready")?;
    let now = programs(scene)?;
    if now.len() != before.len() || !now.is_disjoint(before) {
        return Err(anyhow!("{version:?} has programs {now:?}, and before it there were {before:?}"));
    }
    poll::try_until("the other version's map to go", SOON, || {
        Ok((ports_maps(scene)?.len() == 1).then_some(()))
    })
    .with_context(|| format!("{version:?} has {:?}", ports_maps(scene).ok()))?;
    Ok(now)
}

fn ports_maps(scene: &Scene) -> Result<Vec<String>> {
    let pins = scene.agent.bpffs().pins()?;
    let names = pins.iter().filter_map(|pin| pin.file_name()?.to_str());
    Ok(names.filter(|name| name.starts_with("PORTS-v")).map(str::to_owned).collect())
}

/// Nothing lost at either end, and the port has counted what both ends have, and before it what was `asked`.
fn assert_whole(scene: &Scene, carried: &Carried, asked: u64, what: &str) {
    println!(
        "{what}: {:.0} packets a second, {} from the guest and {} to it in {:.1} s",
        carried.rate(),
        carried.from_vm.sent,
        carried.to_vm.sent,
        carried.time.as_secs_f64()
    );
    let port = scene.show().unwrap();
    let clean = |way: &netagent_tests::flood::Counted| (way.lost, way.duplicated, way.refused) == (0, 0, 0);
    assert!(clean(&carried.from_vm) && clean(&carried.to_vm), "{carried:?}; the port counts {port}");
    assert_eq!(number(&port, "/counters/from_vm/packets").unwrap(), asked + carried.from_vm.sent, "{port}");
    assert_eq!(number(&port, "/counters/to_vm/packets").unwrap(), asked + carried.read, "{port}");
    assert_eq!(carried.read, carried.to_vm.sent, "{port}");
}

/// One version after the other, each change a stop and a start; every fifth stop is a SIGKILL.
fn changes(without_tcx: bool, count: usize) {
    let (mut scene, before, asked) = scene(without_tcx).unwrap();
    let load = Load::start(&scene.topology, TAP, RATE).unwrap();
    wait_more(&load, "before the first change").unwrap();
    let mut ids = programs(&scene).unwrap();
    let mut kills = 0;
    for (turn, version) in TURNS.into_iter().cycle().take(count).enumerate() {
        if turn % 5 == 4 {
            scene.agent.kill9().unwrap();
            kills += 1;
        } else {
            assert!(scene.agent.terminate().unwrap().success());
        }
        ids = take_over(&mut scene, version, &ids).with_context(|| format!("change {turn}")).unwrap();
    }
    wait_more(&load, "after the last change").unwrap();
    let carried = load.stop().unwrap();
    let what = format!("{count} changes of version, {kills} of them after SIGKILL");
    assert_whole(&scene, &carried, asked, &what);
    assert_gone(&scene, &before);
}

/// The last version takes off what the first one put on, the qdisc included.
fn assert_gone(scene: &Scene, before: &Snapshot) {
    scene.detach().unwrap();
    assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
    assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_hundred_upgrades_and_rollbacks_lose_nothing_with_tcx() {
    require_netns!();
    netagent_tests::require!(Need::OtherAgents);
    changes(false, 100);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn upgrades_and_rollbacks_lose_nothing_with_clsact() {
    require_netns!();
    netagent_tests::require!(Need::OtherAgents);
    changes(true, 20);
}

/// The next version is killed ever later in its start, and then the version before it has to go on from what it left.
fn killed_upgrades(without_tcx: bool, count: u32) {
    let (mut scene, before, asked) = scene(without_tcx).unwrap();
    let load = Load::start(&scene.topology, TAP, RATE).unwrap();
    wait_more(&load, "before the first kill").unwrap();
    let mut left_midway = 0;
    for round in 0..count {
        let maps = poll::try_until("one map to be left", SOON, || {
            Ok(Some(ports_maps(&scene)?).filter(|all| all.len() == 1))
        })
        .unwrap();
        scene.agent.kill9().unwrap();
        scene.agent.set_version(Version::Next).unwrap();
        let log = scene.agent.dir().join("killed.log");
        let mut upgrade = Process::spawn_logged(&mut scene.agent.run_command(), &log).unwrap();
        // Once its map is there the upgrade has begun; the rounds cut it off ever later from then on.
        poll::try_until("an upgrade to begin", SOON, || Ok((ports_maps(&scene)? != maps).then_some(())))
            .unwrap();
        thread::sleep(Duration::from_millis(2 * u64::from(round)));
        upgrade.kill9().unwrap();
        left_midway += usize::from(ports_maps(&scene).unwrap().len() > 1);
        scene.agent.set_version(Version::This).unwrap();
        scene.agent.start().unwrap();
        scene.wait_port("the port to be taken back", |port| port["state"] == "ready").unwrap();
    }
    wait_more(&load, "after the last kill").unwrap();
    poll::try_until("the other version's map to go", SOON, || {
        Ok((ports_maps(&scene)?.len() == 1).then_some(()))
    })
    .unwrap();
    let carried = load.stop().unwrap();
    let what = format!("{count} upgrades killed and rolled back, {left_midway} of them midway");
    assert_whole(&scene, &carried, asked, &what);
    assert_gone(&scene, &before);
    assert!(left_midway > 0, "no kill came between the beginning and the end of an upgrade");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn upgrades_that_are_killed_lose_nothing_with_tcx() {
    require_netns!();
    netagent_tests::require!(Need::OtherAgents);
    killed_upgrades(false, 20);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn upgrades_that_are_killed_lose_nothing_with_clsact() {
    require_netns!();
    netagent_tests::require!(Need::OtherAgents);
    killed_upgrades(true, 10);
}
