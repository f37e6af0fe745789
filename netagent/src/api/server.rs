// SPDX-License-Identifier: MIT OR Apache-2.0
//! The serving side of the API.

use std::future::Future;

use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Request, Response, Status, service::interceptor::InterceptedService, transport::server::UdsConnectInfo,
};

use super::{
    FieldError, Socket,
    request::{absolute, name, port_spec},
    sources,
    v1::{self, netagent_server},
    view,
};
use crate::{
    core::{
        ids::{IdError, PortId},
        origin::{Origin, Source},
    },
    discovery::Pods,
    reconcile::{PortLookup, Ports, RequestError, Slots},
};

/// Longest request in bytes: a few times what a port can be told.
const LONGEST_REQUEST: usize = 64 * 1024;

/// Serves until `stop` is there, and then until the requests under way are answered.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    socket: Socket,
    ports: Ports,
    sources: Vec<Pods>,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (listener, _file) = socket.into_parts();
    let api = Api { ports, sources };
    let service = netagent_server::NetagentServer::new(api).max_decoding_message_size(LONGEST_REQUEST);
    let service = InterceptedService::new(service, only_root);
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop)
        .await
}

/// The socket's mode keeps others out; this holds where a socket was passed on or its mode was changed.
fn only_root(request: Request<()>) -> Result<Request<()>, Status> {
    let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
    let own = nix::unistd::geteuid().as_raw();
    match peer {
        Some(peer) if peer.uid() == 0 || peer.uid() == own => Ok(request),
        Some(peer) => Err(Status::permission_denied(format!(
            "user {} may not use the agent's socket; run as root",
            peer.uid()
        ))),
        None => Err(Status::permission_denied("the caller's credentials are not known")),
    }
}

struct Api {
    ports: Ports,
    sources: Vec<Pods>,
}

impl Api {
    fn show(&self, lookup: &PortLookup) -> Result<v1::Port, Status> {
        view::port(self.ports.parts(), lookup).map_err(|e| Status::internal(chain(e)))
    }

    /// The ports that a reference names; none when there is no such port.
    fn resolve(&self, port: &v1::PortRef) -> Result<Vec<PortId>, Status> {
        let invalid = |e: FieldError| Status::invalid_argument(chain(e));
        if !port.id.is_empty() {
            let id = port.id.parse().map_err(|e: IdError| invalid(e.into()))?;
            return Ok(vec![id]);
        }
        if let Some(attachment) = &port.attachment {
            return Ok(self.attached(attachment));
        }
        if port.netns.is_empty() {
            return Err(invalid(FieldError::NoPort));
        }
        let path = absolute("netns", &port.netns).map_err(invalid)?;
        let mut ids = self.ports.in_netns(&path);
        if !port.pod_link.is_empty() {
            let link = name(&port.pod_link, "").map_err(|e| invalid(e.into()))?;
            ids.retain(|id| id.pod_link == link);
        }
        Ok(ids)
    }

    /// The ports that CNI asked for under this attachment. Those of other sources are not CNI's to name.
    fn attached(&self, attachment: &v1::Attachment) -> Vec<PortId> {
        let is_its = |origin: &Origin| {
            origin.source == Source::Cni
                && origin.sandbox == attachment.sandbox
                && origin.ifname == attachment.ifname
        };
        self.ports.list().into_iter().filter(|port| is_its(&port.spec.origin)).map(|port| port.id).collect()
    }
}

#[tonic::async_trait]
impl netagent_server::Netagent for Api {
    async fn attach(&self, request: Request<v1::AttachRequest>) -> Result<Response<v1::Port>, Status> {
        let spec = port_spec(request.get_ref()).map_err(|e| Status::invalid_argument(chain(e)))?;
        let lookup = self.ports.attach(spec).await.map_err(status)?;
        Ok(Response::new(self.show(&lookup)?))
    }

    async fn detach(&self, request: Request<v1::PortRef>) -> Result<Response<v1::DetachReply>, Status> {
        let mut reply = v1::DetachReply::default();
        let mut failed = Vec::new();
        for id in self.resolve(request.get_ref())? {
            match self.ports.detach(&id).await {
                Ok(true) => reply.detached.push(id.to_string()),
                Ok(false) => {}
                Err(e) => failed.push(chain(e)),
            }
        }
        if failed.is_empty() { Ok(Response::new(reply)) } else { Err(Status::aborted(failed.join("; "))) }
    }

    async fn plan(&self, request: Request<v1::AttachRequest>) -> Result<Response<v1::PlanReply>, Status> {
        let spec = port_spec(request.get_ref()).map_err(|e| Status::invalid_argument(chain(e)))?;
        let steps = self.ports.plan(&spec).await.map_err(status)?;
        let steps = steps.iter().map(ToString::to_string).collect();
        Ok(Response::new(v1::PlanReply { id: spec.id().to_string(), steps }))
    }

    async fn capacity(&self, _: Request<v1::CapacityRequest>) -> Result<Response<v1::Capacity>, Status> {
        let taken = self.ports.parts().slots.taken();
        let ports = u64::try_from(taken).unwrap_or(u64::MAX);
        Ok(Response::new(v1::Capacity { ports, limit: Slots::LIMIT.into() }))
    }

    async fn sources(&self, _: Request<v1::SourcesRequest>) -> Result<Response<v1::SourcesReply>, Status> {
        let sources = self.sources.iter().map(sources::source).collect();
        Ok(Response::new(v1::SourcesReply { sources }))
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Result<Response<v1::ListReply>, Status> {
        let ports = self.ports.list().iter().map(|p| self.show(p)).collect::<Result<_, _>>()?;
        Ok(Response::new(v1::ListReply { ports }))
    }

    async fn get(&self, request: Request<v1::PortRef>) -> Result<Response<v1::Port>, Status> {
        let reference = request.get_ref();
        let ids = self.resolve(reference)?;
        let named = match &reference.attachment {
            _ if !reference.id.is_empty() => reference.id.clone(),
            Some(attachment) => format!("{} of {}", attachment.ifname, attachment.sandbox),
            None => reference.netns.clone(),
        };
        let not_found = || Status::not_found(format!("no port {named}; `netagent status` lists all"));
        match ids.as_slice() {
            [id] => {
                let lookup = self.ports.find(id).ok_or_else(not_found)?;
                Ok(Response::new(self.show(&lookup)?))
            }
            [] => Err(not_found()),
            _ => Err(Status::invalid_argument(format!("{named} has several ports; name one by its id"))),
        }
    }
}

fn status(error: RequestError) -> Status {
    let text = |e| chain(e);
    match error {
        RequestError::Exists { .. } => Status::already_exists(text(error)),
        RequestError::NetnsGone(_) => Status::not_found(text(error)),
        RequestError::Panicked => Status::internal(text(error)),
        RequestError::Netns(_)
        | RequestError::Wire { .. }
        | RequestError::Plan { .. }
        | RequestError::Unwire { .. }
        | RequestError::Store(_) => Status::failed_precondition(text(error)),
    }
}

/// An error and its causes in one line.
fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}
