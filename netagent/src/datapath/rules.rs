// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules of both directions: one program each for all ports, behind the small ones that each port has.

use aya::{
    Ebpf,
    maps::{Map, MapData, ProgramArray},
    programs::SchedClassifier,
};
use netagent_common::maps::{FROM_VM_RULES, SHARED_PROGRAMS, TO_VM_RULES};

use super::{DatapathError, Pins, object};

/// The map of the programs that ports share.
pub(super) const RULES: &str = "RULES";

/// Their symbols in the eBPF object, which are also their names in the kernel, and their places in the map.
pub(super) const PROGRAMS: [(&str, u32); SHARED_PROGRAMS as usize] =
    [("from_vm_rules", FROM_VM_RULES), ("to_vm_rules", TO_VM_RULES)];

/// Takes the programs past the verifier and puts them where every port's programs find them. One that is there is
/// replaced, and no frame sees neither.
pub(super) fn put(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), DatapathError> {
    let failed = DatapathError::map("write", RULES);
    let pinned = MapData::from_pin(pins.map(RULES)).map_err(&failed)?;
    let mut map = ProgramArray::try_from(Map::ProgramArray(pinned)).map_err(&failed)?;
    for (symbol, place) in PROGRAMS {
        object::verified(ebpf, symbol)?;
        let program: &SchedClassifier = ebpf
            .program(symbol)
            .and_then(|program| program.try_into().ok())
            .ok_or(DatapathError::NoProgram(symbol))?;
        let fd = program.fd().map_err(|e| DatapathError::Load { program: symbol, source: Box::new(e) })?;
        map.set(place, fd, 0).map_err(&failed)?;
    }
    Ok(())
}
