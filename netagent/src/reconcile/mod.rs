// SPDX-License-Identifier: MIT OR Apache-2.0
//! Observe, plan, apply: one loop per port, level-triggered. An error ends a pass, never the loop.

mod apply;
mod bridged;
mod cleanup;
mod discover;
mod error;
mod file_watch;
mod host_peer;
mod mentions;
mod observe;
mod orphans;
mod pace;
mod pass;
mod pod_files;
mod port;
mod ports;
mod prove;
mod pulse;
mod punt;
mod rounds;
mod routers;
mod slots;
mod store;
mod tally;
mod tap_drops;
mod tend;
mod watch;
mod wiring;

use std::sync::Arc;

use apply::Applier;
pub use apply::StepError;
pub use bridged::bridged_ports;
pub use cleanup::{CleanUpError, CleanedUp, LeftBehind, take_all_off};
pub use discover::DiscoverError;
pub use error::PassError;
pub use orphans::{release_others, sweep};
pub use pass::{Look, Pass, Session, Wired};
pub use port::{PassFailure, PortState, PortStatus};
pub use ports::{PortLookup, Ports, RequestError};
pub use prove::ProveError;
pub use punt::serve_punted;
pub use slots::Slots;
pub use store::{SpecStore, StoreError};
pub use tally::{FailureClass, Tally};

use crate::{datapath::Datapath, dhcp};

/// What every port's loop works with.
#[derive(Clone)]
pub struct Parts {
    /// Programs and maps.
    pub datapath: Datapath,
    /// The hand-off.
    pub dhcp: Arc<dhcp::Service>,
    /// Which port has which slot.
    pub slots: Arc<Slots>,
    /// The asks, kept for the next start.
    pub store: Arc<SpecStore>,
    /// What passes came to.
    pub tally: Arc<Tally>,
}
