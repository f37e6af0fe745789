// SPDX-License-Identifier: MIT OR Apache-2.0
//! What netagent takes of what this kernel has, when nobody tells it.

use netagent_tests::{
    agent::Agent,
    attached, fact,
    require::Need,
    topology::{POD_LINK, Pod},
};

/// The first release with tcx (e420bed02507, "bpf: Add fd-based tcx multi-prog infra with link support").
const FIRST_WITH_TCX: (u32, u32) = (6, 6);

/// Major and minor number of this kernel's release.
fn release() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
#[ignore = "needs root: cargo xtask vm"]
fn the_agent_takes_the_best_hook_and_tier() {
    netagent_tests::require!(Need::Root, Need::Tun, Need::BpfFs, Need::Agent);
    let tcx = attached::kernel_has_tcx().unwrap();
    fact::tell("tcx", if tcx { "yes" } else { "no" });
    assert_eq!(tcx, release() >= FIRST_WITH_TCX, "release {:?}", release());

    let topology = Pod::default().build().unwrap();
    let agent = Agent::builder().start().unwrap();
    let netns = topology.pod.path().display().to_string();
    let port = agent.json(&["attach", "--netns", &netns]).unwrap();
    assert_eq!(port["state"], "ready", "{port}");
    let taken = |key: &str| port["datapath"][key].as_str().unwrap().to_owned();
    for key in ["hook", "tier", "reason"] {
        fact::tell(key, taken(key));
    }
    assert_eq!(taken("hook"), if tcx { "tcx" } else { "clsact" });
    // Every kernel that netagent runs on has bpf_redirect_peer (5.10), and the pod link is a veth.
    assert_eq!(taken("tier"), "peer");

    let on_the_pod_link = |programs: &[attached::Attached]| {
        programs.iter().any(|one| one.link == POD_LINK && one.hook == format!("{}/ingress", taken("hook")))
    };
    let programs = attached::programs(&topology.pod).unwrap();
    assert!(on_the_pod_link(&programs), "{programs:?}");
    let done = agent.cli(&["detach", "--netns", &netns]).unwrap();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(attached::programs(&topology.pod).unwrap(), []);
}
