// SPDX-License-Identifier: MIT OR Apache-2.0
//! Without an agent: no pod without its wiring, and no pod that cannot go.

use netagent_tests::{cni_runtime::Attachment, poll};

use super::{CONTAINER, Node, ours, pod_of, refusal, require_plugins};
use crate::{scene::SOON, snapshot::Snapshot, traces};

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn no_pod_starts_half_wired_without_an_agent() {
    require_plugins!();
    let mut node = Node::new();
    let before = Snapshot::take(&node.pod).unwrap();
    let network = node.documented("pods");
    let mut newest = network.clone();
    "1.1.0".clone_into(&mut newest.version);
    let eth0 = pod_of(CONTAINER, &node.pod);
    node.runtime.status(&newest).unwrap();
    node.agent.kill9().unwrap();

    let refused = refusal(node.runtime.add(&network, &eth0, None));
    assert_eq!((refused.code(), refused.plugin.as_str()), (Some(11), "netagent"), "{refused}");
    assert!(refused.text().contains("no agent answers on"), "{refused}");
    assert_eq!(refused.error["cniVersion"], "1.0.0");
    // The runtime cleans up after a failed ADD, and the pod is as it was.
    node.runtime.del(&network, &eth0, None).unwrap();
    assert_eq!(before.changes(&Snapshot::take(&node.pod).unwrap()), Vec::<String>::new());
    assert_eq!(refusal(node.runtime.status(&newest)).code(), Some(50));
    assert_eq!(refusal(node.runtime.gc(&newest, &[])).code(), Some(11));

    // The runtime tries again, and there is one.
    node.agent.start().unwrap();
    node.runtime.status(&newest).unwrap();
    let result = node.runtime.add(&network, &eth0, None).unwrap();
    node.agent.kill9().unwrap();
    assert_eq!(refusal(node.runtime.check(&ours(&network), &eth0, &result)).code(), Some(11));
    node.agent.start().unwrap();
    node.runtime.del(&network, &eth0, Some(&result)).unwrap();
    node.assert_nothing_left(&before);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_kubernetes_pod_goes_without_an_agent_and_the_next_agent_forgets_it() {
    require_plugins!();
    let mut node = Node::new();
    let network = node.documented("pods");
    let eth0 = pod_of(CONTAINER, &node.pod);
    let result = node.runtime.add(&network, &eth0, None).unwrap();
    node.agent.kill9().unwrap();
    node.runtime.del(&network, &eth0, Some(&result)).unwrap();
    // As the runtime does next.
    node.node.exec_ok(&["ip", "netns", "del", node.pod.name()]).unwrap();
    assert!(!traces::of_ports(&node.agent).unwrap().is_empty());
    node.agent.start().unwrap();
    traces::wait_none(&node.agent).unwrap();
    poll::try_until("the port to be forgotten", SOON, || Ok(node.ports().is_empty().then_some(()))).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_namespace_that_lives_on_keeps_its_del_waiting_for_the_agent() {
    require_plugins!();
    let mut node = Node::new();
    let before = Snapshot::take(&node.pod).unwrap();
    let network = node.documented("fcnet");
    let eth0 = Attachment::new(CONTAINER, &node.pod);
    let result = node.runtime.add(&network, &eth0, None).unwrap();
    node.agent.kill9().unwrap();
    let refused = refusal(node.runtime.del(&network, &eth0, Some(&result)));
    assert_eq!((refused.code(), refused.plugin.as_str()), (Some(11), "tc-redirect-tap"), "{refused}");

    // An operator who removes netagent from the node: nothing of it is in the pod, and a DEL goes through.
    let bpffs = node.agent.bpffs().path().to_str().unwrap().to_owned();
    let done = node.agent.cli(&["cleanup", "--bpffs", &bpffs]).unwrap();
    assert_eq!(done.code, 0, "{done:?}");
    node.runtime.del(&network, &eth0, Some(&result)).unwrap();
    assert_eq!(before.changes(&Snapshot::take(&node.pod).unwrap()), Vec::<String>::new());

    // So does one of a namespace that is not there, whether it is named or not.
    let mut gone = eth0.clone();
    for netns in ["/run/netns/natest-not-there", ""] {
        netns.clone_into(&mut gone.netns);
        node.runtime.del(&network, &gone, None).unwrap();
    }
}
