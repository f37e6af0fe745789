// SPDX-License-Identifier: MIT OR Apache-2.0
//! A source of pods as the API shows it.

use super::v1;
use crate::discovery::{Pods, Trouble};

/// The source's message, as it stands now.
pub(super) fn source(pods: &Pods) -> v1::Source {
    let (up, known) = pods.standing();
    v1::Source {
        name: pods.source().as_str().to_owned(),
        up,
        pods: u64::try_from(known).unwrap_or(u64::MAX),
        unserved: pods.troubles().into_iter().map(unserved).collect(),
    }
}

fn unserved(trouble: Trouble) -> v1::Unserved {
    v1::Unserved {
        pod_uid: trouble.pod.uid,
        pod_namespace: trouble.pod.namespace,
        pod_name: trouble.pod.name,
        obstacle: trouble.obstacle.as_str().to_owned(),
        reason: trouble.reason,
        seconds: trouble.since.elapsed().as_secs(),
        failures: trouble.failures,
    }
}
