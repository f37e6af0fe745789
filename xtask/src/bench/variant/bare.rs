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
    scene::{Programs, Qdisc, TAP, Wired, make_tap, pod},
};

/// A tap that leads nowhere.
pub(super) fn floor() -> Result<Wired> {
    let topology = pod()?;
    make_tap(&topology.pod, topology.spec.mtu, Qdisc::Default)?;
    Wired::plain(topology)
}

/// `from_vm` out of the tap by the one or the other helper, `bpf_redirect` into the tap.
pub(super) fn redirect(attacher: &Attacher, out: RedirectCall, qdisc: Qdisc) -> Result<Wired> {
    let topology = pod()?;
    make_tap(&topology.pod, topology.spec.mtu, qdisc)?;
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
    Ok(Wired { programs, _held: held, ..Wired::plain(topology)? })
}
