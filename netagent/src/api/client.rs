// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calling side of the API.

use std::{
    error::Error as _,
    io,
    path::{Path, PathBuf},
};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};

use super::v1::{self, netagent_client::NetagentClient};

/// A call that got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no agent answers on {socket}; start it with `netagent run`, or name its socket with --socket")]
    NoAgent {
        /// The agent's socket.
        socket: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The caller may not open the socket.
    #[error("may not use {socket}; run as root")]
    Forbidden {
        /// The agent's socket.
        socket: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// What listens does not speak the protocol.
    #[error("what answers on {socket} is no agent; name the agent's socket with --socket")]
    NotAnAgent {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        #[source]
        source: tonic::transport::Error,
    },
    /// The agent went away in mid-call.
    #[error(
        "the agent on {socket} went away before it answered; see its log, and start it again with `netagent run`"
    )]
    Lost {
        /// The agent's socket.
        socket: PathBuf,
        /// How the connection ended.
        #[source]
        source: Status,
    },
    /// The agent said no; this is what it said.
    #[error("{}", .0.message())]
    Refused(Status),
}

impl ClientError {
    fn connect(socket: &Path, source: io::Error) -> Self {
        let socket = socket.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Forbidden { socket, source },
            _ => Self::NoAgent { socket, source },
        }
    }

    /// Whether there is no agent that could have done what was asked.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::NoAgent { .. } | Self::NotAnAgent { .. } | Self::Lost { .. } => true,
            Self::Forbidden { .. } | Self::Refused(_) => false,
        }
    }
}

/// A connection to the agent. It is not made again when it breaks: the next call finds out who listens then.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    grpc: NetagentClient<Channel>,
}

impl Client {
    /// Connects to the agent.
    ///
    /// # Errors
    /// When nobody listens, or the caller may not connect.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket).await.map_err(|e| ClientError::connect(socket, e))?;
        let mut stream = Some(TokioIo::new(stream));
        let once = tower::service_fn(move |_| {
            std::future::ready(stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
        });
        // The name only fills the :authority header; the connector decides where to go.
        let channel = Endpoint::from_static("http://netagent")
            .connect_with_connector(once)
            .await
            .map_err(|source| ClientError::NotAnAgent { socket: socket.to_owned(), source })?;
        Ok(Self { socket: socket.to_owned(), grpc: NetagentClient::new(channel) })
    }

    /// Wires a port and returns it when it is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn attach(&mut self, request: v1::AttachRequest) -> Result<v1::Port, ClientError> {
        let answer = self.grpc.attach(Request::new(request)).await;
        self.answer(answer)
    }

    /// Takes ports off and returns when nothing of them is left.
    ///
    /// # Errors
    /// What is left and why.
    pub async fn detach(&mut self, port: v1::PortRef) -> Result<v1::DetachReply, ClientError> {
        let answer = self.grpc.detach(Request::new(port)).await;
        self.answer(answer)
    }

    /// The steps that [`attach`](Self::attach) would take now.
    ///
    /// # Errors
    /// Why there is no plan.
    pub async fn plan(&mut self, request: v1::AttachRequest) -> Result<v1::PlanReply, ClientError> {
        let answer = self.grpc.plan(Request::new(request)).await;
        self.answer(answer)
    }

    /// All ports.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn list(&mut self) -> Result<v1::ListReply, ClientError> {
        let answer = self.grpc.list(Request::new(v1::ListRequest {})).await;
        self.answer(answer)
    }

    /// Container runtimes that tell of pods.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn sources(&mut self) -> Result<v1::SourcesReply, ClientError> {
        let answer = self.grpc.sources(Request::new(v1::SourcesRequest {})).await;
        self.answer(answer)
    }

    /// How many ports there are, and can be.
    ///
    /// # Errors
    /// Why the agent does not say.
    pub async fn capacity(&mut self) -> Result<v1::Capacity, ClientError> {
        let answer = self.grpc.capacity(Request::new(v1::CapacityRequest {})).await;
        self.answer(answer)
    }

    /// One port.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn get(&mut self, port: v1::PortRef) -> Result<v1::Port, ClientError> {
        let answer = self.grpc.get(Request::new(port)).await;
        self.answer(answer)
    }

    fn answer<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, ClientError> {
        match answer {
            Ok(response) => Ok(response.into_inner()),
            // A status that came over the wire has no source; one that was made here has what broke.
            Err(status) if status.source().is_some() => {
                Err(ClientError::Lost { socket: self.socket.clone(), source: status })
            }
            Err(status) => Err(ClientError::Refused(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt as _, net::UnixListener};

    use super::*;

    #[tokio::test]
    async fn nobody_there_is_told_from_keep_out() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Client::connect(&dir.path().join("agent.sock")).await.unwrap_err();
        assert!(matches!(missing, ClientError::NoAgent { .. }), "{missing:?}");
        assert!(missing.is_unreachable());

        let path = dir.path().join("stale.sock");
        drop(UnixListener::bind(&path).unwrap());
        let stale = Client::connect(&path).await.unwrap_err();
        assert!(matches!(stale, ClientError::NoAgent { .. }), "{stale:?}");

        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let forbidden = ClientError::connect(Path::new("/run/x.sock"), denied);
        assert_eq!(forbidden.to_string(), "may not use /run/x.sock; run as root");
        assert!(!forbidden.is_unreachable());
    }

    #[tokio::test]
    async fn an_agent_that_dies_in_mid_call_is_unreachable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        // Dies with the request in its hands, and without a word.
        let dying = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut start = [0; 64];
            stream.read_exact(&mut start).await.unwrap();
        });
        let error = async { Client::connect(&path).await?.list().await }.await.unwrap_err();
        dying.await.unwrap();
        assert!(error.is_unreachable(), "{error:?}");
    }

    #[tokio::test]
    async fn what_the_agent_says_is_said_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        // A server that knows no methods at all answers with a status.
        let server = tonic::transport::Server::builder()
            .add_routes(tonic::service::Routes::default())
            .serve_with_incoming(tokio_stream::wrappers::UnixListenerStream::new(listener));
        let server = tokio::spawn(server);
        let error = Client::connect(&path).await.unwrap().list().await.unwrap_err();
        server.abort();
        let ClientError::Refused(status) = &error else { panic!("{error:?}") };
        assert_eq!(status.code(), tonic::Code::Unimplemented);
        assert!(!error.is_unreachable());
    }
}
