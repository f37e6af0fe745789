// SPDX-License-Identifier: MIT OR Apache-2.0
//! Qdiscs and cls_bpf filters.

use futures_util::{StreamExt as _, TryStreamExt as _};
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
    },
};

use super::{Netlink, NetlinkError};
use crate::core::program::Side;

/// What sits on a link's ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngressQdisc {
    /// Nothing.
    Absent,
    /// A clsact qdisc: filters on ingress and egress.
    Clsact,
    /// An ingress qdisc: somebody else's, and as good for a filter on ingress.
    Ingress,
}

/// A filter on a link's ingress or egress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BpfFilter {
    /// Kind of classifier, as in `bpf` or `u32`.
    pub kind: String,
    /// Priority; lower is asked first.
    pub priority: u16,
    /// Handle.
    pub handle: u32,
    /// `TCA_BPF_NAME`.
    pub name: String,
    /// `TCA_BPF_ID`: the program, by its id in the kernel.
    pub program_id: u32,
}

impl Netlink {
    /// Adds a clsact qdisc; one that is there already is as good.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn add_clsact(&self, ifindex: u32) -> Result<(), NetlinkError> {
        let mut message = qdisc(ifindex, "clsact", TcHandle::CLSACT);
        message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
        let request = self.tc(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL);
        match self.ask("add a clsact qdisc to link", &ifindex, request).await {
            Err(e) if e.is_errno(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Removes the clsact qdisc and all its filters.
    ///
    /// # Errors
    /// When the kernel refuses; see [`NetlinkError::is_gone`].
    pub async fn delete_clsact(&self, ifindex: u32) -> Result<(), NetlinkError> {
        let message = qdisc(ifindex, "clsact", TcHandle::CLSACT);
        let request = self.tc(RouteNetlinkMessage::DelQueueDiscipline(message), 0);
        match self.ask("delete the clsact qdisc of link", &ifindex, request).await {
            // The kernel's answer for a qdisc that is not there.
            Err(e)
                if e.is_errno(libc::EINVAL) && self.ingress_qdisc(ifindex).await? == IngressQdisc::Absent =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Makes noqueue the root qdisc.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn set_noqueue(&self, ifindex: u32) -> Result<(), NetlinkError> {
        let message = qdisc(ifindex, "noqueue", TcHandle::ROOT);
        let request = self.tc(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE);
        self.ask("set the qdisc of link", &ifindex, request).await
    }

    /// What sits on the link's ingress.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ingress_qdisc(&self, ifindex: u32) -> Result<IngressQdisc, NetlinkError> {
        let request = self.handle.qdisc().get().index(ifindex.cast_signed()).execute();
        let messages: Vec<TcMessage> =
            self.ask("list qdiscs of link", &ifindex, request.try_collect()).await?;
        // Kernels before 5.x answer with the qdiscs of all links.
        let mine = messages.iter().filter(|m| m.header.index == ifindex.cast_signed());
        Ok(mine
            .filter_map(|m| match kind(m) {
                Some("clsact") => Some(IngressQdisc::Clsact),
                Some("ingress") => Some(IngressQdisc::Ingress),
                _ => None,
            })
            .next()
            .unwrap_or(IngressQdisc::Absent))
    }

    /// The filters on one side of the link.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn filters(&self, ifindex: u32, side: Side) -> Result<Vec<BpfFilter>, NetlinkError> {
        let request = self.handle.traffic_filter(ifindex.cast_signed()).get();
        let request = match side {
            Side::Ingress => request.ingress(),
            Side::Egress => request.egress(),
        };
        let messages: Vec<TcMessage> =
            self.ask("list filters of link", &ifindex, request.execute().try_collect()).await?;
        Ok(messages.iter().filter_map(filter).collect())
    }

    /// Deletes one filter.
    ///
    /// # Errors
    /// When the kernel refuses; see [`NetlinkError::is_gone`].
    pub async fn delete_filter(
        &self,
        ifindex: u32,
        side: Side,
        filter: &BpfFilter,
    ) -> Result<(), NetlinkError> {
        let minor = match side {
            Side::Ingress => TcHandle::MIN_INGRESS,
            Side::Egress => TcHandle::MIN_EGRESS,
        };
        let mut message = TcMessage::with_index(ifindex.cast_signed());
        message.header.parent = TcHandle { major: u16::MAX, minor };
        message.header.handle = filter.handle.into();
        // The priority stands above the protocol (net/sched/cls_api.c).
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        message.header.info = u32::from(filter.priority) << 16 | u32::from(protocol);
        message.attributes.push(TcAttribute::Kind(filter.kind.clone()));
        let request = self.tc(RouteNetlinkMessage::DelTrafficFilter(message), 0);
        self.ask("delete a filter of link", &ifindex, request).await
    }

    /// rtnetlink's own requests know only some qdiscs and no single filter.
    async fn tc(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), rtnetlink::Error> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.clone().request(request)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                return Err(rtnetlink::Error::NetlinkError(error));
            }
        }
        Ok(())
    }
}

fn qdisc(ifindex: u32, kind: &str, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::with_index(ifindex.cast_signed());
    message.header.parent = parent;
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    message
}

fn kind(message: &TcMessage) -> Option<&str> {
    message
        .attributes
        .iter()
        .find_map(|a| if let TcAttribute::Kind(kind) = a { Some(kind.as_str()) } else { None })
}

/// `None` for the entries without a handle that stand for a chain of filters.
fn filter(message: &TcMessage) -> Option<BpfFilter> {
    let handle = u32::from(message.header.handle);
    if handle == 0 {
        return None;
    }
    let mut filter = BpfFilter {
        kind: kind(message).unwrap_or_default().to_owned(),
        // tcm_info holds the priority above the protocol (net/sched/cls_api.c).
        priority: (message.header.info >> 16) as u16,
        handle,
        ..BpfFilter::default()
    };
    let options = message.attributes.iter().filter_map(|a| match a {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    for option in options.flatten() {
        match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => filter.name.clone_from(name),
            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => filter.program_id = *id,
            _ => {}
        }
    }
    Some(filter)
}
