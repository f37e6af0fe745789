// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests for one port at the same time: whoever comes last is right, and everybody agrees on it.

use std::{thread, time::Duration};

use netagent_tests::poll;

use crate::{
    require_netns,
    scene::{SOON, Scene, TAP},
    traces,
};

/// What the kernel, the agent and its files say about the port: is there one?
fn sightings(scene: &Scene) -> [bool; 3] {
    let links = scene.pod().ip_json("link show").unwrap().to_string();
    let ports = scene.agent.json(&["status"]).unwrap();
    [
        links.contains(TAP),
        ports.as_array().is_some_and(|p| !p.is_empty()),
        !scene.state_files().unwrap().is_empty(),
    ]
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn attach_and_detach_at_once_end_in_a_state_that_everybody_sees() {
    require_netns!();
    let scene = Scene::new().unwrap();
    for round in 0..12u64 {
        thread::scope(|scope| {
            for (start, attach) in [(0, true), (round * 7 % 40, false), (round * 11 % 60, true)] {
                let scene = &scene;
                scope.spawn(move || {
                    // Only spreads the requests; nothing depends on it.
                    thread::sleep(Duration::from_millis(start));
                    if attach {
                        assert_eq!(scene.try_attach(&[]).unwrap().code, 0);
                    } else {
                        scene.detach().unwrap();
                    }
                });
            }
        });
        let [tap, port, file] = sightings(&scene);
        assert!(tap == port && port == file, "round {round}: tap {tap}, port {port}, file {file}");
        scene.detach().unwrap();
        assert_eq!(sightings(&scene), [false; 3], "round {round}, after detach");
    }
    assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_new_namespace_with_an_old_number_is_nobodys_port() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let port = scene.attach(&[]).unwrap();
    let name = scene.pod().name().to_owned();
    // The kernel gives the inode number to the next namespace at once.
    scene.node().exec_ok(&["ip", "netns", "del", &name]).unwrap();
    scene.node().exec_ok(&["ip", "netns", "add", &name]).unwrap();
    poll::try_until("the port to be gone", SOON, || {
        let ports = scene.agent.json(&["status"])?;
        Ok(ports.as_array().is_some_and(Vec::is_empty).then_some(()))
    })
    .unwrap();
    assert!(!scene.pod().ip_json("link show").unwrap().to_string().contains(TAP), "was {port}");
    assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
}
