// SPDX-License-Identifier: MIT OR Apache-2.0
//! The least that BPF can do: drop at the first hook, or one helper and nothing else.

use anyhow::{Context as _, Result};
use netagent_tests::topology::POD_LINK;

use crate::bench::{
    bpf::{
        attach::{Attacher, ifindex},
        insn::{self, RedirectCall},
        program::Program,
    },
    scene::{Programs, Qdisc, Scene, Sink, TAP, ToVmEnd, mac, make_tap, open_tap, pod},
};

/// Both directions end in a sink at their first hook.
pub(super) fn floor(attacher: &Attacher) -> Result<Scene> {
    let topology = pod()?;
    make_tap(&topology, Qdisc::Default)?;
    Ok(Scene {
        tap: open_tap(&topology)?,
        from_vm: Sink::in_pod(attacher, &topology, TAP)?,
        to_vm: ToVmEnd::Sink(Sink::in_pod(attacher, &topology, POD_LINK)?),
        programs: Programs::default(),
        _held: Vec::new(),
        guest_mac: mac(&topology.pod_mac()?)?,
        host_mac: mac(&topology.host_mac()?)?,
        topology,
    })
}

/// `from_vm` out of the tap by the one or the other helper, `bpf_redirect` into the tap.
pub(super) fn redirect(attacher: &Attacher, out: RedirectCall, qdisc: Qdisc) -> Result<Scene> {
    let topology = pod()?;
    make_tap(&topology, qdisc)?;
    let tap = open_tap(&topology)?;
    let mut held = Vec::new();
    let mut put = |from: &str, helper, to: &str| -> Result<Program> {
        let target = i32::try_from(ifindex(&topology.pod, to)?).context("ifindex")?;
        let program = Program::load("bench_redirect", &insn::redirect(helper, target))?;
        held.push(attacher.ingress(&topology.pod, from, &program)?);
        Ok(program)
    };
    let programs = Programs {
        from_vm: Some(put(TAP, out, POD_LINK)?),
        to_vm: Some(put(POD_LINK, RedirectCall::Redirect, TAP)?),
    };
    Ok(Scene {
        tap,
        from_vm: Sink::at_host_peer(attacher, &topology)?,
        to_vm: ToVmEnd::Ring,
        programs,
        _held: held,
        guest_mac: mac(&topology.pod_mac()?)?,
        host_mac: mac(&topology.host_mac()?)?,
        topology,
    })
}
