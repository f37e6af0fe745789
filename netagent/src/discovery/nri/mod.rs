// SPDX-License-Identifier: MIT OR Apache-2.0
//! A plugin of the container runtime, over the Node Resource Interface: it is called before a pod's first container
//! starts, and the pod waits for the answer. So a pod's ports are there when it begins, or it does not begin.
//!
//! The runtime calls its plugins one after another, for one pod at a time, and drops a plugin that takes longer than
//! its request timeout: from then on pods start without it. So what is not ours is answered at once, and what is ours
//! is answered in time, if only by an error.

mod mux;
mod plugin;
#[cfg(test)]
mod tests;
mod ttrpc;

/// The messages of proto/nri.proto, which documents them.
#[expect(unreachable_pub, reason = "generated from proto/nri.proto")]
mod v1alpha1 {
    tonic::include_proto!("nri.pkg.api.v1alpha1");
}

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use prost::Message as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

pub use self::{mux::MuxError, ttrpc::TtrpcError};
use self::{
    plugin::Plugin,
    ttrpc::{Assembly, Message},
};
use super::{Pods, patience};

/// The plugin's name, and its place among the plugins: late, behind those that only look.
const NAME: &str = "netagent";
const INDEX: &str = "90";
/// How long a runtime may take to register us; its own limit for it is the same.
const REGISTRATION: Duration = Duration::from_secs(5);
/// The stream of our one call.
const REGISTER: u32 = 1;
/// Answers that wait to be sent, and calls under way: a runtime makes one at a time.
const QUEUE: usize = 64;

/// A runtime that is not our runtime, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum NriError {
    /// Nobody listens.
    #[error(
        "no container runtime serves NRI on {socket}; enable it there, or name its socket by `socket` in [nri]"
    )]
    NoRuntime {
        /// The socket.
        socket: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// The connection.
    #[error(transparent)]
    Mux(#[from] MuxError),
    /// What came by it.
    #[error(transparent)]
    Ttrpc(#[from] TtrpcError),
    /// An answer that cannot be sent.
    #[error("answer the runtime")]
    Answer(#[source] io::Error),
    /// It does not want us.
    #[error("the runtime does not register the plugin: {0}")]
    Refused(String),
    /// It did not go on.
    #[error("the runtime did not configure the plugin within {} s", REGISTRATION.as_secs())]
    Late,
    /// More at one time than a runtime has to ask.
    #[error("more than {QUEUE} calls at one time")]
    TooMany,
}

/// Serves the runtime for ever.
pub async fn serve(socket: PathBuf, pods: Pods) -> Infallible {
    let mut failures = 0;
    let mut last = String::new();
    loop {
        let plugin = Arc::new(Plugin::new(pods.clone()));
        let Err(error) = session(&socket, &plugin).await;
        pods.doubt();
        if plugin.is_configured() {
            (failures, last) = (0, String::new());
        }
        failures += 1;
        let error = format!("{:#}", anyhow::Error::from(error));
        let wait = patience::after(failures);
        if error != last {
            warn!(
                error,
                retry_seconds = wait.as_secs_f32(),
                "pods start without NRI; ports stay as they are"
            );
        }
        last = error;
        tokio::time::sleep(wait).await;
    }
}

async fn session(socket: &Path, plugin: &Arc<Plugin>) -> Result<Infallible, NriError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| NriError::NoRuntime { socket: socket.to_owned(), source })?;
    hold(stream, plugin).await
}

/// One connection with a runtime, until either end breaks it. Whatever comes by it, it ends with an error at worst.
///
/// # Errors
/// What ended it.
pub async fn connection(stream: impl AsyncRead + AsyncWrite, pods: &Pods) -> Result<Infallible, NriError> {
    hold(stream, &Arc::new(Plugin::new(pods.clone()))).await
}

async fn hold(stream: impl AsyncRead + AsyncWrite, plugin: &Arc<Plugin>) -> Result<Infallible, NriError> {
    let (from, to) = tokio::io::split(stream);
    let (from, to) = (std::pin::pin!(from), std::pin::pin!(to));
    let (send, outgoing) = mpsc::channel(QUEUE);
    tokio::select! {
        Err(ended) = converse(from, send, plugin) => Err(ended),
        Err(broken) = speak(to, outgoing) => Err(NriError::Answer(broken)),
    }
}

/// Sends messages, each on its connection.
async fn speak(
    mut to: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<(u32, Message)>,
) -> io::Result<Infallible> {
    while let Some((connection, message)) = outgoing.recv().await {
        mux::write(&mut to, connection, &message.encode()).await?;
    }
    // The other end of the channel goes together with this.
    std::future::pending().await
}

/// Registers, and answers the runtime's calls.
async fn converse(
    mut from: impl AsyncRead + Unpin,
    send: mpsc::Sender<(u32, Message)>,
    plugin: &Arc<Plugin>,
) -> Result<Infallible, NriError> {
    let register =
        v1alpha1::RegisterPluginRequest { plugin_name: NAME.to_owned(), plugin_idx: INDEX.to_owned() };
    let call = ttrpc::Request {
        service: "nri.pkg.api.v1alpha1.Runtime".to_owned(),
        method: "RegisterPlugin".to_owned(),
        payload: register.encode_to_vec(),
    };
    // The queue is empty, and ends with this function.
    let _ = send.send((mux::RUNTIME, Message::Request(REGISTER, call))).await;
    let deadline = Instant::now() + REGISTRATION;
    let (mut of_plugin, mut of_runtime) = (Assembly::default(), Assembly::default());
    // Dropped with the connection: an answer that nobody waits for is not worked out.
    let mut calls = JoinSet::new();
    loop {
        let (connection, bytes) = if plugin.is_configured() {
            mux::read(&mut from).await?
        } else {
            timeout_at(deadline, mux::read(&mut from)).await.map_err(|_| NriError::Late)??
        };
        let messages = match connection {
            mux::PLUGIN => of_plugin.push(&bytes)?,
            mux::RUNTIME => of_runtime.push(&bytes)?,
            // Whatever it is, it is not meant for plugins of today.
            _ => continue,
        };
        while calls.try_join_next().is_some() {}
        for message in messages {
            match message {
                Message::Request(stream, call) => {
                    if calls.len() >= QUEUE {
                        return Err(NriError::TooMany);
                    }
                    let (plugin, send) = (Arc::clone(plugin), send.clone());
                    calls.spawn(async move {
                        let answer = plugin.answer(call).await;
                        let _ = send.send((mux::PLUGIN, Message::Response(stream, answer))).await;
                    });
                }
                Message::Response(REGISTER, answer) => registered(answer)?,
                Message::Response(..) => {}
            }
        }
    }
}

fn registered(answer: ttrpc::Response) -> Result<(), NriError> {
    match answer.status.filter(|status| status.code != 0) {
        Some(status) => Err(NriError::Refused(status.message)),
        None => {
            info!(name = NAME, index = INDEX, "registered as a plugin of the container runtime");
            Ok(())
        }
    }
}
