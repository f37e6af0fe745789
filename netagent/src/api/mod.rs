// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent's API: gRPC on a unix socket, for root. The CLI and other programs use nothing else.

mod client;
mod request;
mod server;
mod socket;
mod sources;
mod view;

/// The messages of proto/netagent.proto, which documents them.
#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/netagent.proto"
)]
pub mod v1 {
    tonic::include_proto!("netagent.v1");
}

pub use client::{Client, ClientError};
pub use request::{FieldError, port_spec};
pub use server::serve;
pub use socket::{Socket, SocketError, SocketFile};
