// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pods that cannot be wired: refused by name with the remedy, nothing left behind, and wired once they are mended.

use std::{fs, process::Command, time::Duration};

use netagent_tests::{
    agent::Agent,
    lease::DhcpClient,
    process::run,
    topology::{POD_LINK, POD4, Pod},
};

use crate::{
    require_netns,
    scene::{self, Scene, is_pods, lease, ping},
    snapshot::Snapshot,
    traces::{self, Held},
};

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_is_no_pods_namespace_is_refused_by_its_path() {
    require_netns!();
    let agent = Agent::builder().start().unwrap();
    let held = Held::by(&agent).unwrap();
    let file = agent.dir().join("plain-file");
    fs::write(&file, "precious").unwrap();
    let fifo = agent.dir().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    // init's own may not be readable, as in a container; the agent's always is.
    let agents = format!("/proc/{}/ns/net", agent.pid().unwrap());
    let (file, fifo) = (file.to_str().unwrap(), fifo.to_str().unwrap());
    for (path, word) in [
        ("/run/netns/natest-not-there", "no network namespace at"),
        (file, "is not a network namespace"),
        (fifo, "is not a network namespace"),
        ("/", "is not a network namespace"),
        ("/proc/self/ns/mnt", "is not a network namespace"),
        ("/proc/self/ns/user", "is not a network namespace"),
        (agents.as_str(), "is the node's own network namespace"),
        ("/proc/self/ns/net", "is the node's own network namespace"),
    ] {
        for verb in ["attach", "plan"] {
            let refused = agent.cli(&[verb, "--netns", path]).unwrap();
            assert_eq!(refused.code, 1, "{verb} {path}: {refused:?}");
            for expected in [path, word, "/run/netns/NAME"] {
                assert!(refused.stderr.contains(expected), "{verb} {path}: {}", refused.stderr);
            }
        }
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
    assert_eq!(agent.json(&["status"]).unwrap(), serde_json::json!([]));
    assert_eq!(traces::of_ports(&agent).unwrap(), Vec::<String>::new());
    held.wait_back(&agent).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_relative_path_means_the_callers() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let call = |verb: &str| {
        let mut command = Command::new(scene.agent.binary());
        command.current_dir("/run/netns").args([verb, "--netns", scene.pod().name()]);
        command.arg("--socket").arg(scene.agent.socket());
        run(&mut command, Duration::from_secs(60)).unwrap()
    };
    let attached = call("attach");
    assert_eq!(attached.code, 0, "{attached:?}");
    assert_eq!(scene.show().unwrap()["netns"], scene::path(scene.pod()).unwrap());
    assert_eq!(call("show").code, 0);
    let detached = call("detach");
    assert!(detached.code == 0 && detached.stdout.contains("detached"), "{detached:?}");
}

/// How to spoil a pod, how to mend it, and what the refusal says.
struct Spoilt {
    spoil: &'static [&'static str],
    mend: &'static [&'static str],
    says: &'static [&'static str],
}

const POD_ADDRESSES: [&str; 3] = [
    "address add 10.88.0.5/24 dev eth0",
    "address add fd00:88::5/64 dev eth0 nodad",
    "route replace default via 10.88.0.1 dev eth0 onlink",
];

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_pod_link_that_is_not_ready_is_refused_until_it_is() {
    require_netns!();
    let cases = [
        Spoilt {
            spoil: &["link set eth0 down", "link set eth0 name other0"],
            mend: &[
                "link set other0 name eth0",
                "link set eth0 up",
                "route add default via 10.88.0.1 dev eth0 onlink",
            ],
            says: &["no link eth0", "--pod-link"],
        },
        Spoilt {
            spoil: &["link set eth0 down"],
            mend: &["link set eth0 up", "route add default via 10.88.0.1 dev eth0 onlink"],
            says: &["pod link eth0 is down", "ip link set eth0 up"],
        },
        Spoilt {
            spoil: &["address flush dev eth0 scope global"],
            mend: &POD_ADDRESSES,
            says: &["pod link eth0 has no address", "give it one"],
        },
    ];
    for flags in [&[][..], &["--without", "tcx"]] {
        for case in &cases {
            let builder = flags.iter().fold(Agent::builder(), |builder, flag| builder.arg(*flag));
            let scene = Scene::with(Pod::default(), builder).unwrap();
            for command in case.spoil {
                scene.pod().ip(command).unwrap();
            }
            let before = Snapshot::take(scene.pod()).unwrap();
            let held = Held::by(&scene.agent).unwrap();
            let refused = scene.try_attach(&[]).unwrap();
            assert_eq!(refused.code, 1, "{refused:?}");
            for word in case.says {
                assert!(refused.stderr.contains(word), "{}", refused.stderr);
            }
            assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
            assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
            assert_eq!(scene.agent.json(&["status"]).unwrap(), serde_json::json!([]));
            held.wait_back(&scene.agent).unwrap();

            for command in case.mend {
                scene.pod().ip(command).unwrap();
            }
            scene.attach(&[]).unwrap();
            let guest = scene.guest().unwrap();
            assert!(is_pods(lease(&guest, DhcpClient::Udhcpc).unwrap().address));
            ping(scene.node(), &POD4.to_string()).unwrap();
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn asks_that_make_no_sense_are_refused_and_leave_nothing() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let before = Snapshot::take(scene.pod()).unwrap();
    for (flags, word) in [
        (&["--tap", POD_LINK][..], "both called eth0"),
        (&["--mac", "ff:ff:ff:ff:ff:ff"], "cannot be the guest's MAC"),
        (&["--mac", "00:00:00:00:00:00"], "cannot be the guest's MAC"),
        (&["--pod-link", "lo"], "lo"),
        (&["--tap", "lo"], "lo exists and was not made by netagent"),
    ] {
        let refused = scene.try_attach(flags).unwrap();
        assert_eq!(refused.code, 1, "{flags:?}: {refused:?}");
        assert!(refused.stderr.contains(word), "{flags:?}: {}", refused.stderr);
    }
    assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
    assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
}
