// SPDX-License-Identifier: MIT OR Apache-2.0
//! Routes and names that take more than the 255 bytes of an option (RFC 3396): who has them all, and what the others have.

use std::thread;

use anyhow::{Context as _, Result, anyhow};
use netagent_tests::{
    agent::Agent,
    client::Client,
    configured::{Configured, Family},
    poll,
    resolver::Resolver,
    stand_in::GUEST_LINK,
    topology::{GATEWAY4, Layout, Pod},
};

use super::{
    case::Case,
    table::{self, Cell, Part},
};
use crate::scene::SOON;

/// Each takes 9 bytes of option 121.
const ROUTES: u8 = 40;
/// Of at least 42 bytes in option 119.
const NAMES: usize = 9;

/// What is in two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Long {
    Routes,
    Names,
}

impl Long {
    fn pod(self) -> Pod {
        let (routes, names) = if self == Self::Routes { (ROUTES, 2) } else { (0, NAMES) };
        // Nothing in common, so that no pointer makes the list short.
        let name = |n| format!("a-rather-long-name-{n}.of-a-zone-{n}.example{n}");
        let names: Vec<String> = (0..names).map(name).collect();
        Pod {
            layout: Layout::Flannel,
            ipv6: false,
            routes: (0..routes).map(|n| (format!("203.0.113.{}/32", n * 4), GATEWAY4.to_string())).collect(),
            resolv_conf: format!("search {}\nnameserver 10.96.0.10\n", names.join(" ")),
            ..Pod::default()
        }
    }

    /// Why a client has not all of it.
    fn falls_short(self, client: Client) -> Option<&'static str> {
        match (self, client) {
            (Self::Routes, Client::Udhcpc) => Some(
                "the default route alone: it takes messages of 576 bytes, where the others have no place",
            ),
            (Self::Names, Client::Udhcpc) => Some(
                "the domain (option 15) alone: it takes messages of 576 bytes, where the list has no place",
            ),
            (Self::Names, Client::Networkd) => {
                Some("the domain (option 15) alone: it does not put the parts together")
            }
            _ => None,
        }
    }

    /// Waits until a guest has what is left for one that falls short.
    fn wait_rest(self, case: &Case) -> Result<()> {
        let mut told = Resolver::parse(&case.topology.spec.resolv_conf).search;
        if self == Self::Names {
            // Of names of one length the first is the domain.
            told.truncate(1);
        }
        let mut last = String::new();
        let waited = poll::try_until("what has a place in the message", SOON, || {
            let has = case.system.resolver()?.search;
            let routes = Configured::read(&case.guest.guest, GUEST_LINK, Family::V4)?.routes;
            last = format!("{has:?}, {routes:?}");
            // Its own subnet is the mask's.
            let routed = self == Self::Names || routes.keys().eq(["0.0.0.0/0", "10.88.0.0/24"].iter());
            Ok((routed && has == told).then_some(()))
        });
        waited.with_context(|| format!("it has {last}"))
    }
}

fn boot(agent: &Agent, long: Long, client: Client) -> Result<Cell> {
    let mut case = Case::prepare(agent, long.pod(), client, &[])?;
    case.system.take_whole_frames()?;
    case.system.start()?;
    let short = long.falls_short(client);
    match short {
        Some(_) => long.wait_rest(&case)?,
        None => case.wait_inherited()?,
    }
    case.use_network()?;
    let asked = if client == Client::Dhclient { "told to take messages of 1500 bytes" } else { "" };
    Ok(Cell::Ok(short.unwrap_or(asked).to_owned()))
}

fn every_client(place: usize, name: &'static str, long: Long) {
    crate::require_clients!();
    let agent = &Agent::builder().start().unwrap();
    let cells = thread::scope(|scope| {
        let runs = Client::ALL.map(|client| (client, scope.spawn(move || boot(agent, long, client))));
        runs.map(|(client, run)| {
            let outcome = run.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
            let cell = outcome.unwrap_or_else(|error| Cell::Differs(format!("{error:#}")));
            table::note(Part::Shapes, place, name, client, &cell);
            (client.to_string(), cell)
        })
    });
    table::check(&cells);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn every_client_with_routes_for_two_options() {
    every_client(20, "40 routes: option 121 in two parts", Long::Routes);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn every_client_with_names_for_two_options() {
    every_client(21, "9 long search domains: option 119 in two parts", Long::Names);
}
