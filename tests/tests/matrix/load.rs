// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every program passes this kernel's verifier; where one does not, the verifier's words are shown.

use std::fmt::Write as _;

use aya::programs::Program;
use netagent::datapath::{Object, Pins};
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
    for (name, program) in ebpf.programs_mut() {
        let info = match program {
            Program::SchedClassifier(classifier) => classifier.load().and_then(|()| classifier.info()),
            Program::Xdp(xdp) => xdp.load().and_then(|()| xdp.info()),
            other => panic!("{name} is a {:?}", other.prog_type()),
        };
        match info {
            // Kernels before 5.16 do not tell how many instructions the verifier went through.
            Ok(info) => loaded.push(match info.verified_instruction_count() {
                Some(count) => format!("{name}:{count}"),
                None => name.to_owned(),
            }),
            // Its tier is opt-in; verifiers before 6.12 lose a bound when a register is spilled.
            Err(_) if name == "xdp_from_vm" && !attached::kernel_has_tcx().unwrap() => {
                loaded.push(format!("{name}:refused"));
            }
            Err(error) => writeln!(refused, "--- {name}\n{error}").unwrap(),
        }
    }
    loaded.sort();
    if !loaded.is_empty() {
        fact::tell("loads", loaded.join(" "));
    }
    assert!(refused.is_empty(), "this kernel refuses:\n{refused}");
    assert!(loaded.len() >= 5, "the object has the programs {loaded:?} only");
}
