// SPDX-License-Identifier: MIT OR Apache-2.0
//! One call as a whole: what the environment and standard input say together. Pure, and given any bytes.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use super::{
    Args, Ask, Attachment, CniError, Command, NetConf, SpecVersion, Wishes,
    environment::{self, Variables},
};
use crate::core::{ids::IfName, kubevirt::names::Names};

/// What the runtime wants.
#[derive(Clone, Debug)]
pub enum Call {
    /// Wire a port.
    Add(Box<Ask>),
    /// See that it is as its ADD, and the plugins behind us, left it.
    Check(Box<Ask>),
    /// Take a port off.
    Del(Removal),
    /// Take off all ports of the network but these.
    Gc {
        /// The network's name.
        network: String,
        /// Container ids and interface names.
        valid: BTreeSet<(String, String)>,
    },
    /// Say whether an ADD could be served.
    Status,
    /// Say which versions are spoken.
    Version {
        /// The version to say it in, which need not be one of them.
        spoken: String,
    },
}

/// A DEL. It has to succeed with less than an ADD: what no ADD was served with is no reason to keep a pod.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Whose port it is.
    pub attachment: Attachment,
    /// `CNI_NETNS`; runtimes leave it out when the namespace is gone.
    pub netns: Option<PathBuf>,
    /// Whether it is a Kubernetes pod's: the namespace goes with the pod.
    pub kubernetes: bool,
    /// Name of the tap that an ADD with this configuration made.
    pub tap: IfName,
}

/// A call with what is common to all.
#[derive(Clone, Debug)]
pub struct Request {
    /// The version to answer in.
    pub version: SpecVersion,
    /// The agent's socket.
    pub socket: PathBuf,
    /// What is wanted.
    pub call: Call,
}

impl Request {
    /// Reads a call.
    ///
    /// # Errors
    /// When it cannot be carried out as it stands.
    pub fn read(command: Command, variables: Variables<'_>, stdin: &[u8]) -> Result<Self, CniError> {
        if command == Command::Version {
            let call = Call::Version { spoken: spoken(stdin) };
            return Ok(Self { version: SpecVersion::default(), socket: PathBuf::new(), call });
        }
        let conf = NetConf::decode(stdin)?;
        let since = since(command);
        if conf.version < since {
            return Err(CniError::CommandVersion { command: command.as_str(), since, version: conf.version });
        }
        let ask = || -> Result<Box<Ask>, CniError> {
            let attachment = Attachment::read(variables)?;
            let netns = environment::netns(variables)?.ok_or_else(|| CniError::Environment {
                variable: "CNI_NETNS",
                why: "is not set".to_owned(),
            })?;
            Ok(Box::new(Ask::new(attachment, netns, Args::read(variables)?, &conf)?))
        };
        let call = match command {
            Command::Add => Call::Add(ask()?),
            Command::Check => Call::Check(ask()?),
            Command::Del => Call::Del(removal(variables, &conf)?),
            Command::Gc => Call::Gc { network: conf.name.clone(), valid: conf.valid_attachments()? },
            Command::Status => {
                // A configuration that no ADD could be served with.
                Wishes::of(&conf)?;
                Call::Status
            }
            Command::Version => Call::Version { spoken: conf.version.to_string() },
        };
        Ok(Self { version: conf.version, socket: conf.socket(), call })
    }
}

fn removal(variables: Variables<'_>, conf: &NetConf) -> Result<Removal, CniError> {
    let args = Args::read(variables).unwrap_or_default();
    let named = args.tap.as_deref().and_then(|name| name.parse().ok());
    let wished = || Wishes::of(conf).ok().and_then(|wishes| wishes.tap);
    Ok(Removal {
        attachment: Attachment::read(variables)?,
        netns: environment::netns(variables).unwrap_or_default(),
        kubernetes: args.kubernetes,
        tap: named.or_else(wished).unwrap_or_else(|| Names::primary().tap),
    })
}

/// The first version that has the command.
fn since(command: Command) -> SpecVersion {
    match command {
        Command::Add | Command::Del | Command::Version => SpecVersion::V0_3_1,
        Command::Check => SpecVersion::V0_4_0,
        Command::Gc | Command::Status => SpecVersion::V1_1_0,
    }
}

/// The version to answer an error in: the configuration's, where there is one that we speak.
pub fn version_for_errors(stdin: &[u8]) -> SpecVersion {
    spoken(stdin).parse().unwrap_or_default()
}

/// What `cniVersion` says, where that is a version at all.
fn spoken(stdin: &[u8]) -> String {
    const LONGEST: usize = 32;
    let conf: Option<Value> = serde_json::from_slice(stdin).ok();
    let said = conf.as_ref().and_then(|conf| conf.get("cniVersion")).and_then(Value::as_str);
    let is_version = |text: &&str| {
        !text.is_empty()
            && text.len() <= LONGEST
            && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
    };
    said.filter(is_version).unwrap_or(SpecVersion::default().as_str()).to_owned()
}
