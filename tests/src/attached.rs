// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which BPF programs are on the links of a namespace, asked of the kernel without netagent's code.
//!
//! `bpftool net` knows tcx only since 7.3 (Debian 12 has 7.1), so that part is asked by the system call itself.

use std::{io, mem::size_of, process::Command, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use nix::libc;
use serde_json::Value;

use crate::{netns::Netns, process::run_ok};

/// include/uapi/linux/bpf.h: `enum bpf_cmd` and `enum bpf_attach_type`.
const BPF_PROG_QUERY: libc::c_long = 16;
const TCX_HOOKS: [(u32, &str); 2] = [(46, "tcx/ingress"), (47, "tcx/egress")];
/// More programs than anybody puts on one hook; the kernel says ENOSPC if not.
const MOST_PROGRAMS: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(30);

/// A program on a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attached {
    /// The link's name.
    pub link: String,
    /// Where on it: `tcx/ingress`, `clsact/egress`, `driver` (XDP), …
    pub hook: String,
    /// The program's name in the kernel, at most 15 characters.
    pub program: String,
    /// The program's id in the kernel.
    pub id: u32,
}

/// `union bpf_attr`, the part of BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// All programs on all links of `netns`: tcx, clsact, XDP; sorted.
pub fn programs(netns: &Netns) -> Result<Vec<Attached>> {
    let mut found = classic(&netns.bpftool_json("net show")?);
    let links = netns.ip_json("link show")?;
    for link in links.as_array().into_iter().flatten() {
        let (Some(name), Some(index)) = (link["ifname"].as_str(), link["ifindex"].as_u64()) else { continue };
        let index = u32::try_from(index).context("ifindex")?;
        for (attach_type, hook) in TCX_HOOKS {
            let ids = netns.run_inside(|| query(index, attach_type))?;
            let ids = ids.with_context(|| format!("cannot ask for the programs at {hook} of {name}"))?;
            for id in ids.unwrap_or_default() {
                found.push(Attached {
                    link: name.to_owned(),
                    hook: hook.to_owned(),
                    program: program_name(id)?,
                    id,
                });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether this kernel knows tcx: it is asked for the programs of loopback, which every namespace has.
pub fn kernel_has_tcx() -> Result<bool> {
    let [(attach_type, _), _] = TCX_HOOKS;
    let loopback = 1;
    Ok(query(loopback, attach_type).context("cannot ask for tcx programs of lo")?.is_some())
}

/// What every bpftool lists: everything but tcx.
fn classic(shown: &Value) -> Vec<Attached> {
    let kinds = shown.pointer("/0").and_then(Value::as_object);
    kinds
        .into_iter()
        .flatten()
        .flat_map(|(kind, entries)| entries.as_array().into_iter().flatten().map(move |entry| (kind, entry)))
        .filter_map(|(kind, entry)| {
            let word = |key: &str| entry.get(key).and_then(Value::as_str);
            let id = entry.get("prog_id").or_else(|| entry.get("id")).and_then(Value::as_u64);
            Some(Attached {
                link: word("devname")?.to_owned(),
                hook: word("kind").or_else(|| word("mode")).unwrap_or(kind).to_owned(),
                program: word("name").unwrap_or("?").to_owned(),
                id: u32::try_from(id.unwrap_or_default()).unwrap_or_default(),
            })
        })
        .filter(|one| !one.hook.starts_with("tcx"))
        .collect()
}

/// Ids of the programs at a hook of a link in the current namespace; `None` on kernels without tcx.
fn query(ifindex: u32, attach_type: u32) -> io::Result<Option<Vec<u32>>> {
    let mut ids = [0u32; MOST_PROGRAMS];
    let mut query = Query {
        target_ifindex: ifindex,
        attach_type,
        prog_ids: ids.as_mut_ptr() as u64,
        count: MOST_PROGRAMS as u32,
        ..Query::default()
    };
    #[expect(unsafe_code, reason = "no crate of the harness wraps bpf(2)")]
    // SAFETY: `query` has the layout and the size that are given; `ids` has room for `count` ids; both outlive the
    // call, and the kernel writes to nothing else.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>() as libc::c_uint)
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        // A kernel before 6.6 does not know the attach type.
        return if error.raw_os_error() == Some(libc::EINVAL) { Ok(None) } else { Err(error) };
    }
    let count = usize::try_from(query.count).unwrap_or(0);
    Ok(Some(ids.get(..count).unwrap_or_default().to_vec()))
}

fn program_name(id: u32) -> Result<String> {
    let text = run_ok(Command::new("bpftool").args(["-j", "prog", "show", "id", &id.to_string()]), TIMEOUT)?;
    let shown: Value =
        serde_json::from_str(&text).with_context(|| format!("bpftool did not print JSON: {text}"))?;
    shown["name"].as_str().map(str::to_owned).ok_or_else(|| anyhow!("program {id} has no name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_bpftool_and_leaves_tcx_to_the_query() {
        let shown = json!([{
            "xdp": [{"devname": "eth0", "ifindex": 2, "mode": "driver", "id": 5}],
            "tc": [
                {"devname": "eth0", "ifindex": 2, "kind": "tcx/ingress", "name": "to_vm", "prog_id": 7},
                {"devname": "tap0", "ifindex": 3, "kind": "clsact/ingress", "name": "from_vm", "id": 8}
            ],
            "flow_dissector": []
        }]);
        let found: Vec<String> = classic(&shown)
            .iter()
            .map(|one| format!("{} {} {} {}", one.link, one.hook, one.program, one.id))
            .collect();
        assert_eq!(found.len(), 2);
        assert!(found.contains(&"eth0 driver ? 5".to_owned()), "{found:?}");
        assert!(found.contains(&"tap0 clsact/ingress from_vm 8".to_owned()), "{found:?}");
        assert!(classic(&json!([])).is_empty());
    }

    #[test]
    fn the_query_has_the_kernels_size() {
        assert_eq!(size_of::<Query>(), 64);
    }
}
