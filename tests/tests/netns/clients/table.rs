// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of clients: a row for each shape or scenario that was run, written anew after each.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, sync::Mutex};

use netagent_tests::client::Client;

/// Where the table is written, when it is set.
const TABLE: &str = "NETAGENT_CLIENT_TABLE";

/// Which part of the table a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Shapes,
    Scenarios,
    Ipv6,
}

/// What became of one client.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Ok(String),
    Differs(String),
    NotApplicable(&'static str),
}

type Rows = BTreeMap<(Part, usize, &'static str), BTreeMap<Client, Cell>>;

static ROWS: Mutex<Rows> = Mutex::new(BTreeMap::new());

/// Notes what became of one client, and writes the table. `place` orders the rows of a part.
pub(crate) fn note(part: Part, place: usize, name: &'static str, client: Client, cell: &Cell) {
    if let Ok(mut rows) = ROWS.lock() {
        rows.entry((part, place, name)).or_default().insert(client, cell.clone());
        if let Some(path) = env::var_os(TABLE) {
            fs::write(path, text(&rows)).unwrap();
        }
    }
}

/// Fails if anything differed.
pub(crate) fn check(cells: &[(String, Cell)]) {
    let failures: Vec<String> = cells
        .iter()
        .filter_map(|(name, cell)| match cell {
            Cell::Differs(how) => Some(format!("{name}: {how}")),
            _ => None,
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What the tables take for granted.
const GUESTS: &str = "
Guests take route information in advertisements of up to 128 bits here (`accept_ra_rt_info_max_plen`), which the Linux kernel does
not unless it is told to: without, udhcpc's and dhclient's guests have the default route and what is on the link. dhclient asks
again after 4 seconds at most (`backoff-cutoff`; by default 15), as the leases of these tests are short.
";

fn text(rows: &Rows) -> String {
    let mut text =
        "# What real clients make of the hand-off\n\nWritten by a run of the tests (docs/testing.md).\n"
            .to_owned();
    let mut part = None;
    for ((of, _, name), cells) in rows {
        if part != Some(*of) {
            part = Some(*of);
            let head = match of {
                Part::Shapes => "pod",
                Part::Scenarios => "IPv4 over time",
                Part::Ipv6 => "IPv6 over time",
            };
            let clients: Vec<&str> = Client::ALL.iter().map(|client| client.name()).collect();
            writeln!(text, "\n| {head} | {} |", clients.join(" | ")).unwrap();
            writeln!(text, "|---|{}", "---|".repeat(clients.len())).unwrap();
        }
        let cells = Client::ALL.map(|client| match cells.get(&client) {
            Some(Cell::Ok(more)) if more.is_empty() => "ok".to_owned(),
            Some(Cell::Ok(more)) => format!("ok: {more}"),
            Some(Cell::Differs(how)) => format!("differs: {}", how.lines().next().unwrap_or_default()),
            Some(Cell::NotApplicable(why)) => format!("– {why}"),
            None => "not run".to_owned(),
        });
        writeln!(text, "| {name} | {} |", cells.join(" | ")).unwrap();
    }
    text.push_str(GUESTS);
    text
}
