// SPDX-License-Identifier: MIT OR Apache-2.0
//! A link recorded by tcpdump, read while it is written: the frames in it, for this harness and for tshark.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::{netns::Netns, poll, process::Process};

const TIMEOUT: Duration = Duration::from_secs(30);
/// pcap's file and record headers, in the byte order of the machine that wrote them.
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const MAGIC: u32 = 0xa1b2_c3d4;

/// Recording goes on until the value is dropped.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Capture {
    /// Records what passes `link` in `netns`, both ways, and fits a filter as tcpdump takes it.
    pub fn start(netns: &Netns, link: &str, filter: &str) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("natest-capture-").tempdir().context("cannot make a folder")?;
        let (file, log) = (dir.path().join("pcap"), dir.path().join("log"));
        let mut command = netns.command("tcpdump");
        // As root: as its own user it could not write into the folder.
        command.args(["-i", link, "-n", "-U", "--immediate-mode", "-Z", "root", "-w"]).arg(&file).arg(filter);
        let mut tcpdump = Process::spawn_logged(&mut command, &log)?;
        let said = || fs::read_to_string(&log).unwrap_or_default();
        poll::try_until("tcpdump to listen", TIMEOUT, || {
            if tcpdump.try_wait()?.is_some() {
                bail!("tcpdump ended");
            }
            Ok(said().contains("listening on").then_some(()))
        })
        .with_context(said)?;
        Ok(Self { tcpdump, file, _dir: dir })
    }

    /// Ends the recording and gives the file, whole, for other tools.
    pub fn stop(&mut self) -> Result<&Path> {
        if self.tcpdump.try_wait()?.is_none() {
            self.tcpdump.signal(Signal::SIGINT)?;
            self.tcpdump.wait(TIMEOUT)?;
        }
        Ok(&self.file)
    }

    /// All frames so far.
    pub fn frames(&self) -> Result<Vec<Vec<u8>>> {
        let bytes = fs::read(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        frames(&bytes)
    }
}

fn frames(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let Some((header, mut rest)) = bytes.split_at_checked(FILE_HEADER) else { return Ok(Vec::new()) };
    if word(header, 0) != Some(MAGIC) {
        bail!("not a pcap file of this machine: {header:02x?}");
    }
    let mut frames = Vec::new();
    while let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) {
        let length = word(header, 8).context("a record without length")?;
        // Cut: the record is still being written.
        let Some((frame, after)) = after.split_at_checked(usize::try_from(length)?) else { break };
        frames.push(frame.to_vec());
        rest = after;
    }
    Ok(frames)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_records_alone() {
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.resize(FILE_HEADER, 0);
        for length in [2u32, 3] {
            bytes.extend([0; 8]);
            bytes.extend(length.to_ne_bytes());
            bytes.extend(length.to_ne_bytes());
            bytes.extend([7, 8]);
        }
        assert_eq!(frames(&bytes).unwrap(), [vec![7, 8]]);
        bytes.push(9);
        assert_eq!(frames(&bytes).unwrap(), [vec![7, 8], vec![7, 8, 9]]);
        assert!(frames(&[0; FILE_HEADER]).is_err());
        assert_eq!(frames(&[]).unwrap(), Vec::<Vec<u8>>::new());
    }
}
