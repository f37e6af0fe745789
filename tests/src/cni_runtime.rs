// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a container runtime does with CNI plugins: one process for each call, environment and standard input, each result
//! handed to the next plugin. libcni's way, over the plugins of the distribution's package.

use std::{
    env, fmt,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use crate::{
    netns::Netns,
    process::{Finished, run_fed},
};

/// Where the package `containernetworking-plugins` has them.
pub const PLUGINS: &str = "/usr/lib/cni";
/// Names under which netagent is called.
const NETAGENT: [&str; 2] = ["netagent", "tc-redirect-tap"];
const CALL: Duration = Duration::from_secs(90);

/// A network's configuration: a chain of plugins.
#[derive(Clone, Debug)]
pub struct Network {
    /// `cniVersion`.
    pub version: String,
    /// `name`.
    pub name: String,
    /// The plugins' own configurations.
    pub plugins: Vec<Map<String, Value>>,
}

impl Network {
    /// Reads a list (`plugins`) or a single plugin's configuration, as Multus takes both.
    pub fn read(text: &str) -> Result<Self> {
        let conf: Value = serde_json::from_str(text).context("the network's configuration is no JSON")?;
        let word =
            |key: &str| conf[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {conf}"));
        let plugins = match conf.get("plugins") {
            Some(list) => {
                list.as_array().cloned().with_context(|| format!("no list of plugins in {conf}"))?
            }
            None => vec![conf.clone()],
        };
        let plugins = plugins.into_iter().map(|plugin| match plugin {
            Value::Object(fields) => Ok(fields),
            other => Err(anyhow!("{other} is no plugin's configuration")),
        });
        Ok(Self {
            version: word("cniVersion")?,
            name: word("name")?,
            plugins: plugins.collect::<Result<_>>()?,
        })
    }

    /// Sets a key of one plugin, as in `ipam/dataDir`, where that plugin is in the chain.
    pub fn set(&mut self, plugin: &str, key: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        for fields in
            self.plugins.iter_mut().filter(|fields| fields.get("type").is_some_and(|kind| kind == plugin))
        {
            match key.split_once('/') {
                None => drop(fields.insert(key.to_owned(), value.clone())),
                Some((outer, inner)) => {
                    if let Some(outer) = fields.get_mut(outer).and_then(Value::as_object_mut) {
                        outer.insert(inner.to_owned(), value.clone());
                    }
                }
            }
        }
        self
    }

    /// What one plugin gets on standard input.
    fn input(&self, plugin: &Map<String, Value>, with: &[(&str, Value)]) -> String {
        let mut conf = plugin.clone();
        conf.insert("cniVersion".to_owned(), self.version.as_str().into());
        conf.insert("name".to_owned(), self.name.as_str().into());
        for (key, value) in with {
            conf.insert((*key).to_owned(), value.clone());
        }
        Value::Object(conf).to_string()
    }
}

/// One interface of one container.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_NETNS`; empty when the namespace is gone.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: String,
}

impl Attachment {
    /// `eth0` of a container.
    pub fn new(container: &str, netns: &Netns) -> Self {
        let netns = netns.path().display().to_string();
        Self { container: container.to_owned(), netns, ifname: "eth0".to_owned(), args: String::new() }
    }

    /// Of a Kubernetes pod, as the kubelet's runtimes say it.
    #[must_use]
    pub fn of_pod(mut self, namespace: &str, name: &str, uid: &str) -> Self {
        let container = &self.container;
        self.args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};\
             K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID={uid}"
        );
        self
    }

    /// Another interface.
    #[must_use]
    pub fn ifname(mut self, ifname: &str) -> Self {
        ifname.clone_into(&mut self.ifname);
        self
    }
}

/// A plugin said no.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What was called.
    pub command: String,
    /// Which plugin.
    pub plugin: String,
    /// Its error, as JSON.
    pub error: Value,
    /// What it wrote to standard error.
    pub log: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, plugin, error, log } = self;
        write!(f, "{command} of {plugin} failed with {error}; it logged: {}", log.trim())
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// The error's number.
    pub fn code(&self) -> Option<u64> {
        self.error["code"].as_u64()
    }

    /// Message and details.
    pub fn text(&self) -> String {
        let part = |key: &str| self.error[key].as_str().unwrap_or_default().to_owned();
        format!("{} | {}", part("msg"), part("details"))
    }
}

/// A runtime on a node.
#[derive(Debug)]
pub struct Runtime {
    node: PathBuf,
    dir: tempfile::TempDir,
    /// `runtimeConfig` for plugins with the capability of that name.
    pub capabilities: Map<String, Value>,
}

impl Runtime {
    /// One that finds `netagent` under each name that it is called by.
    pub fn new(node: &Netns, netagent: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("natest-cni-").tempdir().context("cannot make a folder")?;
        for name in NETAGENT {
            symlink(netagent, dir.path().join(name)).with_context(|| format!("cannot link {name}"))?;
        }
        Ok(Self { node: node.path().to_owned(), dir, capabilities: Map::new() })
    }

    /// A folder that goes with this: for `ipam.dataDir`.
    pub fn data_dir(&self) -> String {
        self.dir.path().join("ipam").display().to_string()
    }

    /// ADD through the chain, behind plugins that are not in it and have made `previous`; the last result. A refusal ends
    /// it, and is the caller's to clean up by a DEL.
    pub fn add(&self, network: &Network, attachment: &Attachment, previous: Option<&Value>) -> Result<Value> {
        let mut previous = previous.cloned();
        for plugin in &network.plugins {
            let more = previous.map(|result| ("prevResult", result));
            let done = self.step("ADD", network, plugin, Some(attachment), more.as_slice())?;
            let result = serde_json::from_str(&done.stdout)
                .with_context(|| format!("{plugin:?} printed no JSON: {}", done.stdout))?;
            previous = Some(result);
        }
        previous.ok_or_else(|| anyhow!("a chain without plugins"))
    }

    /// CHECK through the chain.
    pub fn check(&self, network: &Network, attachment: &Attachment, result: &Value) -> Result<()> {
        for plugin in &network.plugins {
            self.silent("CHECK", network, plugin, Some(attachment), &[("prevResult", result.clone())])?;
        }
        Ok(())
    }

    /// DEL through the chain, backwards.
    pub fn del(&self, network: &Network, attachment: &Attachment, result: Option<&Value>) -> Result<()> {
        for plugin in network.plugins.iter().rev() {
            let more = result.map(|result| ("prevResult", result.clone()));
            self.silent("DEL", network, plugin, Some(attachment), more.as_slice())?;
        }
        Ok(())
    }

    /// GC of the plugins that are netagent's, with what is still there: container ids and interface names.
    pub fn gc(&self, network: &Network, valid: &[(&str, &str)]) -> Result<()> {
        let list: Vec<_> =
            valid.iter().map(|(id, ifname)| json!({ "containerID": id, "ifname": ifname })).collect();
        for plugin in network.plugins.iter().filter(|plugin| is_netagent(plugin)) {
            self.silent("GC", network, plugin, None, &[("cni.dev/valid-attachments", list.clone().into())])?;
        }
        Ok(())
    }

    /// STATUS of the plugins that are netagent's.
    pub fn status(&self, network: &Network) -> Result<()> {
        for plugin in network.plugins.iter().filter(|plugin| is_netagent(plugin)) {
            self.silent("STATUS", network, plugin, None, &[])?;
        }
        Ok(())
    }

    fn silent(
        &self,
        command: &str,
        network: &Network,
        plugin: &Map<String, Value>,
        attachment: Option<&Attachment>,
        with: &[(&str, Value)],
    ) -> Result<()> {
        let done = self.step(command, network, plugin, attachment, with)?;
        if done.stdout.trim().is_empty() {
            return Ok(());
        }
        bail!("{command} succeeds in silence, and {plugin:?} said {}", done.stdout)
    }

    fn step(
        &self,
        command: &str,
        network: &Network,
        plugin: &Map<String, Value>,
        attachment: Option<&Attachment>,
        with: &[(&str, Value)],
    ) -> Result<Finished> {
        let name = plugin.get("type").and_then(Value::as_str).context("a plugin without a type")?;
        let mut with = with.to_vec();
        let has = |capability: &str| plugin.get("capabilities").is_some_and(|all| all[capability] == true);
        let granted: Map<_, _> = self
            .capabilities
            .iter()
            .filter(|(key, _)| has(key))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        if !granted.is_empty() {
            with.push(("runtimeConfig", Value::Object(granted)));
        }
        let done = self.call(command, name, attachment, network.input(plugin, &with).as_bytes())?;
        if done.code == 0 {
            return Ok(done);
        }
        let error = serde_json::from_str(&done.stdout).with_context(|| {
            format!("{command} of {name} ended with {} and no error as JSON: {done:?}", done.code)
        })?;
        let refusal =
            Refusal { command: command.to_owned(), plugin: name.to_owned(), error, log: done.stderr };
        Err(refusal.into())
    }

    /// One call of one plugin with any input, whatever comes of it.
    pub fn call(
        &self,
        command: &str,
        plugin: &str,
        attachment: Option<&Attachment>,
        input: &[u8],
    ) -> Result<Finished> {
        let binary = match NETAGENT.contains(&plugin) {
            true => self.dir.path().join(plugin),
            false => Path::new(PLUGINS).join(plugin),
        };
        let mut process = Command::new("nsenter");
        process
            .arg(format!("--net={}", self.node.display()))
            .arg(binary)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("CNI_COMMAND", command)
            .env("CNI_PATH", format!("{PLUGINS}:{}", self.dir.path().display()));
        if let Some(attachment) = attachment {
            process
                .env("CNI_CONTAINERID", &attachment.container)
                .env("CNI_NETNS", &attachment.netns)
                .env("CNI_IFNAME", &attachment.ifname)
                .env("CNI_ARGS", &attachment.args);
        }
        run_fed(&mut process, input, CALL)
    }
}

fn is_netagent(plugin: &Map<String, Value>) -> bool {
    plugin.get("type").and_then(Value::as_str).is_some_and(|kind| NETAGENT.contains(&kind))
}
