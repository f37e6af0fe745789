// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzz targets' checks on a stable compiler: over the vectors, and over what fuzzing found worth keeping.

use std::{fs, path::Path};

use netagent_tests::{
    invariants,
    vectors::{self, Direction},
};

/// Where the vectors are written as seeds for the fuzzer, when it is set: a folder with one per target.
const SEEDS: &str = "NETAGENT_FUZZ_SEEDS";

#[test]
fn the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 3] =
        [("from_vm", invariants::from_vm), ("to_vm", invariants::to_vm), ("wire", invariants::wire)];
    for (name, target) in targets {
        let mut ran = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            // The name of the file that fails is in the panic's message.
            let data = fs::read(&path).unwrap();
            let held = std::panic::catch_unwind(|| target(&data));
            assert!(held.is_ok(), "{} does not hold", path.display());
            ran += 1;
        }
        assert!(ran >= 20, "{name}: only {ran} inputs");
    }
}

#[test]
fn every_vector_holds_on_every_kind_of_port() {
    for vector in vectors::all() {
        let mut input = invariants::encode(vector);
        for kind in 0..vectors::PORTS.len() {
            input[0] = kind as u8;
            match vector.direction {
                Direction::FromVm => invariants::from_vm(&input),
                Direction::ToVm => invariants::to_vm(&input),
            }
        }
    }
}

#[test]
fn vectors_become_seeds() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = std::env::var_os(SEEDS).map_or_else(|| scratch.path().to_owned(), Into::into);
    for (number, vector) in vectors::all().iter().enumerate() {
        let (target, wire) = match vector.direction {
            Direction::FromVm => ("from_vm", "wire"),
            Direction::ToVm => ("to_vm", "wire"),
        };
        for (target, bytes) in
            [(target, invariants::encode(vector)), (wire, [&[0, 14], &vector.frame[..]].concat())]
        {
            fs::create_dir_all(folder.join(target)).unwrap();
            fs::write(folder.join(target).join(format!("vector-{number:03}")), bytes).unwrap();
        }
    }
    assert!(fs::read_dir(folder.join("wire")).unwrap().count() > 50);
}
