// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the self-test of a port's path came to. It stands in the port's entry, so it survives the agent.

use std::net::IpAddr;

use netagent_common::maps::{SELF_TEST, SELF_TEST_SHIFT};

use super::tier::Tier;

/// What the self-test came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfTest {
    /// It was not made yet.
    #[default]
    NotMade,
    /// The gateway answered through this tier.
    Proved(Tier),
    /// The gateway answered through `plain`, and not through `peer`.
    PeerFailed,
    /// The gateway answered through no tier: nothing is proved, and nothing refuted.
    Unanswered,
    /// Somebody else had the tap open.
    TapInUse,
}

impl SelfTest {
    /// The outcome in an entry's flags. A number that another version wrote proves nothing to this one.
    pub fn from_flags(flags: u32) -> Self {
        match (flags & SELF_TEST) >> SELF_TEST_SHIFT {
            0 => Self::NotMade,
            1 => Self::Proved(Tier::Peer),
            2 => Self::Proved(Tier::Plain),
            3 => Self::PeerFailed,
            5 => Self::TapInUse,
            6 => Self::Proved(Tier::Xdp),
            _ => Self::Unanswered,
        }
    }

    /// Its bits in an entry's flags.
    pub fn to_flags(self) -> u32 {
        let number: u32 = match self {
            Self::NotMade => 0,
            Self::Proved(Tier::Peer) => 1,
            Self::Proved(Tier::Plain) => 2,
            Self::PeerFailed => 3,
            Self::Unanswered => 4,
            Self::TapInUse => 5,
            Self::Proved(Tier::Xdp) => 6,
        };
        number << SELF_TEST_SHIFT
    }

    /// What it says about a port of this tier, for people. `gateway` is who was asked, or would be.
    pub fn words(self, tier: Tier, gateway: Option<IpAddr>) -> String {
        let who = asked(gateway);
        match (self, tier) {
            (Self::NotMade, _) if gateway.is_none() => "unproved: the pod has no gateway to ask".into(),
            (Self::NotMade, _) => format!("unproved: {who} was not asked yet"),
            (Self::Proved(Tier::Peer), Tier::Peer)
            | (Self::Proved(Tier::Xdp), Tier::Xdp)
            | (Self::Proved(Tier::Plain) | Self::PeerFailed, Tier::Plain) => {
                format!("proved: {who} answered")
            }
            (Self::Proved(other), _) => format!("unproved: {who} was asked through {other} alone"),
            (Self::PeerFailed, _) => peer_failed(gateway),
            (Self::Unanswered, _) => format!("unproved: {who} did not answer"),
            (Self::TapInUse, _) => "unproved: the tap was in use already".into(),
        }
    }
}

/// Why `peer` is not taken after it failed.
pub(super) fn peer_failed(gateway: Option<IpAddr>) -> String {
    format!("peer failed its self-test: {} answered through plain, and not through peer", asked(gateway))
}

/// The gateway that the pod has now; it may have gone since it was asked.
fn asked(gateway: Option<IpAddr>) -> String {
    gateway.map_or_else(|| "the gateway".into(), |gateway| gateway.to_string())
}

#[cfg(test)]
mod tests {
    use netagent_common::maps::{ACTIVE, OWNS_CLSACT, PEER};

    use super::*;

    const ALL: [SelfTest; 6] = [
        SelfTest::NotMade,
        SelfTest::Proved(Tier::Peer),
        SelfTest::Proved(Tier::Plain),
        SelfTest::PeerFailed,
        SelfTest::Unanswered,
        SelfTest::TapInUse,
    ];

    #[test]
    fn an_entry_s_flags_keep_the_outcome_and_nothing_else_of_them() {
        let others = ACTIVE | PEER | OWNS_CLSACT;
        for outcome in ALL {
            assert_eq!(outcome.to_flags() & !SELF_TEST, 0, "{outcome:?}");
            assert_eq!(SelfTest::from_flags(others | outcome.to_flags()), outcome);
        }
        assert_eq!(SelfTest::from_flags(SELF_TEST), SelfTest::Unanswered, "a number from the future");
    }

    #[test]
    fn only_an_answer_through_the_tier_itself_proves_it() {
        let gateway = Some("10.0.0.1".parse().unwrap());
        let proves = |outcome: SelfTest, tier| outcome.words(tier, gateway).starts_with("proved: ");
        let by = |tier| ALL.into_iter().filter(|outcome| proves(*outcome, tier)).collect::<Vec<_>>();
        assert_eq!(by(Tier::Peer), [SelfTest::Proved(Tier::Peer)]);
        assert_eq!(by(Tier::Plain), [SelfTest::Proved(Tier::Plain), SelfTest::PeerFailed]);
        assert!(SelfTest::NotMade.words(Tier::Peer, None).contains("no gateway to ask"));
    }
}
