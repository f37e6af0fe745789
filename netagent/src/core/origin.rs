// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who asked for a port, and whose it is: what tells which asks a source may take back, and what people know a pod by.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest text of each field: a Kubernetes name has at most 253 bytes, a UID 36, a container id 64.
const LONGEST: usize = 253;

/// Through which door a port was asked for. A source takes back its own ports and no others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A call of the API that names no other: the CLI, the flag `--attach`.
    #[default]
    Api,
    /// The CNI plugin.
    Cni,
    /// KubeVirt's node hooks, or a bridge of KubeVirt's that is made faster.
    KubeVirt,
    /// The container runtime's list of pods.
    Cri,
    /// The container runtime, before it starts the pod's containers.
    Nri,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Api, Self::Cni, Self::KubeVirt, Self::Cri, Self::Nri];

    /// The stable name in JSON, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cni => "cni",
            Self::KubeVirt => "kubevirt",
            Self::Cri => "cri",
            Self::Nri => "nri",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Source {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let known = Self::ALL.into_iter().find(|source| source.as_str() == text);
        known.ok_or_else(|| OriginError::Source(text.to_owned()))
    }
}

/// Where a port comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The door.
    #[serde(default)]
    pub source: Source,
    /// The pod, where the source knows it.
    #[serde(default)]
    pub pod: Pod,
    /// The sandbox of the container runtime (`CNI_CONTAINERID`, CRI's pod sandbox id); empty when not known.
    #[serde(default)]
    pub sandbox: String,
    /// Of CNI: the network's name in its configuration.
    #[serde(default)]
    pub network: String,
    /// Of CNI: the interface that the runtime speaks of (`CNI_IFNAME`). With the sandbox it identifies the attachment, and
    /// it need not be the pod link.
    #[serde(default)]
    pub ifname: String,
}

/// A pod, as Kubernetes names it. Fields that are not known are empty. The UID is its identity: a name comes again.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pod {
    /// `metadata.uid`.
    #[serde(default)]
    pub uid: String,
    /// `metadata.namespace`.
    #[serde(default)]
    pub namespace: String,
    /// `metadata.name`.
    #[serde(default)]
    pub name: String,
}

impl fmt::Display for Pod {
    /// As kubectl's users write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.namespace.as_str(), self.name.as_str()) {
            ("", name) => f.pad(name),
            (namespace, name) => f.pad(&format!("{namespace}/{name}")),
        }
    }
}

/// An origin that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No such door.
    #[error("source `{0}` is not one of api, cni, kubevirt, cri, nri")]
    Source(String),
    /// What will stand in labels, file names and tables has to be short, and printable.
    #[error("{field} `{}` is not a Kubernetes name: printable ASCII without spaces, at most {LONGEST} bytes", .text.escape_debug())]
    Text {
        /// The field.
        field: &'static str,
        /// Its value.
        text: String,
    },
}

impl Origin {
    /// Checks what came from outside.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn check(&self) -> Result<(), OriginError> {
        for (field, text) in [
            ("pod uid", &self.pod.uid),
            ("pod namespace", &self.pod.namespace),
            ("pod name", &self.pod.name),
            ("sandbox", &self.sandbox),
            ("network", &self.network),
            ("interface", &self.ifname),
        ] {
            if text.len() > LONGEST || !text.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(OriginError::Text { field, text: text.chars().take(LONGEST).collect() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_written() {
        for source in Source::ALL {
            assert_eq!(source.as_str().parse(), Ok(source));
            assert_eq!(serde_json::to_value(source).unwrap(), source.as_str());
        }
        assert!("docker".parse::<Source>().unwrap_err().to_string().contains("`docker` is not one of api"));
    }

    #[test]
    fn names_that_could_break_a_label_are_refused_by_field() {
        let pod = |name: &str| Pod { name: name.to_owned(), ..Pod::default() };
        let check = |pod| Origin { pod, ..Origin::default() }.check();
        assert_eq!(check(pod("virt-launcher-vm.1_x")), Ok(()));
        assert_eq!(check(pod("")), Ok(()));
        for bad in ["a b", "a\nb", "ä", &"x".repeat(LONGEST + 1)] {
            assert!(check(pod(bad)).unwrap_err().to_string().starts_with("pod name `"), "{bad}");
        }
    }

    #[test]
    fn a_pod_reads_as_kubectl_writes_it() {
        let pod = Pod { uid: "1".into(), namespace: "ns".into(), name: "vm".into() };
        assert_eq!(pod.to_string(), "ns/vm");
        assert_eq!(Pod::default().to_string(), "");
    }
}
