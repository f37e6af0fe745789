// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a kubelet asks of a runtime: to run a pod's sandbox, and to end it. Written out here, so that the agent's own
//! idea of CRI is not what tests it.

use std::{collections::HashMap, path::Path, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use hyper_util::rt::TokioIo;
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Metadata {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) uid: String,
    #[prost(string, tag = "3")]
    pub(crate) namespace: String,
    #[prost(uint32, tag = "4")]
    pub(crate) attempt: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DnsConfig {
    #[prost(string, repeated, tag = "1")]
    servers: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    searches: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamespaceOption {
    /// 0 is the pod's own, 2 the node's.
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SecurityContext {
    #[prost(message, optional, tag = "1")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Linux {
    #[prost(message, optional, tag = "2")]
    security_context: Option<SecurityContext>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Config {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Metadata>,
    #[prost(string, tag = "2")]
    hostname: String,
    #[prost(string, tag = "3")]
    log_directory: String,
    #[prost(message, optional, tag = "4")]
    dns_config: Option<DnsConfig>,
    #[prost(map = "string, string", tag = "7")]
    annotations: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<Linux>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RunRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<Config>,
}

/// Also what a sandbox is named by in all other calls.
#[derive(Clone, PartialEq, prost::Message)]
struct Id {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

/// A pod to be run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) annotations: Vec<(&'static str, &'static str)>,
    pub(crate) host_network: bool,
}

impl Pod {
    pub(crate) fn new(name: &str, annotations: &[(&'static str, &'static str)]) -> Self {
        Self { name: name.to_owned(), annotations: annotations.to_vec(), host_network: false }
    }

    /// As the kubelet makes them.
    pub(crate) fn uid(&self) -> String {
        format!("uid-of-{}", self.name)
    }
}

/// The runtime's client.
pub(crate) struct Kubelet {
    tokio: tokio::runtime::Runtime,
    grpc: Grpc<Channel>,
    logs: String,
}

impl Kubelet {
    pub(crate) fn connect(socket: &Path, dir: &Path) -> Result<Self> {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = socket.to_owned();
        // Connects anew when the runtime was started again.
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(tokio::net::UnixStream::connect(socket).await?)) }
        });
        let endpoint = Endpoint::from_static("http://localhost").timeout(TIMEOUT);
        let channel = tokio.block_on(async { endpoint.connect_with_connector_lazy(connector) });
        Ok(Self { tokio, grpc: Grpc::new(channel), logs: dir.join("pod-logs").display().to_string() })
    }

    /// Runs a pod's sandbox, and gives its id.
    pub(crate) fn run(&mut self, pod: &Pod) -> Result<String> {
        let metadata =
            Metadata { name: pod.name.clone(), uid: pod.uid(), namespace: "default".to_owned(), attempt: 0 };
        let network = if pod.host_network { 2 } else { 0 };
        let security_context = SecurityContext { namespace_options: Some(NamespaceOption { network }) };
        let dns = DnsConfig {
            servers: vec!["10.96.0.10".to_owned()],
            searches: vec!["svc.cluster.local".to_owned()],
        };
        let config = Config {
            metadata: Some(metadata),
            hostname: if pod.host_network { String::new() } else { pod.name.clone() },
            log_directory: format!("{}/{}", self.logs, pod.name),
            dns_config: Some(dns),
            annotations: pod.annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            linux: Some(Linux { security_context: Some(security_context) }),
        };
        let id: Id = self.call("RunPodSandbox", RunRequest { config: Some(config) })?;
        Ok(id.pod_sandbox_id)
    }

    /// Ends a sandbox and forgets it.
    pub(crate) fn remove(&mut self, id: &str) -> Result<()> {
        self.stop(id)?;
        let _: Nothing = self.call("RemovePodSandbox", Id { pod_sandbox_id: id.to_owned() })?;
        Ok(())
    }

    /// Ends a sandbox; the runtime still knows it.
    pub(crate) fn stop(&mut self, id: &str) -> Result<()> {
        let _: Nothing = self.call("StopPodSandbox", Id { pod_sandbox_id: id.to_owned() })?;
        Ok(())
    }

    fn call<Q, A>(&mut self, method: &str, request: Q) -> Result<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}").parse()?;
        let grpc = &mut self.grpc;
        self.tokio.block_on(async {
            grpc.ready().await.with_context(|| format!("{method}: no runtime"))?;
            let codec = tonic_prost::ProstCodec::default();
            let answer = grpc.unary(Request::new(request), path, codec).await;
            answer
                .map(tonic::Response::into_inner)
                .map_err(|status| anyhow!("{method}: {}", status.message()))
        })
    }
}
