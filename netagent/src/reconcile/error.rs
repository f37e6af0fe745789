// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a pass over a port ends early.

use std::{io, path::PathBuf};

use super::{DiscoverError, FailureClass, StepError};
use crate::{
    core::{
        desired::SpecError,
        ids::IfName,
        plan::{Refusal, Step},
        program::Program,
    },
    datapath::DatapathError,
    netlink::{NetlinkError, OpenError},
    sys::netns::NetnsError,
};

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The namespace's cookie.
    #[error("read the cookie of the network namespace")]
    Cookie(#[source] io::Error),
    /// The netlink socket.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The pod cannot be read.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// The pod cannot have such a port.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Something else is in the way.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Links, qdiscs or filters cannot be read.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Programs, maps or pins cannot be read.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// A step failed.
    #[error("{step}")]
    Step {
        /// The step as `netagent plan` prints it.
        step: String,
        /// Why.
        #[source]
        source: StepError,
    },
    /// The path leads nowhere, or elsewhere, but the namespace lives, and so do our programs in it.
    #[error(
        "{0} no longer leads to the port's namespace, which still lives; nothing is taken off until it is gone or found"
    )]
    OutOfReach(PathBuf),
    /// A program is on a device that has another name now.
    #[error(
        "{program} is on the link with index {ifindex}, which is not called {name} any more; rename it back"
    )]
    Elsewhere {
        /// Which program.
        program: Program,
        /// The link's index in the port's namespace.
        ifindex: u32,
        /// The name that it should have.
        name: IfName,
    },
    /// Somebody undoes what is done.
    #[error(
        "the port does not settle: `{0}` is needed again and again; something else works on the same devices"
    )]
    Unsettled(String),
}

impl PassError {
    /// Where to look first.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Netns(_) | Self::Cookie(_) | Self::OutOfReach(_) => FailureClass::Netns,
            Self::Discover(_) => FailureClass::Discover,
            Self::Spec(_) => FailureClass::Ask,
            Self::Refused(_) | Self::Elsewhere { .. } => FailureClass::Foreign,
            Self::Open(_) | Self::Netlink(_) => FailureClass::Netlink,
            Self::Datapath(_) => FailureClass::Datapath,
            Self::Step { .. } => FailureClass::Step,
            Self::Unsettled(_) => FailureClass::Unsettled,
        }
    }

    pub(super) fn step(step: &Step) -> impl FnOnce(StepError) -> Self {
        let step = step.to_string();
        |source| Self::Step { step, source }
    }
}
