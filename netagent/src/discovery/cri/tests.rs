// SPDX-License-Identifier: MIT OR Apache-2.0
//! A runtime that hangs, and then does not.

use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use super::{
    v1::runtime_service_server::{RuntimeService, RuntimeServiceServer},
    *,
};
use crate::{
    core::{annotations::Permitted, origin::Source},
    discovery::stand_in::{Elsewhere, Noted},
};

/// A runtime with one pod, without events.
struct OnePod(Sandbox);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RuntimeService for OnePod {
    type GetContainerEventsStream = tokio_stream::Empty<Result<v1::ContainerEventResponse, Status>>;

    async fn version(&self, _: Request<v1::VersionRequest>) -> Answer<v1::VersionResponse> {
        Ok(Response::new(v1::VersionResponse::default()))
    }

    async fn list_pod_sandbox(
        &self,
        _: Request<v1::ListPodSandboxRequest>,
    ) -> Answer<v1::ListPodSandboxResponse> {
        let Pod { uid, namespace, name } = self.0.pod.clone();
        let sandbox = v1::PodSandbox {
            id: self.0.id.clone(),
            metadata: Some(v1::PodSandboxMetadata { name, uid, namespace }),
            state: v1::PodSandboxState::SandboxReady.into(),
            annotations: self.0.annotations.clone(),
        };
        Ok(Response::new(v1::ListPodSandboxResponse { items: vec![sandbox] }))
    }

    async fn pod_sandbox_status(
        &self,
        _: Request<v1::PodSandboxStatusRequest>,
    ) -> Answer<v1::PodSandboxStatusResponse> {
        let Whereabouts::Pod { netns, pid, .. } = &self.0.whereabouts else { unreachable!() };
        let network = serde_json::json!({"type": "network", "path": netns});
        let spec = serde_json::json!({"pid": pid, "runtimeSpec": {"linux": {"namespaces": [network]}}});
        let info = [("info".to_owned(), spec.to_string())].into();
        Ok(Response::new(v1::PodSandboxStatusResponse { info, ..v1::PodSandboxStatusResponse::default() }))
    }

    async fn get_container_events(
        &self,
        _: Request<v1::GetEventsRequest>,
    ) -> Answer<Self::GetContainerEventsStream> {
        Err(Status::unimplemented("no events"))
    }
}

/// Waits until the source is as it is expected: whether it answers.
async fn wait(pods: &Pods, heard: bool) {
    let there = async {
        while pods.standing().0 != heard {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), there).await.unwrap();
}

/// A connection that is taken and never answered is given up, ports stay, and the next one counts.
#[tokio::test]
async fn a_runtime_that_hangs_takes_nothing_off_and_is_read_when_it_answers() {
    let Some(one) = Elsewhere::new() else { return };
    let sandbox = one.sandbox("one", &[(annotations::ATTACH, "true")]);
    let noted = Noted::default();
    let pods = Pods::new(Source::Cri, Arc::new(noted.clone()), Permitted::default());
    let tended = pods.clone();
    tokio::spawn(async move { tended.tend().await });
    pods.complete(vec![sandbox.clone()]);
    noted.wait(&[("one", "eth0")]).await;

    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("cri.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(watch(Runtime { socket, events: true }, pods.clone()));
    let (hung, _): (UnixStream, _) = listener.accept().await.unwrap();
    wait(&pods, false).await;
    assert!(noted.has(&[("one", "eth0")]), "{:?}", noted.shown());
    drop(hung);

    // Without what was there before: only a list that is read again brings it.
    noted.ports.lock().unwrap().clear();
    let server = Server::builder().add_service(RuntimeServiceServer::new(OnePod(sandbox)));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    wait(&pods, true).await;
    noted.wait(&[("one", "eth0")]).await;
}
