// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calling side of CRI v1: a connection to a runtime's socket, and calls that end in time.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, sync::mpsc, time::timeout};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tracing::debug;

use super::v1::{self, runtime_service_client::RuntimeServiceClient};

/// A runtime that takes longer is stuck. Its own longest waits (images, stopping containers) are in none of our calls.
const PATIENCE: Duration = Duration::from_secs(10);
/// What containerd and CRI-O may send in one message (their `GRPCServer` limits), in bytes.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// A runtime that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// Nobody listens.
    #[error("no container runtime answers on {socket}; name its socket by `socket` in [cri]")]
    NoRuntime {
        /// The socket.
        socket: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// What listens does not speak HTTP/2.
    #[error("what answers on {socket} is no container runtime")]
    NotGrpc {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        #[source]
        source: tonic::transport::Error,
    },
    /// It speaks gRPC, but not CRI v1.
    #[error("what answers on {0} does not speak CRI v1; containerd does from 1.6 on, CRI-O from 1.23 on")]
    NoCri(PathBuf),
    /// A call failed.
    #[error("{call} on {socket}: {}", .status.message())]
    Call {
        /// The call.
        call: &'static str,
        /// The socket.
        socket: PathBuf,
        /// The runtime's answer.
        status: Box<Status>,
    },
    /// A call took too long.
    #[error("{call} on {socket}: no answer within {} s", PATIENCE.as_secs())]
    Late {
        /// The call.
        call: &'static str,
        /// The socket.
        socket: PathBuf,
    },
}

/// A connection to a runtime. It is not made again when it breaks.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
    grpc: RuntimeServiceClient<Channel>,
    /// Its name and version.
    pub(super) runtime: String,
}

impl Client {
    /// Connects, and finds out who answers.
    pub(super) async fn connect(socket: &Path) -> Result<Self, CriError> {
        let socket = socket.to_owned();
        let stream = UnixStream::connect(&socket)
            .await
            .map_err(|source| CriError::NoRuntime { socket: socket.clone(), source })?;
        let mut stream = Some(TokioIo::new(stream));
        let once = tower::service_fn(move |_| {
            std::future::ready(stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
        });
        // The name only fills the :authority header; the connector decides where to go.
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = match timeout(PATIENCE, endpoint.connect_with_connector(once)).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(source)) => return Err(CriError::NotGrpc { socket, source }),
            Err(_) => return Err(CriError::Late { call: "connect", socket }),
        };
        let grpc = RuntimeServiceClient::new(channel).max_decoding_message_size(LARGEST_ANSWER);
        let mut client = Self { socket, grpc, runtime: String::new() };
        let version = match client.version().await {
            Err(CriError::Call { status, socket, .. }) if status.code() == Code::Unimplemented => {
                return Err(CriError::NoCri(socket));
            }
            answer => answer?,
        };
        client.runtime = format!("{} {}", version.runtime_name, version.runtime_version);
        Ok(client)
    }

    async fn version(&mut self) -> Result<v1::VersionResponse, CriError> {
        let request = Request::new(v1::VersionRequest::default());
        let answer = timeout(PATIENCE, self.grpc.version(request)).await;
        self.answer("Version", answer.map(|answer| answer.map(tonic::Response::into_inner)))
    }

    /// All sandboxes that are ready.
    pub(super) async fn ready_sandboxes(&mut self) -> Result<Vec<v1::PodSandbox>, CriError> {
        let ready = v1::PodSandboxStateValue { state: v1::PodSandboxState::SandboxReady.into() };
        let filter = Some(v1::PodSandboxFilter { state: Some(ready) });
        let request = Request::new(v1::ListPodSandboxRequest { filter });
        let answer = timeout(PATIENCE, self.grpc.list_pod_sandbox(request)).await;
        let mut list = self
            .answer("ListPodSandbox", answer.map(|answer| answer.map(tonic::Response::into_inner)))?
            .items;
        // A runtime that does not know the filter sends all.
        list.retain(|sandbox| sandbox.state() == v1::PodSandboxState::SandboxReady);
        Ok(list)
    }

    /// One sandbox with all that the runtime tells of it; `None` when it is gone.
    pub(super) async fn status(
        &mut self,
        id: &str,
    ) -> Result<Option<v1::PodSandboxStatusResponse>, CriError> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let answer = timeout(PATIENCE, self.grpc.pod_sandbox_status(Request::new(request))).await;
        match self.answer("PodSandboxStatus", answer.map(|answer| answer.map(tonic::Response::into_inner))) {
            Err(CriError::Call { status, .. }) if status.code() == Code::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// A word for every burst of the runtime's events from now on. It ends when the runtime has none, or has no more.
    pub(super) fn events(&self) -> mpsc::Receiver<()> {
        // One that waits to be heard stands for all that come meanwhile.
        let (tell, told) = mpsc::channel(1);
        let (mut grpc, socket) = (self.grpc.clone(), self.socket.clone());
        // On a task: a runtime says nothing at all, not even that it has events, before the first one.
        tokio::spawn(async move {
            let reading = async {
                let mut events =
                    grpc.get_container_events(Request::new(v1::GetEventsRequest {})).await?.into_inner();
                while events.message().await?.is_some() {
                    let _ = tell.try_send(());
                }
                Ok::<_, Status>(())
            };
            tokio::select! {
                () = tell.closed() => {}
                ended = reading => match ended {
                    Err(status) if status.code() != Code::Unimplemented => {
                        debug!(socket = %socket.display(), %status, "the runtime's events ended");
                    }
                    _ => debug!(socket = %socket.display(), "the runtime has no events"),
                },
            }
        });
        told
    }

    fn answer<T>(
        &self,
        call: &'static str,
        answer: Result<Result<T, Status>, tokio::time::error::Elapsed>,
    ) -> Result<T, CriError> {
        let socket = || self.socket.clone();
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => Err(CriError::Call { call, socket: socket(), status: Box::new(status) }),
            Err(_) => Err(CriError::Late { call, socket: socket() }),
        }
    }
}
