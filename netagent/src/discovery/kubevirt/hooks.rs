// SPDX-License-Identifier: MIT OR Apache-2.0
//! The node hooks: virt-handler calls them around a VM's life, and goes on when they answer.
//!
//! They come again whenever virt-handler looks at the VM again, so each of them says what should be, and does what is
//! missing. An error keeps the VM from starting, and its text is what the VM's owner reads.

use std::{future::Future, path::PathBuf, sync::Arc};

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::server::UdsConnectInfo};
use tracing::{info, warn};

use super::{
    launcher::{Launcher, LauncherError},
    v1alpha1::{
        ExecuteNodeHookRequest, ExecuteNodeHookResponse,
        node_hook_service_server::{NodeHookService, NodeHookServiceServer},
    },
};
use crate::{
    core::{
        guard::GuardSpec,
        kubevirt::{
            asks::{self, AskError, Moment, Wanted},
            vmi::{NotAVmi, Vmi},
        },
        origin::{Origin, Pod, Source},
        spec::PortSpec,
        tier::TierChoice,
    },
    discovery::{Wiring, WiringError},
};

/// Bytes of a request: twice what etcd holds of one object.
const LARGEST: usize = 4 << 20;

/// How hooks are served.
#[derive(Clone, Debug)]
pub struct HookSettings {
    /// The name of netagent's binding plugin in the KubeVirt resource.
    pub binding: String,
    /// The kubelet's directory.
    pub kubelet: PathBuf,
    /// Whether interfaces with the binding `bridge` are accelerated.
    pub accelerate: bool,
}

/// A hook that failed; virt-handler shows the text on the VM.
#[derive(Debug, thiserror::Error)]
enum HookError {
    /// The request.
    #[error(transparent)]
    Vmi(#[from] NotAVmi),
    /// The VM has no pod here.
    #[error("VM {vm} has no active pod on node `{}`", .node.escape_debug())]
    NoPod { vm: String, node: String },
    /// An interface.
    #[error("VM {vm}")]
    Ask {
        vm: String,
        #[source]
        source: AskError,
    },
    /// The launcher.
    #[error("find the launcher of VM {vm}")]
    Launcher {
        vm: String,
        #[source]
        source: LauncherError,
    },
    /// The wiring.
    #[error("wire interface {interface} of VM {vm}")]
    Wire {
        vm: String,
        interface: String,
        #[source]
        source: WiringError,
    },
    /// The unwiring.
    #[error("take the ports of VM {vm} off")]
    Unwire {
        vm: String,
        #[source]
        source: WiringError,
    },
}

/// Serves virt-handler until `stop` is there, and then until the hooks under way have answered.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    listener: UnixListener,
    settings: HookSettings,
    wiring: Arc<dyn Wiring>,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let hooks = NodeHookServiceServer::new(Hooks { settings, wiring }).max_decoding_message_size(LARGEST);
    let service = tonic::service::interceptor::InterceptedService::new(hooks, only_root);
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop)
        .await
}

/// The socket's mode keeps others out; this holds where that was changed.
fn only_root(request: Request<()>) -> Result<Request<()>, Status> {
    let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
    match peer {
        Some(peer) if peer.uid() == 0 => Ok(request),
        _ => Err(Status::permission_denied("only root, as virt-handler is, may call netagent's node hooks")),
    }
}

struct Hooks {
    settings: HookSettings,
    wiring: Arc<dyn Wiring>,
}

#[tonic::async_trait]
impl NodeHookService for Hooks {
    async fn execute_node_hook(
        &self,
        request: Request<ExecuteNodeHookRequest>,
    ) -> Result<Response<ExecuteNodeHookResponse>, Status> {
        let request = request.into_inner();
        let node = request.node_context.map(|context| context.node_name).unwrap_or_default();
        let done = match request.hook_point.as_str() {
            "PreVMStart" => self.wire(&request.vmi, &node, Moment::Start).await,
            "PreMigrationTarget" | "PostMigrationTarget" => {
                self.wire(&request.vmi, &node, Moment::Arrival).await
            }
            "PostVMStop" => self.unwire(&request.vmi, &node).await,
            // What there is besides asks nothing of a network.
            _ => Ok(()),
        };
        match done {
            Ok(()) => Ok(Response::new(ExecuteNodeHookResponse {})),
            Err(error) => {
                let status = status(error);
                warn!(
                    hook = request.hook_point.escape_debug().to_string(),
                    error = status.message(),
                    "a hook failed"
                );
                Err(status)
            }
        }
    }
}

impl Hooks {
    async fn wire(&self, vmi: &[u8], node: &str, moment: Moment) -> Result<(), HookError> {
        let vmi = Vmi::read(vmi)?;
        let vm = vmi.shown();
        let ask = |source| HookError::Ask { vm: vm.clone(), source };
        let wanted = asks::bound_by_plugin(&vmi, &self.settings.binding, moment).map_err(ask)?;
        let bridged =
            if self.settings.accelerate { asks::bound_by_bridge(&vmi, moment) } else { Ok(Vec::new()) };
        // What works without us must not fail through us.
        let bridged = bridged.unwrap_or_else(|error| {
            warn!(vm, error = chain(error), "not accelerated");
            Vec::new()
        });
        if wanted.is_empty() && bridged.is_empty() {
            return Ok(());
        }
        let (launcher, uid) = self.launcher(&vmi, &vm, node).await?;
        let pod = Pod { uid, namespace: vmi.metadata.namespace.clone(), name: launcher.pod_name.clone() };
        let origin = Origin { source: Source::KubeVirt, pod, ..Origin::default() };
        for wanted in wanted {
            let interface = wanted.interface.clone();
            for left_out in &wanted.left_out {
                warn!(vm, interface, left_out, "the guest is not told all that its VM says");
            }
            let spec = spec(wanted, &launcher, &origin);
            self.wiring.attach(spec).await.map_err(|source| HookError::Wire {
                vm: vm.clone(),
                interface,
                source,
            })?;
        }
        for wanted in bridged {
            let interface = wanted.interface.clone();
            if let Err(error) = self.wiring.attach(spec(wanted, &launcher, &origin)).await {
                warn!(vm, interface, error = chain(error), "not accelerated; KubeVirt's bridge carries on");
            }
        }
        Ok(())
    }

    /// The launcher on this node. After a migration there and back there may be pods of which nothing is left.
    async fn launcher(&self, vmi: &Vmi, vm: &str, node: &str) -> Result<(Launcher, String), HookError> {
        let mut error = HookError::NoPod { vm: vm.to_owned(), node: node.chars().take(253).collect() };
        for uid in vmi.pods_on(node) {
            let (kubelet, pod) = (self.settings.kubelet.clone(), uid.to_owned());
            match tokio::task::spawn_blocking(move || Launcher::find(&kubelet, &pod)).await {
                Ok(Ok(launcher)) => return Ok((launcher, uid.to_owned())),
                Err(panicked) => warn!(vm, %panicked, "the search for a launcher ended early"),
                Ok(Err(source)) => error = HookError::Launcher { vm: vm.to_owned(), source },
            }
        }
        Err(error)
    }

    async fn unwire(&self, vmi: &[u8], node: &str) -> Result<(), HookError> {
        let vmi = Vmi::read(vmi)?;
        for uid in vmi.pods_on(node) {
            let gone = self.wiring.detach_pod(Source::KubeVirt, uid).await;
            gone.map_err(|source| HookError::Unwire { vm: vmi.shown(), source })?;
            info!(vm = vmi.shown(), pod_uid = uid, "the VM has stopped");
        }
        Ok(())
    }
}

fn spec(wanted: Wanted, launcher: &Launcher, origin: &Origin) -> PortSpec {
    let Wanted { mode, pod_link, tap, mac, hand_off, interface: _, left_out: _ } = wanted;
    PortSpec {
        netns: launcher.netns.path().to_owned(),
        netns_id: launcher.netns.id(),
        netns_cookie: None,
        pod_link,
        mode,
        tap,
        mac,
        tier: TierChoice::Auto,
        guard: GuardSpec::default(),
        hand_off,
        resolv_conf: None,
        hostname: None,
        origin: origin.clone(),
        wanted: true,
    }
}

fn status(error: HookError) -> Status {
    let text = |error| chain(error);
    match error {
        HookError::Vmi(_) => Status::invalid_argument(text(error)),
        HookError::Ask { .. } => Status::invalid_argument(text(error)),
        HookError::NoPod { .. } => Status::not_found(text(error)),
        HookError::Launcher { .. } => Status::unavailable(text(error)),
        HookError::Wire { .. } => Status::failed_precondition(text(error)),
        HookError::Unwire { .. } => Status::aborted(text(error)),
    }
}

/// An error and its causes in one line.
fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}
