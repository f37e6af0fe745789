// SPDX-License-Identifier: MIT OR Apache-2.0
//! A port of the real agent in one of many pods, and a guest that has yet to boot.

use anyhow::{Context as _, Result};
use netagent_tests::{
    agent::Agent,
    tap::{Tap, TapSpec},
};
use serde_json::Value;

use crate::bench::{
    crowd::Pod,
    load::frame::Mac,
    scene::{TAP, mac},
};

/// A guest with its end of the tap.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) tap: Tap,
    pub(super) mac: Mac,
}

impl Guest {
    /// Attaches a port, and opens its tap as a VMM does.
    pub(super) fn attach(agent: &Agent, pod: &Pod) -> Result<Self> {
        let words: Vec<&str> =
            std::iter::once("attach").chain(pod.attach.iter().map(String::as_str)).collect();
        let port = agent.json(&words)?;
        let spelled = port.pointer("/guest/mac").and_then(Value::as_str).context("a port without a MAC")?;
        let tap = Tap::open(&pod.netns, TAP, TapSpec::default())?;
        tap.never_block()?;
        Ok(Self { tap, mac: mac(spelled)? })
    }
}
