// SPDX-License-Identifier: MIT OR Apache-2.0
//! The eBPF object that is part of this binary, and what the kernel makes of it.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, PoisonError},
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program as Loaded, ProgramError, ProgramInfo, ProgramType, SchedClassifier, TcAttachType},
    sys::{is_helper_supported, is_program_supported},
    util::KernelVersion,
};

use netagent_common::maps::MAX_PORTS;
use tracing::{debug, warn};

use super::{DatapathError, Pins, maps, rules};
use crate::{
    core::{program::Program, tier::KernelFeatures},
    sys::locked_memory,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netagent-bpf"));

/// Something that only newer kernels have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// tcx links.
    Tcx,
    /// `bpf_redirect_peer`.
    RedirectPeer,
    /// A `bpf_redirect_peer` that scrubs the skb.
    PeerScrub,
    /// XDP programs.
    Xdp,
}

/// What this kernel can do, without the features that are declared `lacking`.
pub(super) fn probe(lacking: &[Feature]) -> Result<KernelFeatures, DatapathError> {
    let failed = |feature| move |source| DatapathError::Probe { feature, source: Box::new(source) };
    let has = |feature| !lacking.contains(&feature);
    let tcx = has(Feature::Tcx) && knows_tcx().map_err(failed("tcx"))?;
    let redirect_peer = has(Feature::RedirectPeer)
        && is_helper_supported(ProgramType::SchedClassifier, aya::sys::BpfHelper::BPF_FUNC_redirect_peer)
            .map_err(failed("bpf_redirect_peer"))?;
    // Nothing but the version tells. Where an older kernel got it as a fix, one helper call too many is made.
    let peer_scrubs = has(Feature::PeerScrub)
        && KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 16, 0));
    let xdp = has(Feature::Xdp) && is_program_supported(ProgramType::Xdp).map_err(failed("xdp"))?;
    Ok(KernelFeatures { tcx, redirect_peer, peer_scrubs, xdp })
}

/// Every namespace has a loopback link, and asking changes nothing. Kernels before 6.6 do not know the question.
fn knows_tcx() -> Result<bool, ProgramError> {
    match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
        Ok(_) => Ok(true),
        Err(ProgramError::SyscallError(e))
            if matches!(e.io_error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) =>
        {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// The slots by their numbers: the loader borrows what it writes into a program.
static SLOTS: [u32; MAX_PORTS as usize] = {
    let mut slots = [0; MAX_PORTS as usize];
    let mut slot = 0;
    while slot < slots.len() {
        slots[slot] = slot as u32;
        slot += 1;
    }
    slots
};

/// The embedded object.
#[derive(Debug)]
pub struct Object {
    /// One for all loads: to make it, aya reads the types of the whole kernel, which took most of an attach.
    loader: Mutex<EbpfLoader<'static>>,
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

impl Object {
    /// Gets ready to load.
    pub fn new() -> Self {
        if KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(5, 11, 0))
            && let Err(error) = locked_memory::lift_limit()
        {
            warn!(%error, "cannot lift the limit on locked memory: this kernel may refuse maps");
        }
        let mut loader = EbpfLoader::new();
        // No program of ours reads a type of the kernel's.
        loader.btf(None);
        Self { loader: Mutex::new(loader) }
    }

    /// The object for one slot, its maps those that are pinned (made and pinned when they are not there).
    ///
    /// # Errors
    /// When a map cannot be made or the object does not fit the kernel.
    pub fn load(&self, pins: &Pins, slot: u32) -> Result<Ebpf, DatapathError> {
        let slot = SLOTS.get(slot as usize).ok_or(DatapathError::NoSlot(slot))?;
        // Nothing in it is left half done.
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        loader.override_global("SLOT", slot, true);
        for name in maps::NAMES {
            loader.map_pin_path(name, pins.map(name));
        }
        loader.load(OBJECT).map_err(|e| DatapathError::Object(Box::new(e)))
    }

    /// Loads all programs that this kernel can have: those that ports share go where ports find them, the others are let
    /// go again. Returns the tags of these. An XDP program that the kernel
    /// refuses is left out: its tier is opt-in, and must not cost the others.
    pub(super) fn put_up(
        &self,
        pins: &Pins,
        features: KernelFeatures,
    ) -> Result<BTreeMap<Program, u64>, DatapathError> {
        let mut ebpf = self.load(pins, 0)?;
        rules::put(&mut ebpf, pins)?;
        let mut tags = BTreeMap::new();
        for program in Program::ALL.into_iter().filter(|program| features.xdp || !program.is_xdp()) {
            match verified(&mut ebpf, program.symbol()) {
                Ok(info) => _ = tags.insert(program, info.tag()),
                Err(error) if program.is_xdp() => {
                    warn!(%program, "the kernel refuses a program; tier xdp is not possible");
                    debug!(%program, error = format!("{:#}", anyhow::Error::from(error)), "refused");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(tags)
    }
}

/// Takes a program of an object, named by its symbol, past the verifier.
///
/// # Errors
/// When the kernel refuses it.
pub fn verified(ebpf: &mut Ebpf, program: &'static str) -> Result<ProgramInfo, DatapathError> {
    let loaded = match ebpf.program_mut(program) {
        Some(Loaded::SchedClassifier(classifier)) => {
            uninterrupted(|| classifier.load(), refusal).and_then(|()| classifier.info())
        }
        Some(Loaded::Xdp(xdp)) => uninterrupted(|| xdp.load(), refusal).and_then(|()| xdp.info()),
        _ => return Err(DatapathError::NoProgram(program)),
    };
    loaded.map_err(|e| DatapathError::Load { program, source: Box::new(e) })
}

/// What the kernel said to a program.
fn refusal(error: &ProgramError) -> Option<&io::Error> {
    match error {
        ProgramError::LoadError { io_error, .. } => Some(io_error),
        _ => None,
    }
}

/// Loads again where the verifier gave up for a signal: `signal_pending` in `do_check` (kernel/bpf/verifier.c), which
/// the kernel's own deferred work sets off as well. As often as libbpf's `PROG_LOAD_ATTEMPTS`.
fn uninterrupted<E>(
    mut load: impl FnMut() -> Result<(), E>,
    refusal: impl Fn(&E) -> Option<&io::Error>,
) -> Result<(), E> {
    const ATTEMPTS: usize = 5;
    for _ in 1..ATTEMPTS {
        match load() {
            Err(error) if refusal(&error).is_some_and(|e| e.raw_os_error() == Some(libc::EAGAIN)) => {
                debug!("the verifier was interrupted; loading again");
            }
            loaded => return loaded,
        }
    }
    load()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome with a kernel that refuses so often, and how often it was asked.
    fn load_refused(errno: i32, times: usize) -> (bool, usize) {
        let mut asked = 0;
        let load = || {
            asked += 1;
            if asked <= times { Err(io::Error::from_raw_os_error(errno)) } else { Ok(()) }
        };
        (uninterrupted(load, |error| Some(error)).is_ok(), asked)
    }

    #[test]
    fn an_interrupted_load_is_tried_again() {
        assert_eq!(load_refused(libc::EAGAIN, 0), (true, 1));
        assert_eq!(load_refused(libc::EAGAIN, 4), (true, 5));
        assert_eq!(load_refused(libc::EAGAIN, 5), (false, 5));
    }

    #[test]
    fn a_refused_load_is_not() {
        assert_eq!(load_refused(libc::EACCES, 1), (false, 1));
    }
}
