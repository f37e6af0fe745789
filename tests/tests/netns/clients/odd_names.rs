// SPDX-License-Identifier: MIT OR Apache-2.0
//! A resolv.conf full of oddities: the port is ready, the rest is served, and the log says what was left out.

use std::{fs, thread};

use anyhow::{Context as _, Result, bail};
use netagent_tests::{
    agent::Agent,
    client::Client,
    poll,
    resolver::Resolver,
    topology::{Layout, Pod},
};

use super::case::Case;
use crate::scene::SOON;

/// What clients are told of [`odd`].
const GOOD: [&str; 3] = ["good.example", "Upper_case.example", "last.example"];

/// Names that no wire form has, that clients refuse, that a shell would run, and bytes that are no text.
fn odd() -> Vec<u8> {
    let label = "l".repeat(64);
    let long = vec!["name"; 60].join(".");
    let mut text =
        b"\xff\xfe\0binary\nnameserver not-an-address\nnameserver\nnameserver 10.96.0.10 10.0.0.1\n".to_vec();
    text.extend(b"options ndots:5\nsearch overruled.example\nsearch good.example . .. a..b .leading ");
    text.extend(format!("{label}.example {long} $(reboot) `id` a|b 'q' \"q\" ").bytes());
    text.extend(
        "bücher.example \u{0}nul.example _tcp.odd.example Upper_case.example last.example.\n".bytes(),
    );
    text
}

fn told(agent: &Agent, client: Client) -> Result<()> {
    let pod = Pod { layout: Layout::Flannel, ..Pod::default() };
    let mut case = Case::prepare_told(agent, pod, client, &[], |file| {
        fs::write(file, odd()).with_context(|| format!("cannot write {}", file.display()))
    })?;
    case.system.start()?;
    let mut last = Resolver::default();
    let same = poll::try_until("the good names in the guest", SOON, || {
        last = case.system.resolver()?;
        let all = GOOD.iter().all(|name| last.search.iter().any(|one| one == name));
        Ok((all && last.search.len() == GOOD.len() && !last.servers.is_empty()).then_some(()))
    });
    if same.is_err() {
        bail!("{client} has {last}\n{}", case.system.log());
    }
    Ok(())
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn odd_search_domains_fail_no_port() {
    crate::require_clients!();
    let agent = &Agent::builder().start().unwrap();
    let failures: Vec<String> = thread::scope(|scope| {
        let runs = Client::ALL.map(|client| scope.spawn(move || told(agent, client)));
        runs.into_iter()
            .filter_map(|run| run.join().unwrap().err().map(|error| format!("{error:#}")))
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(agent.log().contains("left names out"), "{}", agent.log_tail());
}
