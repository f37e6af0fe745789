// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes base chains of nftables, told to the kernel itself: `nft` need not be installed.

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, bail};
use netagent_tests::netns::Netns;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};

// include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h and netlink.h.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u8 = 10;
const NEW_TABLE: u16 = (SUBSYSTEM as u16) << 8;
const NEW_CHAIN: u16 = NEW_TABLE | 3;
const REQUEST: u16 = 1;
const REQUEST_ACK_CREATE: u16 = 0x405;
const NLMSG_ERROR: u16 = 2;
const NESTED: u16 = 0x8000;
const NF_DROP: u32 = 0;

/// `NFPROTO_*`.
pub(crate) const INET: u8 = 1;
pub(crate) const ARP: u8 = 3;
pub(crate) const NETDEV: u8 = 5;

/// A base chain that drops everything, in a table called `drops`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DropChain<'a> {
    /// Of the table.
    pub(crate) family: u8,
    /// `NF_INET_*`, `NF_ARP_*` or `NF_NETDEV_*`.
    pub(crate) hook: u32,
    /// For the family netdev.
    pub(crate) device: Option<&'a str>,
}

impl DropChain<'_> {
    /// Adds it.
    pub(crate) fn add(self, netns: &Netns) -> Result<()> {
        netns.run_inside(|| self.add_here())?.with_context(|| format!("{self:?}"))
    }

    fn add_here(&self) -> Result<()> {
        let name = format!("h{}{}", self.hook, self.device.unwrap_or_default());
        let mut hook = [number(1, self.hook), number(2, 0)].concat();
        hook.extend(self.device.map(|device| text(3, device)).unwrap_or_default());
        let chain =
            [text(1, "drops"), text(3, &name), nested(4, &hook), number(5, NF_DROP), text(7, "filter")];
        let mut batch = message(BATCH_BEGIN, REQUEST, 0, &[]);
        batch.extend(message(NEW_TABLE, REQUEST_ACK_CREATE, self.family, &text(1, "drops")));
        batch.extend(message(NEW_CHAIN, REQUEST_ACK_CREATE, self.family, &chain.concat()));
        batch.extend(message(BATCH_END, REQUEST, 0, &[]));
        tell(&batch, 2)
    }
}

fn tell(batch: &[u8], mut answers: usize) -> Result<()> {
    let protocol = SockProtocol::NetlinkNetFilter;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .context("cannot open a netfilter socket")?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &nix::sys::time::TimeVal::new(10, 0))
        .context("cannot set a timeout")?;
    send(socket.as_raw_fd(), batch, MsgFlags::empty()).context("cannot send")?;
    let mut buffer = vec![0u8; 64 * 1024];
    while answers > 0 {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).context("no answer")?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some(size) = rest.first_chunk().map(|size| u32::from_ne_bytes(*size) as usize) {
            let kind = rest.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
            let code = rest.get(16..20).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes);
            match (kind, code) {
                (Some(NLMSG_ERROR), Some(0)) => answers = answers.saturating_sub(1),
                (Some(NLMSG_ERROR), Some(code)) => {
                    bail!("{}", std::io::Error::from_raw_os_error(code.saturating_neg()))
                }
                other => bail!("netlink message {other:?}"),
            }
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    Ok(())
}

fn message(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = ((20 + attributes.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence and port, then struct nfgenmsg; its last field is the subsystem of a batch, else 0.
    bytes.extend([0; 8]);
    let subsystem = if kind == BATCH_BEGIN || kind == BATCH_END { SUBSYSTEM } else { 0 };
    bytes.extend([family, 0, 0, subsystem]);
    bytes.extend(attributes);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, value)
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}
