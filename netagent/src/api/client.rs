// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calling side of the API.

use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use super::v1::netagent_client::NetagentClient;

/// The agent cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("no agent answers on {socket}; start it with `netagent run`, or name its socket with --socket")]
pub struct ClientError {
    socket: PathBuf,
    #[source]
    source: tonic::transport::Error,
}

/// Connects to the agent.
///
/// # Errors
/// When nobody answers.
pub async fn connect(socket: &Path) -> Result<NetagentClient<Channel>, ClientError> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    // The name only fills the :authority header; the connector decides where to go.
    let channel = Endpoint::from_static("http://netagent")
        .connect_with_connector(connector)
        .await
        .map_err(|source| ClientError { socket: socket.to_owned(), source })?;
    Ok(NetagentClient::new(channel))
}
