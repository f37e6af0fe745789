// SPDX-License-Identifier: MIT OR Apache-2.0
//! NRI's two connections inside one socket (github.com/containerd/nri, pkg/net/multiplex): each piece has a header with
//! the connection and its length, both 32 bits, big-endian.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::ttrpc;

/// Calls of the runtime to the plugin.
pub(super) const PLUGIN: u32 = 1;
/// Calls of the plugin to the runtime.
pub(super) const RUNTIME: u32 = 2;

/// What a piece may hold: a message of ttrpc with its header.
const LARGEST: usize = ttrpc::LARGEST + ttrpc::HEADER;
/// What is sent in one piece. Runtimes read with a buffer of 4096 bytes, and an end that gets more than it has room for
/// breaks the connection.
const PIECE: usize = 4096;

/// A connection that cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum MuxError {
    /// The socket.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The runtime went.
    #[error("the runtime closed the connection")]
    Closed,
    /// A length that no piece has.
    #[error("a piece of {0} bytes: NRI has at most {LARGEST}")]
    TooLong(usize),
}

/// The next piece: its connection and its bytes.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<(u32, Vec<u8>), MuxError> {
    let connection = from.read_u32().await.map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => MuxError::Closed,
        _ => MuxError::Broken(e),
    })?;
    let length = from.read_u32().await.map_err(MuxError::Broken)? as usize;
    if length > LARGEST {
        return Err(MuxError::TooLong(length));
    }
    let mut bytes = Vec::new();
    // Grows as bytes come: a length alone takes no memory.
    let read = from.take(length as u64).read_to_end(&mut bytes).await.map_err(MuxError::Broken)?;
    if read == length { Ok((connection, bytes)) } else { Err(MuxError::Closed) }
}

/// Sends bytes on a connection.
pub(super) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    connection: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut out = Vec::new();
    for piece in bytes.chunks(PIECE) {
        out.extend_from_slice(&connection.to_be_bytes());
        out.extend_from_slice(&u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(piece);
    }
    to.write_all(&out).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_read_in_pieces_that_a_runtime_takes() {
        let sent: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        let mut wire = Vec::new();
        write(&mut wire, RUNTIME, &sent).await.unwrap();
        assert_eq!(wire.get(..8), Some(&[0, 0, 0, 2, 0, 0, 0x10, 0][..]));
        let mut from = wire.as_slice();
        let mut got = Vec::new();
        while !from.is_empty() {
            let (connection, piece) = read(&mut from).await.unwrap();
            assert!(connection == RUNTIME && piece.len() <= 4096);
            got.extend(piece);
        }
        assert_eq!(got, sent);
    }

    #[tokio::test]
    async fn what_is_cut_off_or_too_long_ends_the_connection() {
        let read = async |bytes: &[u8]| read(&mut &*bytes).await;
        assert!(matches!(read(&[]).await, Err(MuxError::Closed)));
        assert!(matches!(read(&[0, 0, 0, 1, 0, 0, 0, 5, 1, 2]).await, Err(MuxError::Closed)));
        assert!(matches!(read(&[0, 0, 0, 1, 0]).await, Err(MuxError::Broken(_))));
        let huge = u32::MAX.to_be_bytes();
        assert!(matches!(read(&[[0, 0, 0, 1], huge].concat()).await, Err(MuxError::TooLong(_))));
    }
}
