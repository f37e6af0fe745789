// SPDX-License-Identifier: MIT OR Apache-2.0
//! The variables by which a runtime says what is to be done, and to which container.

use std::{ffi::OsString, path::PathBuf};

use super::CniError;
use crate::core::{
    ids::IfName,
    origin::{Origin, Pod, Source},
};

/// Variables of a process's environment, by name.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Wire a port.
    Add,
    /// Take it off.
    Del,
    /// See that it is as ADD left it.
    Check,
    /// Take off all that the runtime does not know any more.
    Gc,
    /// See that an ADD could be served.
    Status,
    /// Say which versions are spoken.
    Version,
}

impl Command {
    const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// As it stands in `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// `CNI_COMMAND`.
    ///
    /// # Errors
    /// When it is not there, or not one of the specification's.
    pub fn read(variables: Variables<'_>) -> Result<Self, CniError> {
        const NAME: &str = "CNI_COMMAND";
        let text = required(variables, NAME)?;
        let known = Self::ALL.into_iter().find(|command| command.as_str() == text);
        known.ok_or_else(|| CniError::Environment {
            variable: NAME,
            why: format!("`{}` is not one of ADD, DEL, CHECK, GC, STATUS, VERSION", text.escape_debug()),
        })
    }
}

/// One interface of one container on one network: what ADD makes and DEL takes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `CNI_CONTAINERID`: of a pod, its sandbox.
    pub container: String,
    /// `CNI_IFNAME`.
    pub ifname: IfName,
}

impl Attachment {
    /// `CNI_CONTAINERID` and `CNI_IFNAME`.
    ///
    /// # Errors
    /// When one is not there, or cannot be one.
    pub fn read(variables: Variables<'_>) -> Result<Self, CniError> {
        const ID: &str = "CNI_CONTAINERID";
        const IFNAME: &str = "CNI_IFNAME";
        let container = required(variables, ID)?;
        if !is_identifier(&container) {
            let why = format!(
                "`{}` is no container id: letters, digits, `_`, `.` and `-` after a letter or digit, at most \
                 {LONGEST_IDENTIFIER}",
                container.escape_debug()
            );
            return Err(CniError::Environment { variable: ID, why });
        }
        let ifname = required(variables, IFNAME)?
            .parse()
            .map_err(|e| CniError::Environment { variable: IFNAME, why: format!("{e}") })?;
        Ok(Self { container, ifname })
    }
}

/// `CNI_NETNS`; `None` when it is not set, as DEL may have it.
///
/// # Errors
/// When it is no absolute path.
pub(super) fn netns(variables: Variables<'_>) -> Result<Option<PathBuf>, CniError> {
    const NAME: &str = "CNI_NETNS";
    let Some(text) = optional(variables, NAME)? else { return Ok(None) };
    let path = PathBuf::from(&text);
    if path.is_absolute() {
        return Ok(Some(path));
    }
    let why = format!("`{}` is no absolute path", text.escape_debug());
    Err(CniError::Environment { variable: NAME, why })
}

/// What `CNI_ARGS` says to us. What it says to others is passed over: every plugin of a chain gets the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// Whether Kubernetes asks.
    pub kubernetes: bool,
    /// `K8S_POD_UID`, `K8S_POD_NAMESPACE` and `K8S_POD_NAME`.
    pub pod: Pod,
    /// `TC_REDIRECT_TAP_NAME`, and the two that follow: what Firecracker's SDK tells the plugin that it knows.
    pub tap: Option<String>,
    /// `TC_REDIRECT_TAP_UID`.
    pub uid: Option<String>,
    /// `TC_REDIRECT_TAP_GID`.
    pub gid: Option<String>,
}

impl Args {
    /// `CNI_ARGS`.
    ///
    /// # Errors
    /// When it is no list of pairs.
    pub fn read(variables: Variables<'_>) -> Result<Self, CniError> {
        let mut args = Self::default();
        let Some(text) = optional(variables, ARGS)? else { return Ok(args) };
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                let why = format!("`{}` has no `=`", pair.escape_debug());
                return Err(CniError::Environment { variable: ARGS, why });
            };
            args.kubernetes |= key.starts_with("K8S_POD_");
            let value = || value.to_owned();
            match key {
                "K8S_POD_UID" => args.pod.uid = value(),
                "K8S_POD_NAMESPACE" => args.pod.namespace = value(),
                "K8S_POD_NAME" => args.pod.name = value(),
                "TC_REDIRECT_TAP_NAME" => args.tap = Some(value()),
                "TC_REDIRECT_TAP_UID" => args.uid = Some(value()),
                "TC_REDIRECT_TAP_GID" => args.gid = Some(value()),
                _ => {}
            }
        }
        Ok(args)
    }

    /// Whether they are meant for tc-redirect-tap.
    pub fn are_for_tc_redirect_tap(&self) -> bool {
        self.tap.is_some() || self.uid.is_some() || self.gid.is_some()
    }

    /// Where a port of this call comes from.
    ///
    /// # Errors
    /// When the pod's names are none.
    pub fn origin(&self, attachment: &Attachment, network: &str) -> Result<Origin, CniError> {
        let origin = Origin {
            source: Source::Cni,
            pod: self.pod.clone(),
            sandbox: attachment.container.clone(),
            network: network.to_owned(),
            ifname: attachment.ifname.to_string(),
        };
        origin.check().map_err(|e| CniError::Environment { variable: ARGS, why: e.to_string() })?;
        Ok(origin)
    }
}

const ARGS: &str = "CNI_ARGS";

/// The specification sets no bound; containerd's ids have 64 characters, and what is longer fits no file name.
const LONGEST_IDENTIFIER: usize = 253;

/// Whether it can name a container or a network (the specification, sections 1 and 2).
pub(super) fn is_identifier(text: &str) -> bool {
    text.len() <= LONGEST_IDENTIFIER
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn required(variables: Variables<'_>, variable: &'static str) -> Result<String, CniError> {
    let missing = || CniError::Environment { variable, why: "is not set".to_owned() };
    optional(variables, variable)?.ok_or_else(missing)
}

fn optional(variables: Variables<'_>, variable: &'static str) -> Result<Option<String>, CniError> {
    let Some(value) = variables(variable) else { return Ok(None) };
    match value.into_string() {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(CniError::Environment { variable, why: "is not UTF-8".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Result<Args, CniError> {
        let text = OsString::from(text);
        Args::read(&|name| (name == "CNI_ARGS").then(|| text.clone()))
    }

    #[test]
    fn a_pod_and_a_tap_are_told_in_pairs() {
        let pod =
            args("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=vm;K8S_POD_UID=7;X=a=b;").unwrap();
        assert!(pod.kubernetes && !pod.are_for_tc_redirect_tap());
        assert_eq!((pod.pod.to_string(), pod.pod.uid.as_str()), ("shop/vm".to_owned(), "7"));
        let tap = args("TC_REDIRECT_TAP_NAME=tap7;TC_REDIRECT_TAP_UID=1").unwrap();
        assert!(!tap.kubernetes && tap.are_for_tc_redirect_tap());
        assert_eq!((tap.tap.as_deref(), tap.uid.as_deref(), tap.gid), (Some("tap7"), Some("1"), None));
        assert_eq!(args("").unwrap(), Args::default());
        assert!(args("K8S_POD_NAME").unwrap_err().to_string().contains("`K8S_POD_NAME` has no `=`"));
    }

    #[test]
    fn identifiers_name_files() {
        for good in ["a", "0a1b", "cni-podman0", "a_b.c-d", &"x".repeat(LONGEST_IDENTIFIER)] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in ["", ".", "-a", "_a", "a/b", "a b", "ä", "../x", &"x".repeat(LONGEST_IDENTIFIER + 1)] {
            assert!(!is_identifier(bad), "{bad}");
        }
    }
}
