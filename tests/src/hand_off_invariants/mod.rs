// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for every answer to a guest whatever it sent: the fuzz targets over netagent's servers, and their corpus on
//! a stable compiler, call these.
//!
//! Answers are read by code that is not netagent's, so that a mistake of its writers shows.

#![expect(clippy::panic, reason = "what does not hold ends the run")]

mod dhcp_v4;
mod dhcp_v6;
mod punt;
mod router_solicitation;

pub use dhcp_v4::dhcp_v4;
pub use dhcp_v6::dhcp_v6;
pub use punt::punt;
pub use router_solicitation::router_solicitation;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    type Target = fn(&[u8]);
    const TARGETS: [(&str, Target); 4] = [
        ("dhcp_v4", super::dhcp_v4),
        ("dhcp_v6", super::dhcp_v6),
        ("punt", super::punt),
        ("router_solicitation", super::router_solicitation),
    ];

    #[test]
    fn the_corpus_holds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        for (name, target) in TARGETS {
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
}
