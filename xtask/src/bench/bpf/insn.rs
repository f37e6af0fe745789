// SPDX-License-Identifier: MIT OR Apache-2.0
//! The comparison programs, instruction by instruction (Documentation/bpf/standardization/instruction-set.rst).

/// One instruction, `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) struct Insn {
    code: u8,
    /// Destination register in the low half, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

// Opcodes: class | size or operation | mode or source.
const LOAD_WORD: u8 = 0x61;
const LOAD_IMMEDIATE_64: u8 = 0x18;
const ATOMIC_64: u8 = 0xdb;
const MOVE_IMMEDIATE: u8 = 0xb7;
const JUMP_NOT_EQUAL: u8 = 0x55;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// In the source register of a 64-bit load: the immediate is a map's descriptor, the address that of its first value.
const PSEUDO_MAP_VALUE: u8 = 2;
/// Offset of `protocol` in `struct __sk_buff`; in network byte order.
const SKB_PROTOCOL: i16 = 16;
const ETH_P_IP: u16 = 0x0800;
const TC_ACT_SHOT: i32 = 2;
const TC_ACT_UNSPEC: i32 = -1;

/// The helpers that move a frame to another link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(in crate::bench) enum RedirectCall {
    /// `bpf_redirect`: to the transmit path of a link.
    Redirect = 23,
    /// `bpf_redirect_peer`: to the ingress of a link's other end, in the other namespace.
    RedirectPeer = 155,
}

/// `return helper(ifindex, 0)`: the least that forwards a frame.
pub(in crate::bench) fn redirect(helper: RedirectCall, ifindex: i32) -> Vec<Insn> {
    vec![
        insn(MOVE_IMMEDIATE, 1, 0, 0, ifindex),
        insn(MOVE_IMMEDIATE, 2, 0, 0, 0),
        insn(CALL, 0, 0, 0, helper as i32),
        insn(EXIT, 0, 0, 0, 0),
    ]
}

/// Leaves every frame to whoever is next: the least that a program can be.
pub(in crate::bench) fn next() -> Vec<Insn> {
    vec![insn(MOVE_IMMEDIATE, 0, 0, 0, TC_ACT_UNSPEC), insn(EXIT, 0, 0, 0, 0)]
}

/// Counts IPv4 frames in the first value of `map` and drops every frame. The pod's own chatter (ND, MLD) is IPv6, so
/// that the count is that of the bench's frames.
pub(in crate::bench) fn count_and_drop(map: i32) -> Vec<Insn> {
    vec![
        insn(LOAD_WORD, 2, 1, SKB_PROTOCOL, 0),
        insn(JUMP_NOT_EQUAL, 2, 0, 4, i32::from(ETH_P_IP.to_be())),
        insn(LOAD_IMMEDIATE_64, 3, PSEUDO_MAP_VALUE, 0, map),
        insn(0, 0, 0, 0, 0),
        insn(MOVE_IMMEDIATE, 4, 0, 0, 1),
        insn(ATOMIC_64, 3, 4, 0, 0),
        insn(MOVE_IMMEDIATE, 0, 0, 0, TC_ACT_SHOT),
        insn(EXIT, 0, 0, 0, 0),
    ]
}

const fn insn(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Insn {
    Insn { code, registers: destination | source << 4, offset, immediate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_has_the_kernel_s_size() {
        assert_eq!(size_of::<Insn>(), 8);
    }

    #[test]
    fn the_jump_lands_on_the_verdict() {
        let program = count_and_drop(3);
        let jump = program.iter().position(|one| one.code == JUMP_NOT_EQUAL).unwrap();
        let target = jump + 1 + usize::try_from(program[jump].offset).unwrap();
        assert_eq!(program[target], insn(MOVE_IMMEDIATE, 0, 0, 0, TC_ACT_SHOT));
    }
}
