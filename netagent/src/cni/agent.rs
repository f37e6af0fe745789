// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of the agent, each with an end: a runtime that waits for a plugin waits for ever, and the pod with it.

use std::{future::Future, path::Path, time::Duration};

use super::{Attachment, CniError};
use crate::api::{Client, ClientError, v1};

/// For what changes something. Runtimes give a pod's network two to four minutes.
const WORK: Duration = Duration::from_secs(60);
/// For what only looks.
const LOOK: Duration = Duration::from_secs(10);

/// The agent, for one call of the plugin.
#[derive(Debug)]
pub(super) struct Agent {
    client: Client,
}

impl Agent {
    pub(super) async fn connect(socket: &Path) -> Result<Self, CniError> {
        let client = within(LOOK, || "connect to the agent".to_owned(), Client::connect(socket)).await?;
        Ok(Self { client })
    }

    pub(super) async fn attach(&mut self, request: v1::AttachRequest) -> Result<v1::Port, CniError> {
        let operation = format!("wire {} in {}", request.pod_link, request.netns);
        within(WORK, || operation, self.client.attach(request)).await
    }

    pub(super) async fn plan(&mut self, request: v1::AttachRequest) -> Result<Vec<String>, CniError> {
        let operation = format!("look at {} in {}", request.pod_link, request.netns);
        Ok(within(LOOK, || operation, self.client.plan(request)).await?.steps)
    }

    /// Takes off what was wired for an attachment; nothing when there is nothing.
    pub(super) async fn detach(&mut self, attachment: v1::Attachment) -> Result<Vec<String>, CniError> {
        let operation = format!("take {} of {} off", attachment.ifname, attachment.sandbox);
        Ok(within(WORK, || operation, self.client.detach(reference(attachment))).await?.detached)
    }

    pub(super) async fn get(&mut self, attachment: v1::Attachment) -> Result<v1::Port, CniError> {
        let operation = format!("find {} of {}", attachment.ifname, attachment.sandbox);
        within(LOOK, || operation, self.client.get(reference(attachment))).await
    }

    pub(super) async fn ports(&mut self) -> Result<Vec<v1::Port>, CniError> {
        Ok(within(LOOK, || "list the ports".to_owned(), self.client.list()).await?.ports)
    }

    pub(super) async fn capacity(&mut self) -> Result<v1::Capacity, CniError> {
        within(LOOK, || "ask for room".to_owned(), self.client.capacity()).await
    }
}

impl From<&Attachment> for v1::Attachment {
    fn from(attachment: &Attachment) -> Self {
        Self { sandbox: attachment.container.clone(), ifname: attachment.ifname.to_string() }
    }
}

fn reference(attachment: v1::Attachment) -> v1::PortRef {
    v1::PortRef { attachment: Some(attachment), ..v1::PortRef::default() }
}

async fn within<T>(
    patience: Duration,
    operation: impl FnOnce() -> String,
    call: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, CniError> {
    match tokio::time::timeout(patience, call).await {
        Ok(answer) => answer.map_err(|error| CniError::from_agent(operation(), error)),
        Err(_) => Err(CniError::Slow { seconds: patience.as_secs() }),
    }
}
