// SPDX-License-Identifier: MIT OR Apache-2.0
//! A container runtime that takes connections and never answers: the agent goes on without it, and says so.

use std::{
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::mpsc,
    thread,
};

use netagent_tests::{
    agent::Agent,
    lease::DhcpClient,
    poll,
    scrape::{Scrape, get},
    topology::{POD4, Pod},
};

use crate::{
    require_netns,
    scene::{SOON, Scene, lease, wait_ping},
};

const ADDRESS: &str = "127.0.0.1:9407";

/// Takes connections and keeps them open, until the other end of the channel is gone.
fn silent(path: &Path) -> mpsc::Receiver<UnixStream> {
    let listener = UnixListener::bind(path).unwrap();
    let (taken, kept) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if taken.send(stream).is_err() {
                break;
            }
        }
    });
    kept
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_runtime_that_never_answers_costs_no_port_anything() {
    require_netns!();
    let dir = tempfile::tempdir().unwrap();
    let sockets = ["cri", "nri"].map(|source| (source, dir.path().join(source)));
    let kept = sockets.each_ref().map(|(_, path)| silent(path));
    let topology = Pod::default().build().unwrap();
    let mut agent = Agent::builder().netns(&topology.node).arg("--metrics").arg(ADDRESS);
    for (source, path) in &sockets {
        agent = agent.arg("--set").arg(format!("{source}.socket={}", path.display()));
    }
    let scene = Scene { agent: agent.start().unwrap(), topology };
    for kept in &kept {
        kept.recv_timeout(SOON).unwrap();
    }

    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    lease(&guest, DhcpClient::Udhcpc).unwrap();
    for said in ["no answer within 10 s", "did not configure the plugin within 5 s"] {
        poll::wait_until(said, SOON, || scene.agent.log().contains(said).then_some(())).unwrap();
    }
    let address = ADDRESS.parse().unwrap();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(scene.node(), address, path).unwrap(), (200, "ok\n".into()), "{path}");
    }
    let seen = Scrape::of(scene.node(), address).unwrap();
    for source in ["cri", "nri"] {
        assert_eq!(seen.value("netagent_source_up", &[("source", source)]).unwrap(), 0.0, "{source}");
    }
    let told = scene.agent.json(&["sources"]).unwrap();
    let told: Vec<_> =
        told.as_array().unwrap().iter().map(|source| (&source["name"], &source["up"])).collect();
    assert_eq!(told, [(&"cri".into(), &false.into()), (&"nri".into(), &false.into())]);
    assert_eq!(scene.show().unwrap()["state"], "ready");
    wait_ping(scene.node(), &POD4.to_string()).unwrap();
}
