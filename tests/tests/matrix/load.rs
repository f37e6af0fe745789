// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every program passes this kernel's verifier; where one does not, the verifier's words are shown.

use std::fmt::Write as _;

use aya::programs::SchedClassifier;
use netagent::datapath::{Object, Pins};
use netagent_tests::{bpffs::BpfFs, fact, require::Need};

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
        let classifier: &mut SchedClassifier = program.try_into().unwrap();
        match classifier.load() {
            // Kernels before 5.16 do not tell how many instructions the verifier went through.
            Ok(()) => loaded.push(match classifier.info().unwrap().verified_instruction_count() {
                Some(count) => format!("{name}:{count}"),
                None => name.to_owned(),
            }),
            Err(error) => writeln!(refused, "--- {name}\n{error}").unwrap(),
        }
    }
    loaded.sort();
    if !loaded.is_empty() {
        fact::tell("loads", loaded.join(" "));
    }
    assert!(refused.is_empty(), "this kernel refuses:\n{refused}");
    assert!(loaded.len() >= 2, "the object has the programs {loaded:?} only");
}
