// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a supervisor such as systemd is told: a datagram to the socket that `NOTIFY_SOCKET` names (sd_notify(3)).

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Who started this process and wants to hear of it, if anybody.
#[derive(Clone, Debug)]
pub struct Supervisor {
    socket: Option<SocketAddr>,
}

impl Supervisor {
    /// The one that the environment names.
    ///
    /// # Errors
    /// When what it names is no address of a socket.
    pub fn from_environment() -> io::Result<Self> {
        let socket = match env::var_os("NOTIFY_SOCKET") {
            None => None,
            Some(name) => Some(match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(&name)?,
            }),
        };
        Ok(Self { socket })
    }

    /// The agent is ready; what people read of it.
    ///
    /// # Errors
    /// When the supervisor does not listen.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.tell(&format!("READY=1\nSTATUS={status}"))
    }

    /// The agent stops.
    ///
    /// # Errors
    /// When the supervisor does not listen.
    pub fn stopping(&self) -> io::Result<()> {
        self.tell("STOPPING=1\nSTATUS=stopping; its ports go on forwarding")
    }

    fn tell(&self, words: &str) -> io::Result<()> {
        let Some(address) = &self.socket else { return Ok(()) };
        UnixDatagram::unbound()?.send_to_addr(words.as_bytes(), address).map(drop)
    }
}
