// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to a guest over time: renewals, reboots, a pod that got another address, a lease given back. Each client
//! goes through all of it; what it said is seen on the wire.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use netagent_tests::{
    agent::Agent,
    client::{Ask, Client, System},
    configured::{Configured, Family},
    dialogue::{
        Message,
        State::{InitReboot, Rebinding, Renewing, Selecting},
    },
    poll,
    stand_in::GUEST_LINK,
    topology::{Layout, POD_LINK, POD4, PREFIX4, Pod},
    tshark,
};
use tempfile::NamedTempFile;

use super::{
    case::Case,
    table::{self, Cell, Part},
};
use crate::scene::SOON;

/// The shortest lease that can be asked for: T1 after 30 s, T2 after 52 s (docs/dhcp.md).
const SHORT: &str = "lease_seconds = 60\n";
/// Long enough for T2 of a short lease.
const AT_T2: Duration = Duration::from_secs(150);
/// The address that the pod has later.
const NEW: &str = "10.88.0.77";
/// What the agent says.
const ANSWERS: &str = "eth.src == 02:6e:61:00:00:01";
const AGENT: [u8; 6] = [0x02, 0x6e, 0x61, 0, 0, 1];

type Run = fn(&mut Case) -> Result<Cell>;

/// In this order: each goes on where the one before ended.
const SCENARIOS: [(&str, Run); 6] = [
    ("fresh boot", fresh_boot),
    ("renew", renew),
    ("carrier lost and back", carrier),
    ("reboot", reboot),
    ("release, and lease again", release),
    ("the pod has another address than the lease", another_address),
];

/// An agent and the file of its configuration.
fn agent(short: bool) -> (Agent, NamedTempFile) {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), if short { SHORT } else { "" }).unwrap();
    let path = file.path().to_str().unwrap();
    (Agent::builder().arg("--config").arg(path).start().unwrap(), file)
}

fn lives(client: Client) {
    crate::require_clients!();
    // One that cannot be asked renews at T1 alone.
    let (agent, _file) = agent(System::cannot(client, Ask::Renew).is_some());
    let pod = Pod { layout: Layout::Flannel, ..Pod::default() };
    let mut case = Case::prepare(&agent, pod, client, &[]).unwrap();
    let mut cells = Vec::new();
    for (place, (name, run)) in SCENARIOS.into_iter().enumerate() {
        let outcome =
            run(&mut case).with_context(|| format!("it said: {}", case.words().unwrap_or_default()));
        let cell = outcome.unwrap_or_else(|error| Cell::Differs(format!("{error:#}\n{}", case.system.log())));
        table::note(Part::Scenarios, place, name, client, &cell);
        cells.push((name.to_owned(), cell));
    }
    table::check(&cells);
    let (complaints, decoded) = tshark::complaints(case.capture.stop().unwrap(), ANSWERS).unwrap();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let sent = case.capture.frames().unwrap().iter().filter(|frame| frame.get(6..12) == Some(&AGENT)).count();
    assert_eq!(decoded, sent, "answers that tshark decoded, and answers there were");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_life_with_udhcpc() {
    lives(Client::Udhcpc);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_life_with_dhclient() {
    lives(Client::Dhclient);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_life_with_dhcpcd() {
    lives(Client::Dhcpcd);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_life_with_networkd() {
    lives(Client::Networkd);
}

fn fresh_boot(case: &mut Case) -> Result<Cell> {
    case.system.start()?;
    case.wait_inherited()?;
    case.wait_said(0, &[Message::DISCOVER, Message::OFFER, Message::Request(Selecting), Message::ACK])?;
    case.use_network()?;
    Ok(Cell::Ok(String::new()))
}

fn renew(case: &mut Case) -> Result<Cell> {
    let seen = case.messages()?.len();
    let by_itself = System::cannot(case.client, Ask::Renew);
    if by_itself.is_none() {
        case.system.ask(Ask::Renew)?;
    }
    case.wait_said(seen, &[Message::Request(Renewing), Message::ACK])?;
    case.wait_inherited()?;
    Ok(Cell::Ok(by_itself.map_or(String::new(), |_| "at T1".to_owned())))
}

fn carrier(case: &mut Case) -> Result<Cell> {
    if let Some(why) = System::cannot(case.client, Ask::Confirm) {
        return Ok(Cell::NotApplicable(why));
    }
    let seen = case.messages()?.len();
    case.system.ask(Ask::Confirm)?;
    case.wait_said(seen, &[Message::Request(InitReboot), Message::ACK])?;
    case.wait_inherited()?;
    Ok(Cell::Ok(String::new()))
}

fn reboot(case: &mut Case) -> Result<Cell> {
    case.system.power_off()?;
    let seen = case.messages()?.len();
    case.system.start()?;
    case.wait_inherited()?;
    let said = case.messages()?.split_off(seen);
    let remembers = matches!(case.client, Client::Dhclient | Client::Dhcpcd);
    case.wait_said(seen, &[Message::Request(if remembers { InitReboot } else { Selecting }), Message::ACK])?;
    if remembers == said.contains(&Message::DISCOVER) {
        bail!("another beginning than expected after a reboot");
    }
    Ok(Cell::Ok(if remembers { String::new() } else { "it remembers nothing: DISCOVER".to_owned() }))
}

fn release(case: &mut Case) -> Result<Cell> {
    // A client takes its address away at once, and with it a message that still waits for the gateway's MAC.
    case.use_network()?;
    let seen = case.messages()?.len();
    case.system.ask(Ask::Release)?;
    case.wait_said(seen, &[Message::RELEASE])?;
    if case.client != Client::Networkd {
        poll::try_until("the guest to be without address", SOON, || {
            let guest = Configured::read(&case.guest.guest, GUEST_LINK, Family::V4)?;
            Ok(guest.addresses.is_empty().then_some(()))
        })?;
        match case.client {
            // It goes on without a lease, and a signal makes it ask again.
            Client::Udhcpc => case.system.ask(Ask::Renew)?,
            _ => case.system.start()?,
        }
    }
    let anew = [Message::DISCOVER, Message::OFFER, Message::Request(Selecting), Message::ACK];
    case.wait_said(seen, &[&[Message::RELEASE][..], &anew].concat())?;
    case.wait_inherited()?;
    let how = if case.client == Client::Networkd { "both at once, when it is reconfigured" } else { "" };
    Ok(Cell::Ok(how.to_owned()))
}

/// A guest that was off comes back with the lease of an address that is not its pod's any more.
fn another_address(case: &mut Case) -> Result<Cell> {
    let remembers = matches!(case.client, Client::Dhclient | Client::Dhcpcd);
    if remembers {
        case.system.power_off()?;
    }
    let pod = &case.topology.pod;
    // The routes stay when the first address goes.
    pod.sysctl(&format!("ipv4/conf/{POD_LINK}/promote_secondaries"), "1")?;
    pod.ip(&format!("address add {NEW}/{PREFIX4} dev {POD_LINK}"))?;
    pod.ip(&format!("address del {POD4}/{PREFIX4} dev {POD_LINK}"))?;
    case.wait_served(NEW)?;
    let seen = case.messages()?.len();
    let (first, how): (&[Message], _) = match case.client {
        Client::Udhcpc => {
            case.system.ask(Ask::Renew)?;
            // Its unicast may get no further than ARP: the guard knows the old address no more.
            (&[], "found out when it renewed")
        }
        Client::Networkd => {
            case.system.ask(Ask::Confirm)?;
            (&[Message::Request(InitReboot)], "found out when its carrier was back")
        }
        Client::Dhclient | Client::Dhcpcd => {
            case.system.start()?;
            (&[Message::Request(InitReboot)], "")
        }
    };
    let new_lease =
        [Message::NAK, Message::DISCOVER, Message::OFFER, Message::Request(Selecting), Message::ACK];
    case.wait_said(seen, &[first, &new_lease].concat())?;
    case.wait_inherited()?;
    Ok(Cell::Ok(how.to_owned()))
}

/// Without a gateway the server's address cannot be resolved, so renewing by unicast reaches nobody.
fn rebinds(client: Client) {
    crate::require_clients!();
    let (agent, _file) = agent(true);
    let pod = Pod { layout: Layout::NoRoutes, ..Pod::default() };
    let outcome = || -> Result<Cell> {
        let mut case = Case::boot(&agent, pod, client, &[])?;
        let seen = case.messages()?.len();
        let by_itself = System::cannot(client, Ask::Rebind);
        if by_itself.is_none() {
            case.system.ask(Ask::Rebind)?;
        }
        case.wait_said_within(AT_T2, seen, &[Message::Request(Rebinding), Message::ACK])
            .with_context(|| case.system.log())?;
        case.wait_inherited()?;
        Ok(Cell::Ok(by_itself.map_or(String::new(), |_| "at T2".to_owned())))
    };
    let cell = outcome().unwrap_or_else(|error| Cell::Differs(format!("{error:#}")));
    table::note(Part::Scenarios, SCENARIOS.len(), "rebind", client, &cell);
    table::check(&[(client.to_string(), cell)]);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn every_client_rebinds_where_no_server_can_be_reached() {
    std::thread::scope(|scope| {
        let runs = Client::ALL.map(|client| scope.spawn(move || rebinds(client)));
        let failed = runs.into_iter().filter_map(|run| run.join().err()).count();
        assert_eq!(failed, 0, "clients that did not rebind: what each said is above");
    });
}
