// SPDX-License-Identifier: MIT OR Apache-2.0
//! Once a second, more rarely on a node with hundreds of ports, whether every port is still alive: of a namespace that lost its path and of a program that somebody
//! took off no event tells.

use std::{
    convert::Infallible, fs, io, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc, time::Duration,
};

use super::{
    PortState, PortStatus,
    pace::pace,
    ports::Ports,
    rounds::{Rounds, Sight, Told, Watched},
};
use crate::{
    core::{
        ids::{NetnsId, PortId},
        program::Program,
        spec::PortSpec,
        tier::Hook,
    },
    datapath::{Datapath, LinkPin},
};

/// A program that was taken off is back within about this, as long as there are not more ports than in [`PORTS_A_SECOND`].
const EVERY: Duration = Duration::from_secs(1);
/// Ports a second whose pulse is felt when there are many. A path and three links take some 20 us: 0.5 % of a CPU.
const PORTS_A_SECOND: u32 = 256;

/// The signs of life of all ports.
pub(super) struct Pulse(Rounds<Signs>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Rounds::new("pulse"))
    }
}

/// What a port needs to be alive.
struct Signs {
    port: PortId,
    netns: PathBuf,
    netns_id: NetnsId,
    datapath: Datapath,
    /// Programs whose links have to be pinned and attached; none while the port is not as desired.
    links: Vec<Program>,
}

impl Ports {
    /// Looks at a port as soon as it has lost its namespace or a program.
    pub fn feel_pulses(&self) -> impl Future<Output = Infallible> + use<> {
        let ports = self.clone();
        async move {
            let woken = ports.clone();
            let lost: Arc<Told> = Arc::new(move |id| woken.wake(id));
            loop {
                tokio::time::sleep(pace(EVERY, ports.pulse.0.len(), PORTS_A_SECOND)).await;
                ports.pulse.0.round(&lost).await;
            }
        }
    }
}

impl Pulse {
    /// Takes up what a pass has come to.
    pub(super) fn follow(&self, datapath: &Datapath, spec: &PortSpec, status: &PortStatus) {
        let wired = status.wired.as_ref().filter(|_| status.state == PortState::Ready);
        let links = wired.filter(|wired| wired.hook == Hook::Tcx).map_or_else(Vec::new, |wired| {
            Program::ALL.into_iter().filter(|program| wired.desired.tier.has(*program)).collect()
        });
        let signs = Signs {
            port: spec.id(),
            netns: spec.netns.clone(),
            netns_id: spec.netns_id,
            datapath: datapath.clone(),
            links,
        };
        self.0.insert(Arc::new(Watched::new(spec.id(), signs)));
    }

    /// Forgets a port.
    pub(super) fn remove(&self, port: &PortId) {
        self.0.remove(port);
    }
}

impl Sight for Signs {
    fn calls(&self) -> bool {
        self.has_lost_its_netns() || self.links.iter().any(|program| self.has_lost(*program))
    }
}

impl Signs {
    /// Whether something else is at the path now, or nothing. Opens nothing: whoever does keeps a namespace alive.
    fn has_lost_its_netns(&self) -> bool {
        match fs::metadata(&self.netns) {
            Ok(there) => NetnsId { dev: there.dev(), ino: there.ino() } != self.netns_id,
            // A pass would not get farther with a path that cannot be followed.
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        }
    }

    /// A pin that cannot be read is for the pass to report.
    fn has_lost(&self, program: Program) -> bool {
        !matches!(self.datapath.link_pin(&self.port, program), Ok(LinkPin::Attached { .. }))
    }
}
