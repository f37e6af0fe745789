// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plugin against a runtime's end of the connection, spoken by hand.

use std::collections::BTreeMap;

use tokio::net::UnixListener;

use super::*;
use crate::{
    core::{annotations::Permitted, origin::Source},
    discovery::stand_in::{Elsewhere, Noted},
};

/// A runtime with one plugin.
struct Runtime {
    stream: UnixStream,
    of_plugin: Assembly,
    stream_id: u32,
}

impl Runtime {
    /// Waits for the plugin to register, and configures it.
    async fn accept(listener: &UnixListener, request_timeout: i64) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let mut runtime = Self { stream, of_plugin: Assembly::default(), stream_id: 1 };
        let (connection, bytes) = mux::read(&mut runtime.stream).await.unwrap();
        assert_eq!(connection, mux::RUNTIME);
        let messages = Assembly::default().push(&bytes).unwrap();
        let [Message::Request(stream, call)] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!(
            (call.service.as_str(), call.method.as_str()),
            ("nri.pkg.api.v1alpha1.Runtime", "RegisterPlugin")
        );
        let plugin = v1alpha1::RegisterPluginRequest::decode(call.payload.as_slice()).unwrap();
        assert_eq!((plugin.plugin_name.as_str(), plugin.plugin_idx.as_str()), ("netagent", "90"));
        let registered = Message::Response(*stream, ttrpc::Response::default());
        mux::write(&mut runtime.stream, mux::RUNTIME, &registered.encode()).await.unwrap();
        let configure =
            v1alpha1::ConfigureRequest { request_timeout, ..v1alpha1::ConfigureRequest::default() };
        let answer = runtime.call("Configure", &configure).await.unwrap();
        assert_eq!(v1alpha1::ConfigureResponse::decode(answer.as_slice()).unwrap().events, 0b111);
        runtime
    }

    async fn call(&mut self, method: &str, request: &impl prost::Message) -> Result<Vec<u8>, String> {
        let id = self.stream_id;
        self.stream_id += 2;
        let call = ttrpc::Request {
            service: "nri.pkg.api.v1alpha1.Plugin".to_owned(),
            method: method.to_owned(),
            payload: request.encode_to_vec(),
        };
        mux::write(&mut self.stream, mux::PLUGIN, &Message::Request(id, call).encode()).await.unwrap();
        loop {
            let (connection, bytes) = mux::read(&mut self.stream).await.unwrap();
            assert_eq!(connection, mux::PLUGIN);
            let Some(message) = self.of_plugin.push(&bytes).unwrap().into_iter().next() else { continue };
            let Message::Response(stream, answer) = message else { unreachable!("{message:?}") };
            assert_eq!(stream, id);
            return match answer.status.filter(|status| status.code != 0) {
                Some(status) => Err(status.message),
                None => Ok(answer.payload),
            };
        }
    }

    /// As older runtimes tell of a sandbox.
    async fn state(&mut self, event: v1alpha1::Event, pod: &v1alpha1::PodSandbox) -> Result<Vec<u8>, String> {
        let event = v1alpha1::StateChangeEvent { event: event.into(), pod: Some(pod.clone()) };
        self.call("StateChange", &event).await
    }
}

fn pod(id: &str, elsewhere: &Elsewhere, annotations: &[(&str, &str)]) -> v1alpha1::PodSandbox {
    let network = v1alpha1::LinuxNamespace {
        r#type: "network".to_owned(),
        path: elsewhere.netns().display().to_string(),
    };
    v1alpha1::PodSandbox {
        id: id.to_owned(),
        name: id.to_owned(),
        annotations: annotations
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        linux: Some(v1alpha1::LinuxPodSandbox { namespaces: vec![network] }),
        ..v1alpha1::PodSandbox::default()
    }
}

const ATTACH: (&str, &str) = ("netagent.dev/attach", "true");

/// A runtime's socket, and a plugin that is on its way to it.
fn plugin(noted: &Noted) -> (tempfile::TempDir, UnixListener) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nri.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let pods = Pods::new(Source::Nri, Arc::new(noted.clone()), Permitted::default());
    let tended = pods.clone();
    tokio::spawn(async move { tended.tend().await });
    tokio::spawn(serve(socket, pods));
    (dir, listener)
}

#[tokio::test]
async fn a_pod_is_answered_when_its_ports_are_there_by_old_calls_and_new() {
    let Some((one, other)) = Elsewhere::new().zip(Elsewhere::new()) else { return };
    let noted = Noted::default();
    let (_dir, listener) = plugin(&noted);
    let mut runtime = Runtime::accept(&listener, 0).await;
    let (a, b) = (pod("a", &one, &[ATTACH]), pod("b", &other, &[ATTACH]));
    // A list in parts, as a long one comes.
    let part = |pods, more| v1alpha1::SynchronizeRequest { pods, more };
    for (pods, more) in [(vec![a.clone()], true), (vec![pod("plain", &other, &[])], false)] {
        let answer = runtime.call("Synchronize", &part(pods, more)).await.unwrap();
        assert_eq!(v1alpha1::SynchronizeResponse::decode(answer.as_slice()).unwrap().more, more);
    }
    noted.wait(&[("a", "eth0")]).await;
    runtime.state(v1alpha1::Event::RunPodSandbox, &b).await.unwrap();
    assert!(noted.has(&[("a", "eth0"), ("b", "eth0")]), "{:?}", noted.shown());
    runtime.state(v1alpha1::Event::StopPodSandbox, &b).await.unwrap();
    runtime.state(v1alpha1::Event::RemovePodSandbox, &b).await.unwrap();
    assert!(noted.has(&[("a", "eth0")]));
    let request = |pod: &v1alpha1::PodSandbox| v1alpha1::PodSandboxRequest { pod: Some(pod.clone()) };
    runtime.call("RunPodSandbox", &request(&b)).await.unwrap();
    assert!(noted.has(&[("a", "eth0"), ("b", "eth0")]));
    runtime.call("StopPodSandbox", &request(&b)).await.unwrap();
    assert!(noted.has(&[("a", "eth0")]));
    assert!(runtime.call("CreateContainer", &request(&b)).await.unwrap_err().contains("does not subscribe"));

    // The runtime goes, and comes again: nothing is taken off before its list, and then what it lacks.
    drop(runtime);
    let mut runtime = Runtime::accept(&listener, 0).await;
    assert!(noted.has(&[("a", "eth0")]));
    runtime.call("Synchronize", &part(vec![], false)).await.unwrap();
    noted.wait(&[]).await;
}

#[tokio::test]
async fn a_pod_whose_ports_take_too_long_is_refused_before_the_runtime_gives_up() {
    let Some(one) = Elsewhere::new() else { return };
    let noted = Noted::default();
    let (_dir, listener) = plugin(&noted);
    let mut runtime = Runtime::accept(&listener, 400).await;
    *noted.slow.lock().unwrap() = Duration::from_secs(3600);
    let run = v1alpha1::Event::RunPodSandbox;
    let error = runtime.state(run, &pod("slow", &one, &[ATTACH])).await.unwrap_err();
    assert!(error.contains("not wired within 300 ms"), "{error}");
    // What is not ours waits for nothing.
    runtime.state(run, &pod("plain", &one, &[])).await.unwrap();
    let error = runtime.state(run, &pod("odd", &one, &[("netagent.dev/atach", "true")])).await.unwrap_err();
    assert!(error.contains("did you mean netagent.dev/attach?"), "{error}");
    *noted.slow.lock().unwrap() = Duration::ZERO;
    runtime.state(run, &pod("quick", &one, &[ATTACH])).await.unwrap();
    assert!(noted.has(&[("quick", "eth0")]), "{:?}", noted.shown());
}

#[tokio::test]
async fn a_runtime_that_talks_nonsense_is_left_and_tried_again() {
    use tokio::io::AsyncWriteExt as _;
    let noted = Noted::default();
    let (_dir, listener) = plugin(&noted);
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(&[0xff; 64]).await.unwrap();
    Runtime::accept(&listener, 0).await;
}

#[tokio::test]
async fn a_runtime_that_hangs_is_left_and_tried_again() {
    let Some(one) = Elsewhere::new() else { return };
    let noted = Noted::default();
    let (_dir, listener) = plugin(&noted);
    let (mut hung, _) = listener.accept().await.unwrap();
    // It hears us, and says nothing: until we hang up.
    let mut heard = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut hung, &mut heard).await.unwrap();
    assert!(!heard.is_empty());
    let mut runtime = Runtime::accept(&listener, 0).await;
    runtime.state(v1alpha1::Event::RunPodSandbox, &pod("one", &one, &[ATTACH])).await.unwrap();
    assert!(noted.has(&[("one", "eth0")]), "{:?}", noted.shown());
}
