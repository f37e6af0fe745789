// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds whatever comes by the NRI socket: the fuzz target `nri`, and its corpus on a stable compiler, call this.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use netagent::{
    core::{annotations::Permitted, ids::PortId, origin::Source, spec::PortSpec},
    discovery::{Pods, Wiring, WiringError, nri},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Nobody's log line holds all that somebody else wrote, in characters.
const LONGEST: usize = 512;
/// Bytes of a piece's header, and the most of its rest that a runtime has room for.
const HEADER: usize = 8;
const PIECE: usize = 4096;
/// The most that is answered to a byte: a call is no shorter than its own header, and an answer is an error at worst.
const ANSWER: usize = 512;
/// The registration, which is said unasked.
const GREETING: usize = 256;

/// All that a runtime sends, before it closes the connection.
///
/// # Panics
/// When the connection does not end with an error for people, or what was sent on it could not be read.
pub fn nri(data: &[u8]) {
    let Some((ended, sent)) = converse(data) else { return };
    let said = told(&ended);
    assert!(said.chars().count() <= LONGEST, "{} characters: {said}", said.chars().count());
    assert!(sent.len() <= GREETING + data.len() * ANSWER, "{} bytes sent", sent.len());
    for (connection, length) in pieces(&sent) {
        assert!((1..=2).contains(&connection), "a piece for connection {connection}");
        assert!(length <= PIECE, "a piece of {length} bytes");
    }
}

/// How the connection ended, and what was sent on it.
fn converse(data: &[u8]) -> Option<(nri::NriError, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let mut socket = Socket { from: data, hesitate: false, sent: Vec::new() };
    let pods = Pods::new(Source::Nri, Arc::new(Nowhere), Permitted::default());
    let Err(ended) = runtime.block_on(nri::connection(&mut socket, &pods));
    Some((ended, socket.sent))
}

/// Connection and length of each. The last one may be cut: the runtime is gone.
fn pieces(mut rest: &[u8]) -> Vec<(u32, usize)> {
    let mut pieces = Vec::new();
    while let Some((&[c0, c1, c2, c3, l0, l1, l2, l3], behind)) = rest.split_first_chunk::<HEADER>() {
        let [connection, length] = [[c0, c1, c2, c3], [l0, l1, l2, l3]].map(u32::from_be_bytes);
        pieces.push((connection, length as usize));
        rest = behind.get(length as usize..).unwrap_or_default();
    }
    pieces
}

fn told(error: &nri::NriError) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        said = format!("{said}: {one}");
        cause = one.source();
    }
    said
}

/// The runtime's end: between two reads the plugin gets to answer.
struct Socket<'a> {
    from: &'a [u8],
    hesitate: bool,
    sent: Vec<u8>,
}

impl AsyncRead for Socket<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.hesitate = !self.hesitate;
        if self.hesitate {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.from).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sent.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Ports that nobody wires.
struct Nowhere;

#[tonic::async_trait]
impl Wiring for Nowhere {
    async fn attach(&self, _: PortSpec) -> Result<(), WiringError> {
        Ok(())
    }

    async fn detach(&self, _: &PortId) -> Result<bool, WiringError> {
        Ok(false)
    }

    fn asks(&self) -> Vec<PortSpec> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use proptest::prelude::*;

    fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/nri");
        let paths = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path());
        let mut corpus: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        corpus.sort();
        corpus
    }

    #[test]
    fn the_corpus_holds() {
        let corpus = corpus();
        assert!(corpus.len() >= 8, "only {} inputs", corpus.len());
        for (path, data) in corpus {
            // The name of the file that fails is in the panic's message.
            let held = std::panic::catch_unwind(|| super::nri(&data));
            assert!(held.is_ok(), "{} does not hold", path.display());
        }
    }

    #[test]
    fn the_conversations_of_the_corpus_are_answered() {
        let data = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/nri/run")).unwrap();
        let (_, sent) = super::converse(&data).unwrap();
        let to: Vec<u32> = super::pieces(&sent).into_iter().map(|(connection, _)| connection).collect();
        // The registration; then configure, run, stop and remove, of which the last may come too late.
        assert!(to.len() >= 4 && to[0] == 2 && to[1..].iter().all(|connection| *connection == 1), "{to:?}");
    }

    proptest! {
        /// A whole conversation with some bytes changed, and cut off anywhere.
        #[test]
        fn a_conversation_with_a_defect_holds(
            (_, data) in prop::sample::select(corpus()),
            at: prop::sample::Index,
            end: prop::sample::Index,
            byte: u8,
        ) {
            let mut data = data;
            if !data.is_empty() {
                let at = at.index(data.len());
                data[at] = byte;
                data.truncate(end.index(data.len()) + 1);
            }
            super::nri(&data);
        }
    }
}
