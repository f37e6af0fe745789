// SPDX-License-Identifier: MIT OR Apache-2.0
//! A pod's annotations as asks: which of its links get a port, and what each port is to be.
//!
//! `netagent.dev/attach` names the links, or is `true` for the usual one of the pod's mode: eth0, or what KubeVirt makes of it. `netagent.dev/KEY` says something of all of the pod's
//! ports, `netagent.dev/LINK.KEY` of one, and that one counts. Whatever cannot be understood is refused whole: a port
//! that is half of what its pod asks for would be noticed too late.

mod key;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::key::Key;
pub use self::key::Problem;
use super::{ask::PortAsk, hand_off::HandOff, ids::IfName, mode::Mode, nearest::nearest, origin::Pod};

/// What all our annotations begin with.
pub const PREFIX: &str = "netagent.dev/";
/// The annotation that asks for ports.
pub const ATTACH: &str = "netagent.dev/attach";
/// The annotation of how the pod's guests meet their networks.
const MODE: &str = "netagent.dev/mode";
/// As many ports as anybody puts into one pod; more is a mistake.
const MAX_LINKS: usize = 32;
/// How long a value may be, in bytes: as long as all the search domains that a guest is told.
const LONGEST: usize = 8192;
/// How much of a key and of a value is shown where it is refused.
const SHOWN: usize = 64;

/// What pods may ask for by themselves. Whoever may create a pod writes its annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permitted {
    /// Exceptions from the guard.
    pub guard_exceptions: bool,
}

/// An annotation that cannot be met.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("pod {pod}: annotation {key}: `{value}`")]
pub struct AnnotationError {
    /// Whose it is.
    pub pod: Box<Pod>,
    /// Its whole key.
    pub key: String,
    /// The first of its value.
    pub value: String,
    /// What is wrong, and what to do.
    #[source]
    pub problem: Problem,
}

/// Whether a pod has any of our annotations: whether it is our business.
pub fn has_ours(annotations: &BTreeMap<String, String>) -> bool {
    annotations.keys().any(|key| key.starts_with(PREFIX))
}

/// The ports that a pod's annotations ask for; none when they do not.
///
/// # Errors
/// The first annotation of ours that cannot be met.
pub fn asks(
    pod: &Pod,
    annotations: &BTreeMap<String, String>,
    permitted: Permitted,
) -> Result<Vec<PortAsk>, AnnotationError> {
    let refuse = |key: &str, problem| {
        let value = annotations.get(key).map_or("", String::as_str);
        let shown = |text: &str, most: usize| text.chars().take(most).flat_map(char::escape_debug).collect();
        AnnotationError {
            pod: Box::new(pod.clone()),
            key: shown(key, 2 * SHOWN),
            value: shown(value, SHOWN),
            problem,
        }
    };
    let ours = annotations.iter().filter_map(|(key, value)| Some((key, key.strip_prefix(PREFIX)?, value)));
    if let Some((key, ..)) = ours.clone().find(|(_, name, value)| value.len().max(name.len()) > LONGEST) {
        return Err(refuse(key, Problem::TooLong { most: LONGEST }));
    }
    let links = match annotations.get(ATTACH) {
        Some(value) => links(value, mode(annotations)).map_err(|problem| refuse(ATTACH, problem))?,
        None => match ours.clone().next() {
            Some((key, name, _)) => return Err(refuse(key, without_attach(name))),
            None => return Ok(Vec::new()),
        },
    };

    // What is said of one link comes behind what is said of all of them, so it counts.
    let (mut of_all, mut of_one) = (Vec::new(), Vec::new());
    for (key, name, value) in ours.filter(|(key, ..)| *key != ATTACH) {
        let (link, name) = match name.rsplit_once('.') {
            Some((link, name)) => (Some(link), name),
            None => (None, name),
        };
        let which = Key::parse(name).map_err(|problem| refuse(key, problem))?;
        match link {
            None if which.is_of_one_port() && links.len() > 1 => {
                return Err(refuse(key, Problem::NeedsLink(name.to_owned())));
            }
            None => of_all.push((key, None, which, value)),
            Some(link) if links.iter().any(|known| known.as_str() == link) => {
                of_one.push((key, Some(link), which, value));
            }
            Some(link) => return Err(refuse(key, Problem::NoSuchLink(link.to_owned()))),
        }
    }

    let mut asks = Vec::new();
    for (number, pod_link) in links.into_iter().enumerate() {
        let mut said = BTreeMap::new();
        for (key, link, which, value) in of_all.iter().chain(&of_one) {
            if link.is_none_or(|link| link == pod_link.as_str()) {
                said.insert(*which, (*key, *value));
            }
        }
        let tap = format!("tap{number}").parse().map_err(|e| refuse(ATTACH, Problem::Id(e)))?;
        let mut ask = PortAsk::plain(pod_link, tap);
        for (which, (key, value)) in &said {
            which.lay_on(&mut ask, value, permitted).map_err(|problem| refuse(key, problem))?;
        }
        if let (Some((key, _)), Some(_)) = (said.get(&Key::ShortRenew), said.get(&Key::LeaseSeconds)) {
            return Err(refuse(key, Problem::TwoLeaseTimes));
        }
        if let (Mode::Accelerate, Some((key, _))) = (ask.mode, said.get(&Key::Mode))
            && ask.hand_off != HandOff::default()
        {
            return Err(refuse(key, Problem::NotOurHandOff));
        }
        asks.push(ask);
    }
    match tap_twice(&asks) {
        Some(tap) => Err(refuse(ATTACH, Problem::TapTwice(tap.to_string()))),
        None => Ok(asks),
    }
}

/// The mode of all the pod's ports. One that is none is refused when its turn comes.
fn mode(annotations: &BTreeMap<String, String>) -> Mode {
    annotations.get(MODE).and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

fn links(value: &str, mode: Mode) -> Result<Vec<IfName>, Problem> {
    let names: Vec<&str> = match value.trim() {
        "true" => vec![mode.usual_pod_link()],
        "false" => vec![],
        value => value.split(',').map(str::trim).collect(),
    };
    if names.len() > MAX_LINKS {
        return Err(Problem::TooManyLinks { have: names.len(), room: MAX_LINKS });
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
        return Err(Problem::LinkTwice((*twice).to_owned()));
    }
    names.into_iter().map(|name| name.parse().map_err(Problem::Link)).collect()
}

/// Ours, but nothing asks for a port: most likely `attach` itself is misspelt.
fn without_attach(name: &str) -> Problem {
    match nearest(name, ["attach"]) {
        Some(meant) => Problem::Unknown { meant: format!("; did you mean {PREFIX}{meant}?") },
        None => Problem::NoAttach,
    }
}

fn tap_twice(asks: &[PortAsk]) -> Option<&IfName> {
    let mut seen = BTreeSet::new();
    asks.iter().map(|ask| &ask.tap.name).find(|tap| !seen.insert(*tap))
}
