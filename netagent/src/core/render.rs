// SPDX-License-Identifier: MIT OR Apache-2.0
//! Steps as text: one stable line each, for `netagent plan`, logs and tests.

use std::fmt;

use ipnet::IpNet;
use netagent_common::{
    address::V4,
    maps::{self, PEER},
};

use super::{ids::MacAddr, observed::Target, plan::Step, program::Program};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTap { tap, mtu } => write!(
                f,
                "create tap {} down: queues {}, owner {}, mtu {mtu}, noqueue",
                tap.name,
                tap.queues,
                tap.owner_text()
            ),
            Self::SetTapMtu(mtu) => write!(f, "set the tap's mtu to {mtu}"),
            Self::SetTapNoqueue => f.write_str("set the tap's qdisc to noqueue"),
            Self::WriteEntry { slot, entry } => write!(f, "write entry {slot}: {}", EntryText(entry)),
            Self::AddClsact => f.write_str("add a clsact qdisc to the pod link"),
            Self::SetTarget { slot, target } => write!(f, "send by xdp from slot {slot} to the {target}"),
            Self::ClearTarget { slot, target } => {
                write!(f, "send no more by xdp from slot {slot} to the {target}")
            }
            Self::RemoveSeveredPin(program) => write!(f, "remove the pin of {program}, whose device is gone"),
            Self::Attach { program, hook, slot } => {
                write!(f, "attach {program} for slot {slot} to {} by {hook}", place(*program))
            }
            Self::Replace { program, hook, slot } => {
                write!(f, "replace {program} for slot {slot} on {} by {hook}", place(*program))
            }
            Self::Serve { slot, guest, .. } => {
                let addresses: Vec<_> = guest.addresses.iter().map(IpNet::to_string).collect();
                write!(f, "serve {} in slot {slot}: {}", guest.mac, addresses.join(", "))
            }
            Self::SetTapUp => f.write_str("set the tap up"),
            Self::ProvePath { slot, question, .. } => {
                write!(f, "prove the path of slot {slot}: ask {} as the guest would", question.gateway())
            }
            Self::StopServing(slot) => write!(f, "stop serving slot {slot}"),
            Self::DeleteTap { name, .. } => write!(f, "delete tap {name}"),
            Self::Detach { program, hook } => {
                write!(f, "detach {program} from {} by {hook}", place(*program))
            }
            Self::RemoveClsact => f.write_str("remove the clsact qdisc of the pod link"),
            Self::EraseEntry(slot) => write!(f, "erase entry {slot}"),
        }
    }
}

fn place(program: Program) -> String {
    let device = if program.is_on_tap() { "tap" } else { "pod link" };
    format!("{device} {}", program.side())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PodLink => "pod link",
            Self::Tap => "tap",
        })
    }
}

struct EntryText<'a>(&'a maps::Port);

impl fmt::Display for EntryText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        let tier = if entry.flags & PEER != 0 { "peer" } else { "plain" };
        write!(
            f,
            "tier {tier}, guest {}, pod link {}",
            MacAddr(entry.guest_mac.octets()),
            MacAddr(entry.pod_mac.octets())
        )?;
        write!(f, ", mtu {}", entry.mtu)?;
        for address in entry.ipv4.iter().filter(|a| **a != V4::UNSPECIFIED) {
            write!(f, ", {}", std::net::Ipv4Addr::from(address.octets()))?;
        }
        for address in entry.ipv6.iter().filter(|a| !a.is_unspecified()) {
            write!(f, ", {}", std::net::Ipv6Addr::from(address.octets()))?;
        }
        Ok(())
    }
}
