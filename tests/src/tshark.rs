// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames as tshark decodes them: what it finds wrong, checksums included, and fields by their names.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::process::run_ok;

const TIMEOUT: Duration = Duration::from_secs(120);
/// Expert severities (epan/proto.h: PI_WARN). Chats and notes are no complaints.
const WARNING: u32 = 0x0060_0000;
/// epan/proto.h: PROTO_CHECKSUM_E_GOOD.
const GOOD: &str = "1";
const CHECKSUMS: [&str; 4] =
    ["ip.checksum.status", "udp.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status"];

/// What tshark has to complain of in the frames that fit `filter`, and how many these are.
pub fn complaints(file: &Path, filter: &str) -> Result<(Vec<String>, usize)> {
    let expert =
        ["frame.number", "_ws.col.Info", "_ws.malformed", "_ws.expert.severity", "_ws.expert.message"];
    let names: Vec<&str> = expert.into_iter().chain(CHECKSUMS).collect();
    let rows = fields(file, filter, &names)?;
    let mut found = Vec::new();
    for row in &rows {
        let [number, what, malformed, severities, messages, checksums @ ..] = row.as_slice() else {
            bail!("tshark printed other fields than asked for: {row:?}");
        };
        let severe = severities.split(',').any(|one| one.parse::<u32>().is_ok_and(|one| one >= WARNING));
        if severe || !malformed.is_empty() {
            found.push(format!("frame {number}, {what}: {malformed} {messages}"));
        }
        for (name, status) in CHECKSUMS.iter().zip(checksums) {
            // A frame without this layer has no such field.
            if status.split(',').any(|one| !one.is_empty() && one != GOOD) {
                found.push(format!("frame {number}, {what}: {name} is {status}"));
            }
        }
    }
    Ok((found, rows.len()))
}

/// The named fields of each frame that fits `filter`; several values of one are separated by commas.
pub fn fields(file: &Path, filter: &str, names: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-Y", filter]);
    // Those of ICMPv6 are checked always.
    for checked in ["ip.check_checksum:TRUE", "udp.check_checksum:TRUE"] {
        command.args(["-o", checked]);
    }
    for name in names {
        command.args(["-e", name]);
    }
    // A folder of nobody's settings.
    command.env("HOME", "/nonexistent").arg("-r").arg(file);
    let text = run_ok(&mut command, TIMEOUT).context("tshark cannot decode the capture")?;
    Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}
