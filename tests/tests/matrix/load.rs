// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every program passes this kernel's verifier; where one does not, the verifier's words are shown.

use std::fmt::Write as _;

use netagent::{
    core::program::Program,
    datapath::{Object, Pins, verified},
};
use netagent_tests::{attached, bpffs::BpfFs, fact, require::Need};

#[test]
#[ignore = "needs root: cargo xtask vm"]
fn every_program_loads() {
    netagent_tests::require!(Need::Root, Need::BpfFs);
    let dir = tempfile::tempdir().unwrap();
    let bpffs = BpfFs::mount(&dir.path().join("bpf")).unwrap();
    let pins = Pins::below(bpffs.path());
    std::fs::create_dir_all(pins.directory()).unwrap();
    let mut ebpf = Object::new().load(&pins, 0).unwrap();
    let (mut loaded, mut refused) = (Vec::new(), String::new());
    let programs = Program::ALL.map(Program::symbol).into_iter().chain(["from_vm_rules", "to_vm_rules"]);
    for program in programs.clone() {
        match verified(&mut ebpf, program) {
            // Kernels before 5.16 do not tell how many instructions the verifier went through.
            Ok(info) => loaded.push(match info.verified_instruction_count() {
                Some(count) => format!("{program}:{count}"),
                None => program.to_owned(),
            }),
            // Its tier is opt-in; verifiers before 6.12 lose a bound when a register is spilled.
            Err(_) if program == "xdp_from_vm" && !attached::kernel_has_tcx().unwrap() => {
                loaded.push(format!("{program}:refused"));
            }
            Err(error) => writeln!(refused, "--- {:#}", anyhow::Error::from(error)).unwrap(),
        }
    }
    loaded.sort();
    if !loaded.is_empty() {
        fact::tell("loads", loaded.join(" "));
    }
    assert!(refused.is_empty(), "this kernel refuses:\n{refused}");
    let known: Vec<_> = programs.collect();
    let missing: Vec<_> =
        ebpf.programs().map(|(name, _)| name).filter(|name| !known.contains(name)).collect();
    assert!(missing.is_empty(), "the object has programs that were not tried: {missing:?}");
}
