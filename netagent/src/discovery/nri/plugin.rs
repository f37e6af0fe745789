// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the runtime calls the plugin for, and what it is answered.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use prost::Message as _;
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    ttrpc::{CODE_FAILED_PRECONDITION, CODE_INVALID_ARGUMENT, CODE_UNIMPLEMENTED, Request, Response, Status},
    v1alpha1 as nri,
};
use crate::{
    core::{annotations, origin::Pod},
    discovery::{Pods, Sandbox, Whereabouts, sandbox::in_run},
};

/// Which service of ours is called.
const SERVICE: &str = "nri.pkg.api.v1alpha1.Plugin";
/// A runtime's request timeout where it does not tell (NRI before 0.7): its default.
const USUAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The part of the timeout that an answer may take: behind it the runtime drops us, and starts the pod.
const ANSWER_WITHIN: f64 = 0.75;
/// Pods of one list. A node has a thousand; a list that has no end must not fill the memory.
const MOST_PODS: usize = 100_000;
/// How much of an error reaches the runtime, which shows it to people.
const LONGEST_ERROR: usize = 4096;

/// The plugin on one connection.
pub(super) struct Plugin {
    pods: Pods,
    /// How long an answer may take. Set when the runtime has configured us.
    answer_within: OnceLock<Duration>,
    /// The part of the runtime's list that has come.
    listed: Mutex<Vec<nri::PodSandbox>>,
}

/// Why a call fails, as a code of gRPC and words.
type Refusal = (i32, String);

impl Plugin {
    pub(super) fn new(pods: Pods) -> Self {
        Self { pods, answer_within: OnceLock::new(), listed: Mutex::default() }
    }

    /// Whether the runtime has accepted and configured us.
    pub(super) fn is_configured(&self) -> bool {
        self.answer_within.get().is_some()
    }

    /// The answer to a call.
    pub(super) async fn answer(&self, call: Request) -> Response {
        match self.call(&call).await {
            Ok(payload) => Response { status: None, payload },
            Err((code, mut message)) => {
                message.truncate(message.floor_char_boundary(LONGEST_ERROR));
                Response { status: Some(Status { code, message }), payload: Vec::new() }
            }
        }
    }

    async fn call(&self, call: &Request) -> Result<Vec<u8>, Refusal> {
        if call.service != SERVICE {
            return Err((CODE_UNIMPLEMENTED, format!("no service {}", call.service)));
        }
        match call.method.as_str() {
            "Configure" => Ok(self.configure(&decode(&call.payload)?).encode_to_vec()),
            "Synchronize" => Ok(self.synchronize(decode(&call.payload)?)?.encode_to_vec()),
            "RunPodSandbox" => self.run(request(&call.payload)?).await,
            "StopPodSandbox" | "RemovePodSandbox" => Ok(self.stop(request(&call.payload)?).await),
            // Runtimes with NRI before 0.10 tell all three this way.
            "StateChange" => {
                let event: nri::StateChangeEvent = decode(&call.payload)?;
                let kind = event.event();
                let pod = event.pod.unwrap_or_default();
                match kind {
                    nri::Event::RunPodSandbox => self.run(pod).await,
                    nri::Event::StopPodSandbox | nri::Event::RemovePodSandbox => Ok(self.stop(pod).await),
                    nri::Event::Unknown => Ok(Vec::new()),
                }
            }
            "Shutdown" => Ok(Vec::new()),
            other => Err((CODE_UNIMPLEMENTED, format!("netagent does not subscribe to {other}"))),
        }
    }

    fn configure(&self, request: &nri::ConfigureRequest) -> nri::ConfigureResponse {
        let told =
            u64::try_from(request.request_timeout).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        let within = told.unwrap_or(USUAL_TIMEOUT).mul_f64(ANSWER_WITHIN);
        let _ = self.answer_within.set(within);
        let runtime = format!("{} {}", request.runtime_name, request.runtime_version);
        info!(runtime, answer_within_ms = within.as_millis(), "pods wait for their ports before they start");
        let events = [nri::Event::RunPodSandbox, nri::Event::StopPodSandbox, nri::Event::RemovePodSandbox];
        nri::ConfigureResponse { events: events.iter().fold(0, |mask, event| mask | bit(*event)) }
    }

    /// The runtime's pods. It is answered before anything is done about them: they run already.
    fn synchronize(&self, request: nri::SynchronizeRequest) -> Result<nri::SynchronizeResponse, Refusal> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.extend(request.pods.into_iter().filter(|pod| annotations::has_ours(&pod.annotations)));
        if listed.len() > MOST_PODS {
            listed.clear();
            return Err((CODE_INVALID_ARGUMENT, format!("more than {MOST_PODS} pods")));
        }
        if !request.more {
            self.pods.complete(listed.drain(..).map(sandbox).collect());
        }
        Ok(nri::SynchronizeResponse { more: request.more })
    }

    async fn run(&self, pod: nri::PodSandbox) -> Result<Vec<u8>, Refusal> {
        if !annotations::has_ours(&pod.annotations) {
            return Ok(Vec::new());
        }
        let sandbox = sandbox(pod);
        let within = self.answer_within.get().copied().unwrap_or(USUAL_TIMEOUT);
        match self.pods.starts(&sandbox, within).await {
            Ok(()) => Ok(Vec::new()),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                warn!(pod = %sandbox.pod, sandbox = sandbox.id, error, "a pod does not start: its ports cannot be wired");
                Err((CODE_FAILED_PRECONDITION, format!("netagent: {error}")))
            }
        }
    }

    /// A pod that goes is not kept: what is left of it here goes with its namespace.
    async fn stop(&self, pod: nri::PodSandbox) -> Vec<u8> {
        if annotations::has_ours(&pod.annotations) {
            let (pods, id) = (self.pods.clone(), pod.id);
            let within = self.answer_within.get().copied().unwrap_or(USUAL_TIMEOUT);
            let stopping = tokio::spawn(async move { pods.stopped(&id).await });
            // The work goes on, whether or not somebody waits for it.
            let _ = timeout(within, stopping).await;
        }
        Vec::new()
    }
}

/// The bit of an event in a subscription.
fn bit(event: nri::Event) -> i32 {
    1 << (event as i32).saturating_sub(1)
}

fn decode<M: prost::Message + Default>(payload: &[u8]) -> Result<M, Refusal> {
    M::decode(payload).map_err(|e| (CODE_INVALID_ARGUMENT, format!("a request that cannot be decoded: {e}")))
}

fn request(payload: &[u8]) -> Result<nri::PodSandbox, Refusal> {
    Ok(decode::<nri::PodSandboxRequest>(payload)?.pod.unwrap_or_default())
}

fn sandbox(pod: nri::PodSandbox) -> Sandbox {
    let namespaces = pod.linux.map(|linux| linux.namespaces).unwrap_or_default();
    let whereabouts = match namespaces.iter().find(|namespace| namespace.r#type == "network") {
        // The list of a sandbox on the node's network has the others.
        None if namespaces.is_empty() => Whereabouts::Unknown,
        None => Whereabouts::Node,
        Some(network) if network.path.is_empty() && pod.pid == 0 => Whereabouts::Unknown,
        Some(network) => Whereabouts::Pod {
            netns: match network.path.as_str() {
                "" => format!("/proc/{}/ns/net", pod.pid).into(),
                path => in_run(path),
            },
            pid: pod.pid,
            resolv_conf: None,
            hostname: None,
        },
    };
    Sandbox {
        id: pod.id,
        pod: Pod { uid: pod.uid, namespace: pod.namespace, name: pod.name },
        annotations: pod.annotations,
        whereabouts,
    }
}
