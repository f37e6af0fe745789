// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to a guest's IPv6 over time, in pods that have nothing else: after every renewal and every new lease the
//! guest has what the pod has.

use std::{net::IpAddr, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use netagent_tests::{
    agent::Agent,
    client::{Ask, Client},
    configured::{Configured, Family, valid_seconds},
    dialogue::Message,
    poll,
    stand_in::GUEST_LINK,
    topology::{Layout, POD_LINK, POD6, PREFIX6, Pod},
};

use super::{
    case::Case,
    table::{self, Cell, Part},
};
use crate::scene::SOON;

const RESOLV_CONF: &str = "search default.svc.cluster.local svc.cluster.local\nnameserver fd00:96::10\n";
/// The shortest lease: T1 after 30 s, T2 after 52 s (docs/dhcpv6.md).
const LEASE: u64 = 60;
/// Long enough for T2.
const AT_T2: Duration = Duration::from_secs(150);
/// The address that the pod has later.
const NEW: &str = "fd00:88::77";

type Run = fn(&mut Case) -> Result<Cell>;

/// Guests of one client, each with what happens to it one after another. All of them live at the same time.
const LIVES: [&[(&str, Run)]; 3] = [
    &[
        ("fresh boot", fresh_boot),
        ("reboot", reboot),
        ("release, and lease again", release),
        ("the pod has another address, found after a reboot", another_address),
    ],
    &[("renew", renew), ("the pod has another address, found at a renewal", renew_another)],
    &[("rebind", rebind)],
];

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn every_client_over_time_in_ipv6() {
    crate::require_clients!();
    let agent = &Agent::builder().start().unwrap();
    let failed = thread::scope(|scope| {
        let mut runs = Vec::new();
        for client in Client::ALL {
            for (life, scenarios) in LIVES.into_iter().enumerate() {
                runs.push(scope.spawn(move || live(agent, client, life, scenarios)));
            }
        }
        runs.into_iter().filter_map(|run| run.join().err()).count()
    });
    assert_eq!(failed, 0, "lives that went otherwise: what each client said is above");
}

fn live(agent: &Agent, client: Client, life: usize, scenarios: &[(&'static str, Run)]) {
    let mut cells = Vec::new();
    let mut case = None;
    for (number, (name, run)) in scenarios.iter().enumerate() {
        let cell = if client.speaks_dhcpv6() {
            let outcome = step(agent, client, &mut case, *run);
            outcome.unwrap_or_else(|error| Cell::Differs(format!("{error:#}")))
        } else {
            Cell::NotApplicable("it has no DHCPv6")
        };
        table::note(Part::Ipv6, 10 * life + number, name, client, &cell);
        cells.push((format!("{client}, {name}"), cell));
    }
    table::check(&cells);
}

fn step<'a>(agent: &'a Agent, client: Client, case: &mut Option<Case<'a>>, run: Run) -> Result<Cell> {
    if case.is_none() {
        let pod = Pod {
            ipv4: false,
            layout: Layout::Subnet,
            resolv_conf: RESOLV_CONF.to_owned(),
            ..Pod::default()
        };
        *case = Some(Case::prepare(agent, pod, client, &["--lease-seconds", &LEASE.to_string()])?);
    }
    let case = case.as_mut().context("no case")?;
    run(case).with_context(|| format!("it said: {}\n{}", case.words().unwrap_or_default(), case.system.log()))
}

fn ok(how: &str) -> Result<Cell> {
    Ok(Cell::Ok(how.to_owned()))
}

fn fresh_boot(case: &mut Case) -> Result<Cell> {
    case.system.start()?;
    case.wait_said(0, &[Message::SOLICIT, Message::REPLY])?;
    case.wait_inherited()?;
    case.use_network()?;
    ok("")
}

fn reboot(case: &mut Case) -> Result<Cell> {
    case.system.power_off()?;
    let seen = case.messages()?.len();
    case.system.start()?;
    case.wait_inherited()?;
    let said = case.messages()?.split_off(seen);
    let first = said.iter().find(|m| matches!(m, Message::V6(_))).context("it said nothing")?;
    case.wait_said(seen, &[*first, Message::REPLY])?;
    case.use_network()?;
    match *first {
        Message::SOLICIT => ok("it remembers nothing: SOLICIT"),
        Message::CONFIRM | Message::REBIND => ok(&first.to_string()),
        other => bail!("after a reboot it began with {other}"),
    }
}

fn release(case: &mut Case) -> Result<Cell> {
    case.use_network()?;
    let seen = case.messages()?.len();
    case.system.ask(Ask::Release)?;
    let anew = [Message::SOLICIT, Message::REPLY];
    if case.client == Client::Networkd {
        case.wait_said(seen, &anew)?;
        case.wait_inherited()?;
        let released = case.messages()?.iter().skip(seen).any(|m| *m == Message::RELEASE6);
        return ok(if released {
            "both at once, when it is reconfigured"
        } else {
            "it gives nothing back, and leases again when it is reconfigured"
        });
    }
    case.wait_said(seen, &[Message::RELEASE6, Message::REPLY])?;
    poll::try_until("the guest to be without address", SOON, || {
        let guest = Configured::read(&case.guest.guest, GUEST_LINK, Family::V6)?;
        Ok(guest.addresses.is_empty().then_some(()))
    })?;
    let seen = case.messages()?.len();
    case.system.start()?;
    case.wait_said(seen, &anew)?;
    case.wait_inherited()?;
    case.use_network()?;
    ok("")
}

/// A guest that was off comes back with the lease of an address that is not its pod's any more.
fn another_address(case: &mut Case) -> Result<Cell> {
    case.system.power_off()?;
    give_another_address(case)?;
    case.system.start()?;
    case.wait_inherited()?;
    ok("")
}

fn give_another_address(case: &Case) -> Result<()> {
    let pod = &case.topology.pod;
    pod.ip(&format!("address add {NEW}/{PREFIX6} dev {POD_LINK} nodad"))?;
    pod.ip(&format!("address del {POD6}/{PREFIX6} dev {POD_LINK}"))?;
    case.wait_served(NEW)
}

/// As [`Ask::Renew`], or at T1; whether it was asked.
fn renews(case: &mut Case) -> Result<&'static str> {
    let seen = case.messages()?.len();
    let asked = case.client == Client::Dhcpcd;
    if asked {
        case.system.ask(Ask::Renew)?;
    }
    case.wait_said(seen, &[Message::RENEW, Message::REPLY])?;
    Ok(if asked { "" } else { "at T1" })
}

fn renew(case: &mut Case) -> Result<Cell> {
    case.system.start()?;
    case.wait_inherited()?;
    wait_left(case, LEASE - 4, |left, bound| left < bound)?;
    let how = renews(case)?;
    wait_left(case, LEASE - 3, |left, bound| left > bound)?;
    case.wait_inherited()?;
    case.use_network()?;
    ok(how)
}

fn renew_another(case: &mut Case) -> Result<Cell> {
    give_another_address(case)?;
    let how = renews(case)?;
    case.wait_inherited()?;
    ok(how)
}

/// Its RENEWs get lost: the server that it has its lease from cannot be reached, as far as it can tell.
fn rebind(case: &mut Case) -> Result<Cell> {
    case.system.start()?;
    case.wait_inherited()?;
    case.guest.lose(|frame| Message::of_frame(frame) == Some(Message::RENEW))?;
    let seen = case.messages()?.len();
    case.wait_said_within(AT_T2, seen, &[Message::RENEW, Message::REBIND, Message::REPLY])?;
    let said = case.messages()?.split_off(seen);
    let answered = said.iter().take_while(|m| **m != Message::REBIND).any(|m| *m == Message::REPLY);
    ensure!(!answered, "a RENEW was answered, so it did not have to rebind");
    wait_left(case, LEASE - 3, |left, bound| left > bound)?;
    case.wait_inherited()?;
    case.use_network()?;
    ok("at T2")
}

/// Waits until the time that is left of the guest's lease fits.
fn wait_left(case: &Case, bound: u64, fits: fn(u64, u64) -> bool) -> Result<()> {
    let what = "the time left of the lease to change";
    let mut last = None;
    poll::try_until(what, SOON, || {
        last = valid_seconds(&case.guest.guest, GUEST_LINK, IpAddr::V6(POD6))?;
        Ok(last.is_some_and(|left| fits(left, bound)).then_some(()))
    })
    .map_err(|error| anyhow!("{error}: {last:?} s, and the bound is {bound}"))
}
