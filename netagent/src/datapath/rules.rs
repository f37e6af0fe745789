// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules for what guests send: one program for all ports, behind the small one that each port has.

use aya::{
    Ebpf,
    maps::{Map, MapData, ProgramArray},
    programs::SchedClassifier,
};
use netagent_common::maps::FROM_VM_RULES;

use super::{DatapathError, Pins, object};

/// The map of the programs that ports share.
pub(super) const RULES: &str = "RULES";

/// The program's symbol in the eBPF object, which is also its name in the kernel.
pub(super) const SYMBOL: &str = "from_vm_rules";

/// Takes the program past the verifier and puts it where every port's program finds it. One that is there is replaced, and
/// no frame sees neither.
pub(super) fn put(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), DatapathError> {
    object::verified(ebpf, SYMBOL)?;
    let failed = DatapathError::map("write", RULES);
    let program: &SchedClassifier = ebpf
        .program(SYMBOL)
        .and_then(|program| program.try_into().ok())
        .ok_or(DatapathError::NoProgram(SYMBOL))?;
    let fd = program.fd().map_err(|e| DatapathError::Load { program: SYMBOL, source: Box::new(e) })?;
    let pinned = MapData::from_pin(pins.map(RULES)).map_err(&failed)?;
    let mut map = ProgramArray::try_from(Map::ProgramArray(pinned)).map_err(&failed)?;
    map.set(FROM_VM_RULES, fd, 0).map_err(failed)
}
