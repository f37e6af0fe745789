// SPDX-License-Identifier: MIT OR Apache-2.0
//! Statistics of a link in another namespace, asked by that namespace's number: nothing is entered or kept open.

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};

use super::{NetlinkError, NsId, Numbering, TIMEOUT};

impl Numbering {
    /// Frames that the link dropped on their way out (`rtnl_link_stats64.tx_dropped`; for a tap: on their way to the
    /// VMM). `None` where the kernel does not look into other namespaces (4.15).
    ///
    /// # Errors
    /// When the kernel refuses, or there is no such link or namespace.
    pub async fn tx_dropped(&self, nsid: NsId, ifindex: u32) -> Result<Option<u64>, NetlinkError> {
        const OPERATION: &str = "read the statistics of link";
        let mut request = self.handle.link().get().match_index(ifindex);
        request.message_mut().attributes.push(LinkAttribute::IfNetnsId(nsid.0));
        let answer = async { std::pin::pin!(request.execute()).try_next().await };
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(message)) => Ok(message.as_ref().and_then(dropped)),
            Ok(Err(e)) => Err(NetlinkError::from_answer(OPERATION, &ifindex, e)),
            Err(_) => Err(NetlinkError::TimedOut { operation: OPERATION, object: ifindex.to_string() }),
        }
    }
}

fn dropped(message: &LinkMessage) -> Option<u64> {
    // A kernel that passes over the namespace's number would answer for a device of this one.
    let far = message.attributes.iter().any(|a| matches!(a, LinkAttribute::IfNetnsId(_)));
    let stats = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(stats) => Some(stats.tx_dropped),
        _ => None,
    });
    stats.filter(|_| far)
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::Stats64;

    use super::*;

    #[test]
    fn an_answer_about_a_device_of_this_namespace_tells_nothing() {
        let mut stats = Stats64::default();
        stats.tx_dropped = 7;
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Stats64(stats));
        assert_eq!(dropped(&message), None);
        message.attributes.push(LinkAttribute::IfNetnsId(3));
        assert_eq!(dropped(&message), Some(7));
    }
}
