// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers of other namespaces, as one namespace counts them: `IFLA_LINK_NETNSID` is such a number.

use std::os::fd::AsRawFd as _;

use futures_util::StreamExt as _;
use rtnetlink::{
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        nsid::{NsidAttribute, NsidMessage},
    },
};

use super::{Netlink, NetlinkError};
use crate::sys::netns::Netns;

impl Netlink {
    /// The number that this socket's namespace has for `other`; `None` when it has none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn number_of(&self, other: &Netns) -> Result<Option<i32>, NetlinkError> {
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(other.as_raw_fd().cast_unsigned()));
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
        request.header.flags = NLM_F_REQUEST;
        let mut handle = self.handle.clone();
        let path = other.path().display();
        self.ask("look up the number of network namespace", &path, async {
            let mut answers = handle.request(request)?;
            while let Some(answer) = answers.next().await {
                match answer.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(message)) => {
                        return Ok(number(&message));
                    }
                    NetlinkPayload::Error(e) => return Err(rtnetlink::Error::NetlinkError(e)),
                    _ => {}
                }
            }
            Ok(None)
        })
        .await
    }
}

/// -1 stands for none.
fn number(message: &NsidMessage) -> Option<i32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) => (*id >= 0).then_some(*id),
        _ => None,
    })
}
