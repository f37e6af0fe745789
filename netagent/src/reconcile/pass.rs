// SPDX-License-Identifier: MIT OR Apache-2.0
//! One pass over one port: look, plan, do, and look again until there is nothing left to do.

use ipnet::IpNet;

use super::{
    Applier, Parts, PassError,
    discover::discover,
    observe::{Inside, observe},
    routers::KnownRouters,
};
use crate::{
    core::{
        desired::{DesiredPort, SpecError},
        ids::MacAddr,
        observed::{Observed, ObservedProgram, ObservedTap},
        plan::{Step, plan},
        spec::PortSpec,
        tier::{Hook, TierChoice},
    },
    netlink::Netlink,
    sys::{
        netns::{Netns, NetnsError},
        netns_cookie,
    },
};

/// Looks per pass: the second one confirms the first; more are needed only when somebody else works on the same
/// devices.
const LOOKS: usize = 4;

/// What a pass ends with.
#[derive(Debug)]
pub enum Pass {
    /// The port is as desired.
    Wired(Box<Wired>),
    /// Nothing of the port is left, as desired.
    Gone,
}

/// A port that is as desired.
#[derive(Clone, Debug)]
pub struct Wired {
    /// What it is.
    pub desired: DesiredPort,
    /// Its slot in the maps.
    pub slot: u32,
    /// Its tap.
    pub tap_ifindex: u32,
    /// The tap's own address.
    pub tap_mac: Option<MacAddr>,
    /// The hook its programs are on, which may be that of an earlier agent.
    pub hook: Hook,
}

/// A port within reach: its namespace open, when it is still the one that was asked for.
pub struct Session<'a> {
    parts: &'a Parts,
    spec: &'a PortSpec,
    inside: Option<Inside>,
    routers: KnownRouters,
    touched: bool,
}

/// What a look at a port shows.
pub struct Look {
    /// What it should be; `None` when it is to go.
    pub desired: Option<DesiredPort>,
    /// What it is.
    pub observed: Observed,
    /// How to get from the one to the other.
    pub steps: Vec<Step>,
}

impl<'a> Session<'a> {
    /// Opens the port's namespace. One that is gone, or another one at its path, is not an error: the port is to go.
    ///
    /// # Errors
    /// When the namespace is there and cannot be entered.
    pub async fn open(parts: &'a Parts, spec: &'a PortSpec) -> Result<Self, PassError> {
        let session = |inside| Self { parts, spec, inside, routers: KnownRouters::default(), touched: false };
        let netns = match Netns::open_pod(&spec.netns) {
            Ok(netns) => netns,
            Err(e) if e.is_gone() => return Ok(session(None)),
            // A process's number comes again: what /proc/PID/ns/net leads to by now may be anybody's.
            Err(NetnsError::Host(path)) if Netns::open(&path).is_ok_and(|it| it.id() != spec.netns_id) => {
                return Ok(session(None));
            }
            Err(e) => return Err(e.into()),
        };
        let same_number = netns.id() == spec.netns_id;
        let same = same_number && (spec.netns_cookie.is_none() || cookie(&netns).await? == spec.netns_cookie);
        let inside = if same { Some(Inside { netlink: Netlink::open(&netns).await?, netns }) } else { None };
        Ok(session(inside))
    }

    /// With what is known of the pod's routers, which it adds to.
    #[must_use]
    pub(super) fn knowing(mut self, routers: KnownRouters) -> Self {
        self.routers = routers;
        self
    }

    /// Looks at the port and plans.
    ///
    /// # Errors
    /// When something cannot be read, the pod cannot have the port, or something else is in the way.
    pub async fn look(&self) -> Result<Look, PassError> {
        let facts = match &self.inside {
            Some(inside) if self.spec.wanted => {
                let mut facts = discover(self.parts, inside, self.spec).await?;
                self.routers.find(inside, &mut facts).await;
                Some(facts)
            }
            _ => None,
        };
        let observed = observe(self.parts, self.spec, self.inside.as_ref()).await;
        let desired = match facts {
            Some(mut facts) => {
                if let (TierChoice::Xdp, Ok(Observed { entry: Some((_, entry)), .. })) =
                    (self.spec.tier, &observed)
                {
                    self.routers.recall(&mut facts, entry);
                }
                Some(DesiredPort::new(self.spec, &facts, self.parts.datapath.features())?)
            }
            None => None,
        };
        let observed = observed?;
        let heed = |desired: DesiredPort| {
            let outcome = observed.self_test(desired.pod_link.ifindex);
            desired.heed(self.spec.tier, outcome)
        };
        let desired = desired.map(heed).transpose().map_err(SpecError::from)?;
        let steps = plan(desired.as_ref(), &observed, &self.spec.tap.name)?;
        Ok(Look { desired, observed, steps })
    }

    /// Carries out one step.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub async fn apply(&self, step: &Step) -> Result<(), PassError> {
        self.applier().apply(step).await.map_err(PassError::step(step))
    }

    fn applier(&self) -> Applier<'_> {
        Applier::new(self.parts, self.spec, self.inside.as_ref())
    }

    /// Whether a step was carried out.
    pub fn touched(&self) -> bool {
        self.touched
    }

    /// Brings the port to what is desired.
    ///
    /// # Errors
    /// What stood in the way; what was done until then stays done, and the next pass goes on from there.
    pub async fn settle(&mut self) -> Result<Pass, PassError> {
        if self.spec.wanted && self.inside.is_some() {
            self.parts.slots.claim(&self.spec.id());
        }
        let mut look = self.look().await?;
        for _ in 1..LOOKS {
            if look.steps.is_empty() {
                break;
            }
            self.touched = true;
            let mut failed = None;
            let mut applier = self.applier();
            for step in &look.steps {
                tracing::debug!(port = %self.spec.id(), %step, "step");
                match applier.apply(step).await.map_err(PassError::step(step)) {
                    Ok(()) => {}
                    // What goes must go as far as it can, as long as the tap is not there to send past it; what comes
                    // up must not skip a step.
                    Err(e) if look.desired.is_none() && !matches!(step, Step::DeleteTap { .. }) => {
                        failed = Some(e)
                    }
                    Err(e) => return Err(e),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            look = self.look().await?;
        }
        if let Some(step) = look.steps.first() {
            return Err(PassError::Unsettled(step.to_string()));
        }
        Ok(wired(look).map_or(Pass::Gone, |w| Pass::Wired(Box::new(w))))
    }
}

/// Reads the cookie of a namespace; `None` where the kernel has none.
///
/// # Errors
/// When the namespace cannot be entered.
async fn cookie(netns: &Netns) -> Result<Option<u64>, PassError> {
    netns.run(netns_cookie::of_this_thread).await?.map_err(PassError::Cookie)
}

/// Completes an ask with what only its namespace can tell, and checks it against that: the cookie, and whether the
/// guest's MTU suits the pod link. A link that is not there is for the pass to report.
///
/// # Errors
/// When the namespace cannot be read, or the ask does not fit it.
pub(super) async fn meet(netns: &Netns, spec: &mut PortSpec) -> Result<(), PassError> {
    spec.netns_cookie = cookie(netns).await?;
    if spec.hand_off.mtu.is_none() {
        return Ok(());
    }
    let netlink = Netlink::open(netns).await?;
    if let Some(link) = netlink.link(&spec.pod_link).await? {
        let addresses = netlink.global_addresses(link.ifindex).await?;
        let has_ipv6 = addresses.iter().any(|address| matches!(address, IpNet::V6(_)));
        spec.hand_off.check_link(link.mtu, has_ipv6).map_err(SpecError::from)?;
    }
    Ok(())
}

fn wired(look: Look) -> Option<Wired> {
    let desired = look.desired?;
    let (slot, entry) = look.observed.entry?;
    let (hook, tap) = match (look.observed.from_vm, &look.observed.tap) {
        (ObservedProgram::Attached { hook, .. }, ObservedTap::Ours(tap) | ObservedTap::Bridged(tap)) => {
            (hook, tap)
        }
        _ => return None,
    };
    Some(Wired { desired, slot, tap_ifindex: entry.tap_ifindex, tap_mac: tap.mac, hook })
}
