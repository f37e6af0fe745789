// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compiled programs, loaded as the agent loads them, and test runs of them.

use std::path::Path;

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, ProgramArray},
    programs::{SchedClassifier, TestRun, TestRunOptions, TestRunResult, Xdp},
};
use netagent::{
    core::{observed::Target, program::Program},
    datapath::{Datapath, Object, verified},
    sys::netns::Netns,
};
use netagent_common::{
    counters::{DropReason, PortCounters},
    maps::{Learned, Port, SHARED_PROGRAMS},
};
use netagent_tests::{attached, bpffs::BpfFs};

use crate::vectors::{Direction, LEARNED};

/// `TC_ACT_UNSPEC`, `TC_ACT_SHOT` and `TC_ACT_REDIRECT` of include/uapi/linux/pkt_cls.h.
const NEXT: u32 = u32::MAX;
const SHOT: u32 = 2;
const REDIRECT: u32 = 7;
/// `enum xdp_action` of include/uapi/linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// All programs for one slot, with maps of their own.
pub(crate) struct Programs {
    // Fields are dropped in this order: users of the mount first.
    ebpf: Ebpf,
    datapath: Datapath,
    slot: u32,
    _bpffs: BpfFs,
    _dir: tempfile::TempDir,
}

impl Programs {
    /// Loads them for `slot`.
    pub(crate) fn load(slot: u32) -> Self {
        netagent_tests::require!(netagent_tests::require::Need::Root, netagent_tests::require::Need::BpfFs);
        let dir = tempfile::tempdir().unwrap();
        let bpffs = BpfFs::mount(&dir.path().join("bpf")).unwrap();
        let datapath = Datapath::open(bpffs.path(), &[]).unwrap();
        let mut ebpf = Object::new().load(datapath.pins(), slot).unwrap();
        // Verifiers before 6.12 refuse one of the XDP programs, and the agent does without that tier.
        let xdp = attached::kernel_has_tcx().unwrap();
        for program in Program::ALL.into_iter().filter(|program| xdp || !program.is_xdp()) {
            verified(&mut ebpf, program.symbol()).unwrap();
        }
        Self { ebpf, datapath, slot, _bpffs: bpffs, _dir: dir }
    }

    pub(crate) fn datapath(&self) -> &Datapath {
        &self.datapath
    }

    pub(crate) fn configure(&self, port: &Port) {
        self.datapath.maps().write_entry(self.slot, port).unwrap();
    }

    /// Makes the port one that has learned [`LEARNED`], or nothing yet.
    pub(crate) fn learn(&self, learned: bool) {
        let entry = Learned { interface: if learned { LEARNED.interface } else { 0 }, changed_ns: 0 };
        let raw: [u8; size_of::<Learned>()] = bytemuck::cast(entry);
        self.learned_map().set(self.slot, raw, 0).unwrap();
    }

    pub(crate) fn learned(&self) -> Learned {
        bytemuck::cast(self.learned_map().get(&self.slot, 0).unwrap())
    }

    fn learned_map(&self) -> Array<MapData, [u8; size_of::<Learned>()]> {
        let pin = self.datapath.pins().map("LEARNED");
        Array::try_from(Map::Array(MapData::from_pin(pin).unwrap())).unwrap()
    }

    /// Takes away the programs that all ports share.
    pub(crate) fn forget_the_rules(&self) {
        let pinned = MapData::from_pin(self.datapath.pins().map("RULES")).unwrap();
        let mut rules = ProgramArray::try_from(Map::ProgramArray(pinned)).unwrap();
        (0..SHARED_PROGRAMS).for_each(|place| rules.clear_index(&place).unwrap());
    }

    pub(crate) fn counters(&self) -> PortCounters {
        self.datapath.maps().counters(self.slot).unwrap()
    }

    /// Runs a program over a frame: its verdict in the words of the vectors, and the frame afterwards. The reason is
    /// read off the counter that moved.
    pub(crate) fn run(&self, direction: Direction, frame: &[u8]) -> (String, Vec<u8>) {
        let name = match direction {
            Direction::FromVm => "from_vm",
            Direction::ToVm => "to_vm",
        };
        let program: &SchedClassifier = self.ebpf.program(name).unwrap().try_into().unwrap();
        let before = self.counters();
        let (answer, out) = test_run(name, program, frame);
        let after = self.counters();
        let mut said = moved(&before, &after);
        if said == "punt" && answer == NEXT {
            said = "bridge".to_owned();
        }
        let expected = match said.as_str() {
            "forward" => REDIRECT,
            "bridge" => NEXT,
            _ => SHOT,
        };
        assert_eq!(answer, expected, "{name} counted `{said}`");
        (said, out)
    }
}

impl Programs {
    /// Gives the XDP programs somewhere to send to; a test run sends nothing.
    pub(crate) fn set_targets(&self) {
        let here = Netns::open(Path::new("/proc/thread-self/ns/net")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for target in Target::ALL {
            // The loopback link has index 1 in every namespace.
            runtime.block_on(self.datapath.set_target(&here, self.slot, target, 1)).unwrap();
        }
    }

    /// Runs an XDP program over a frame: its verdict in the words of the vectors, `pass` for what is left to tc, and the
    /// frame afterwards.
    pub(crate) fn run_xdp(&self, direction: Direction, frame: &[u8]) -> (String, Vec<u8>) {
        let name = match direction {
            Direction::FromVm => "xdp_from_vm",
            Direction::ToVm => "xdp_to_vm",
        };
        let program: &Xdp = self.ebpf.program(name).unwrap().try_into().unwrap();
        let before = self.counters();
        let (answer, out) = test_run(name, program, frame);
        let after = self.counters();
        if answer == XDP_PASS {
            assert_eq!(after, before, "{name} counted what it passed on");
            return ("pass".to_owned(), out);
        }
        let said = moved(&before, &after);
        let expected = if said == "forward" { XDP_REDIRECT } else { XDP_DROP };
        assert_eq!(answer, expected, "{name} counted `{said}`");
        (said, out)
    }
}

/// Runs one program over a frame: what it returned, and the frame afterwards.
fn test_run(
    name: &str,
    program: &impl for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
    frame: &[u8],
) -> (u32, Vec<u8>) {
    let mut out = vec![0; frame.len() + 64];
    let options =
        TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
    let result = program
        .test_run(options)
        .unwrap_or_else(|e| panic!("test run of {name} over {} bytes: {e:#}", frame.len()));
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}

/// The one counter that moved.
fn moved(before: &PortCounters, after: &PortCounters) -> String {
    let mut said = Vec::new();
    let forwarded = |c: &PortCounters| c.from_vm.packets + c.to_vm.packets;
    if forwarded(after) == forwarded(before) + 1 {
        said.push("forward".to_owned());
    }
    if after.punted.packets == before.punted.packets + 1 {
        said.push("punt".to_owned());
    }
    for reason in DropReason::ALL {
        let count = |c: &PortCounters| c.drops[reason as usize].packets;
        if count(after) == count(before) + 1 {
            said.push(format!("drop {}", reason.as_str()));
        }
    }
    assert_eq!(said.len(), 1, "exactly one counter moves, not {said:?}");
    said.remove(0)
}
