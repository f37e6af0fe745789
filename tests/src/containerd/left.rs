// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a containerd leaves behind when it ends: shims with their containers, and mounts. All are known by its folder.

use std::{collections::BTreeSet, fs, path::Path};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Ends the processes and unmounts the file systems that belong to the containerd in `dir`.
pub(super) fn end(dir: &Path) {
    let processes = processes();
    let mut ours: BTreeSet<i32> =
        processes.iter().filter(|one| is_shim(one.pid, dir)).map(|one| one.pid).collect();
    // Their containers, before the shims are gone and nobody knows whose they are.
    loop {
        let more: Vec<_> =
            processes.iter().filter(|one| ours.contains(&one.parent) && !ours.contains(&one.pid)).collect();
        if more.is_empty() {
            break;
        }
        ours.extend(more.iter().map(|one| one.pid));
    }
    for pid in ours {
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
    // The last one first: it may lie in another.
    for mount in mounts(dir).iter().rev() {
        if let Err(error) = umount2(mount.as_str(), MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {mount}: {error}");
        }
    }
}

struct Seen {
    pid: i32,
    parent: i32,
}

fn processes() -> Vec<Seen> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name before it may hold anything.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some(Seen { pid, parent })
        })
        .collect()
}

/// A shim has its containerd's socket on its command line.
fn is_shim(pid: i32, dir: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let named = words.first().is_some_and(|program| program.contains("containerd-shim"));
    named && words.iter().any(|word| Path::new(word.as_ref()).starts_with(dir))
}

fn mounts(dir: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split_whitespace().nth(4));
    points.filter(|point| Path::new(point).starts_with(dir)).map(str::to_owned).collect()
}
