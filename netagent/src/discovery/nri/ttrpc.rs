// SPDX-License-Identifier: MIT OR Apache-2.0
//! ttrpc's message frames (github.com/containerd/ttrpc, PROTOCOL.md), as far as unary calls need them. No I/O.
//!
//! Our own, because NRI does not speak ttrpc on a socket but on one of two connections inside one ([`super::mux`]), and
//! because what is needed is a header of ten bytes.

use prost::Message as _;

/// The messages of proto/ttrpc.proto, which documents them.
#[expect(unreachable_pub, reason = "generated from proto/ttrpc.proto")]
pub(super) mod messages {
    tonic::include_proto!("ttrpc");
}
pub(super) use messages::{Request, Response, Status};

/// Length, stream, type, flags.
pub(super) const HEADER: usize = 10;
/// What a message may hold, in bytes.
pub(super) const LARGEST: usize = 4 << 20;

/// Status codes of gRPC that are used here.
pub(super) const CODE_INVALID_ARGUMENT: i32 = 3;
pub(super) const CODE_FAILED_PRECONDITION: i32 = 9;
pub(super) const CODE_UNIMPLEMENTED: i32 = 12;

/// Message types.
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const DATA: u8 = 3;

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// A call on a stream.
    Request(u32, Request),
    /// The answer to one.
    Response(u32, Response),
}

/// Bytes that are no message. The connection cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TtrpcError {
    /// Longer than ttrpc allows.
    #[error("a message of {0} bytes: ttrpc has at most {LARGEST}")]
    TooLong(usize),
    /// Neither request nor response.
    #[error("a message of type {0}, where only calls with one answer are expected")]
    Type(u8),
    /// Not the protobuf message that it should be.
    #[error("a {what} that cannot be decoded")]
    Decode {
        /// `request` or `response`.
        what: &'static str,
        /// Why not.
        #[source]
        source: prost::DecodeError,
    },
}

/// Puts messages together from bytes as they come.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
}

impl Assembly {
    /// Takes bytes, and gives the messages that are whole now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TtrpcError> {
        self.bytes.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut at = 0;
        while let Some((header, rest)) = self.bytes.get(at..).and_then(<[u8]>::split_first_chunk::<HEADER>) {
            let [l0, l1, l2, l3, s0, s1, s2, s3, kind, _flags] = *header;
            let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
            if length > LARGEST {
                return Err(TtrpcError::TooLong(length));
            }
            let Some(data) = rest.get(..length) else { break };
            messages.push(decode(kind, u32::from_be_bytes([s0, s1, s2, s3]), data)?);
            at = at.saturating_add(HEADER + length);
        }
        self.bytes.drain(..at);
        Ok(messages)
    }
}

fn decode(kind: u8, stream: u32, data: &[u8]) -> Result<Message, TtrpcError> {
    let failed = |what| move |source| TtrpcError::Decode { what, source };
    match kind {
        REQUEST => Ok(Message::Request(stream, Request::decode(data).map_err(failed("request"))?)),
        RESPONSE => Ok(Message::Response(stream, Response::decode(data).map_err(failed("response"))?)),
        DATA => Err(TtrpcError::Type(DATA)),
        other => Err(TtrpcError::Type(other)),
    }
}

impl Message {
    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, stream, data) = match self {
            Self::Request(stream, request) => (REQUEST, stream, request.encode_to_vec()),
            Self::Response(stream, response) => (RESPONSE, stream, response.encode_to_vec()),
        };
        let mut bytes = Vec::with_capacity(HEADER.saturating_add(data.len()));
        // Ours are short: names, and errors that are cut.
        bytes.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(&[kind, 0]);
        bytes.extend_from_slice(&data);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(payload: Vec<u8>) -> Message {
        let (service, method) = ("nri.pkg.api.v1alpha1.Plugin".to_owned(), "Configure".to_owned());
        Message::Request(7, Request { service, method, payload })
    }

    fn response(message: &str) -> Message {
        let status = Some(Status { code: CODE_FAILED_PRECONDITION, message: message.to_owned() });
        Message::Response(7, Response { status, payload: vec![1] })
    }

    #[test]
    fn the_header_is_as_the_protocol_says() {
        let bytes = Message::Response(0x0102_0304, Response { status: None, payload: vec![0xaa] }).encode();
        assert_eq!(bytes, [0, 0, 0, 3, 1, 2, 3, 4, 2, 0, 0x12, 1, 0xaa]);
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_kept() {
        let header = |length: u32, kind| [&length.to_be_bytes()[..], &[0, 0, 0, 1, kind, 0]].concat();
        assert_eq!(Assembly::default().push(&header(4 << 20, 1)), Ok(vec![]));
        assert_eq!(
            Assembly::default().push(&header((4 << 20) + 1, 1)),
            Err(TtrpcError::TooLong((4 << 20) + 1))
        );
        assert_eq!(Assembly::default().push(&header(0, 3)), Err(TtrpcError::Type(3)));
        let garbage = [header(2, 1), vec![0xff, 0xff]].concat();
        assert!(matches!(
            Assembly::default().push(&garbage),
            Err(TtrpcError::Decode { what: "request", .. })
        ));
    }

    proptest! {
        #[test]
        fn messages_come_out_however_they_were_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
            cut in 1_usize..40,
        ) {
            let sent: Vec<_> = payloads.into_iter().flat_map(|p| [request(p), response("no")]).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(Message::encode).collect();
            let mut assembly = Assembly::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(cut) {
                got.extend(assembly.push(piece).unwrap());
            }
            prop_assert_eq!(got, sent);
            prop_assert!(assembly.bytes.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8)) {
            let mut assembly = Assembly::default();
            for piece in pieces {
                if assembly.push(&piece).is_err() {
                    break;
                }
            }
        }
    }
}
