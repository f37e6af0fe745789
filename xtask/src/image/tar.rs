// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tar archive (POSIX.1-1988 ustar) in memory: the same entries give the same bytes, whoever packs them when.

use anyhow::{Result, bail};

const BLOCK: usize = 512;
/// Of a field for a path; longer ones would need its prefix field.
const LONGEST_PATH: usize = 100;

/// An archive that grows. Entries stand in the order in which they are added; everything belongs to root and is of 1970.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
}

/// What an entry is, by ustar's type flag.
#[derive(Clone, Copy)]
enum Kind {
    File = b'0' as isize,
    Link = b'2' as isize,
    Directory = b'5' as isize,
}

impl Archive {
    /// A directory; its path ends in no slash.
    pub(super) fn directory(&mut self, path: &str) -> Result<()> {
        self.entry(&format!("{path}/"), Kind::Directory, 0o755, "", &[])
    }

    /// A regular file.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entry(path, Kind::File, mode, "", content)
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.entry(path, Kind::Link, 0o777, target, &[])
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }

    fn entry(&mut self, path: &str, kind: Kind, mode: u32, target: &str, content: &[u8]) -> Result<()> {
        if path.len() > LONGEST_PATH || target.len() > LONGEST_PATH {
            bail!("{path} -> {target} is too long for a tar header");
        }
        let mut header = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, path.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", content.len()).as_bytes());
        put(136, b"00000000000");
        put(148, b"        "); // Counts as blanks in the sum that takes its place.
        put(156, &[kind as u8]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn tar_itself_reads_what_was_put_in() {
        let mut archive = Archive::default();
        archive.directory("usr").unwrap();
        archive.file("usr/a", 0o755, &[b'x'; 513]).unwrap();
        archive.link("l", "usr/a").unwrap();
        archive.file("empty", 0o644, b"").unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.tar"), archive.finish()).unwrap();
        let list = ["--numeric-owner", "--utc", "-tvf", "a.tar"];
        let out = Command::new("tar").args(list).current_dir(dir.path()).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let text = String::from_utf8(out.stdout).unwrap();
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let day = ["1970-01-01", "00:00"];
        assert_eq!(lines[0], ["drwxr-xr-x", "0/0", "0", day[0], day[1], "usr/"]);
        assert_eq!(lines[1], ["-rwxr-xr-x", "0/0", "513", day[0], day[1], "usr/a"]);
        assert_eq!(lines[2], ["lrwxrwxrwx", "0/0", "0", day[0], day[1], "l", "->", "usr/a"]);
        assert_eq!(lines[3], ["-rw-r--r--", "0/0", "0", day[0], day[1], "empty"]);
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        assert!(Archive::default().file(&"x".repeat(101), 0o644, b"").is_err());
    }
}
