// SPDX-License-Identifier: MIT OR Apache-2.0
//! A private apt tree over several Debian releases, on the mirror that the machine itself uses: older and newer
//! kernels than its own release has, and no change to the machine's sources.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, anyhow};

use super::{apt::Apt, write};
use crate::process::run_ok;

/// Which of Debian's archives a suite is in, by the label of its Release file.
const MAIN: &str = "Debian";
const SECURITY: &str = "Debian-Security";
/// Where kernels of many series are: long-term ones in the security archive of the release that shipped them (and
/// of the one before, as backports), the newest ones in backports and sid. bookworm has user-mode Linux.
pub(super) const KERNELS: [(&str, &str); 5] = [
    (SECURITY, "bullseye-security"),
    (SECURITY, "bookworm-security"),
    (MAIN, "bookworm"),
    (MAIN, "trixie-backports"),
    (MAIN, "sid"),
];
/// Where container runtimes of several releases are.
pub(super) const RUNTIMES: [(&str, &str); 3] = [(MAIN, "bookworm"), (MAIN, "trixie"), (MAIN, "sid")];
/// Signs all of them; a machine's own sources may be signed by a newer or older subset.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// A superseded kernel can no longer be fetched, and lists that are older than this are likely to name one.
const LISTS_AGE: Duration = Duration::from_secs(12 * 3600);
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
const UPDATE_TIMEOUT: Duration = Duration::from_secs(300);

/// apt over `suites`, its sources and lists in the folder `tree`. Fetches the lists where they are missing or old.
pub(super) fn open(tree: &Path, suites: &[(&str, &str)], note: &dyn Fn(&str)) -> Result<Apt> {
    for dir in ["lists/partial", "archives/partial", "parts"] {
        let dir = tree.join(dir);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let sources = sources(&mirrors()?, suites)?;
    let (file, stamp) = (tree.join("sources.list"), tree.join("updated"));
    let apt = Apt::with(options(tree, &file));
    let known = fs::read_to_string(&file).is_ok_and(|old| old == sources);
    if known && age(&stamp).is_some_and(|age| age < LISTS_AGE) {
        return Ok(apt);
    }
    write(&file, sources.as_bytes())?;
    note("reading the package lists of several Debian releases");
    match run_ok(apt.command("apt-get").args(["-q", "update"]), UPDATE_TIMEOUT) {
        Ok(_) => write(&stamp, b"")?,
        Err(error) if known && stamp.exists() => {
            note(&format!("using the package lists from the cache: {error:#}"));
        }
        Err(error) => return Err(error.context("cannot read the package lists")),
    }
    Ok(apt)
}

fn options(tree: &Path, sources: &Path) -> Vec<String> {
    let path = |name: &str| tree.join(name).display().to_string();
    vec![
        format!("Dir::Etc::SourceList={}", sources.display()),
        format!("Dir::Etc::SourceParts={}", path("parts")),
        format!("Dir::State={}", tree.display()),
        format!("Dir::State::Lists={}", path("lists")),
        // What this machine has installed must not count.
        "Dir::State::Status=/dev/null".to_owned(),
        format!("Dir::Cache={}", tree.display()),
        // Containers turn them off, and then every question reads all lists.
        "Dir::Cache::PkgCache=pkgcache.bin".to_owned(),
        "Dir::Cache::SrcPkgCache=srcpkgcache.bin".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
    ]
}

/// Label and address of each archive that the machine reads.
fn mirrors() -> Result<Vec<(String, String)>> {
    let mut ask = Apt::default().command("apt-get");
    let text = run_ok(
        ask.args(["indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Identifier: Packages"]),
        QUERY_TIMEOUT,
    )?;
    let fields = |line: &str| {
        let mut fields = line.split('|').map(str::to_owned);
        Some((fields.next()?, fields.next()?, fields.next()?))
    };
    let of_debian = text.lines().filter_map(fields).filter(|(origin, ..)| origin == "Debian");
    Ok(of_debian.map(|(_, label, address)| (label, address)).collect())
}

fn sources(mirrors: &[(String, String)], suites: &[(&str, &str)]) -> Result<String> {
    let main = mirrors
        .iter()
        .find(|(label, _)| label == MAIN)
        .map(|(_, address)| address.trim_end_matches('/').to_owned())
        .ok_or_else(|| {
            anyhow!("apt reads no Debian archive: other kernels come from one, so add its sources")
        })?;
    let security = match mirrors.iter().find(|(label, _)| label == SECURITY) {
        Some((_, address)) => address.trim_end_matches('/').to_owned(),
        // The two lie side by side on a mirror that carries both.
        None => format!("{main}-security"),
    };
    let signed_by =
        if Path::new(KEYRING).is_file() { format!(" signed-by={KEYRING}") } else { String::new() };
    let line = |(label, suite): &(&str, &str)| {
        let address = if *label == SECURITY { &security } else { &main };
        format!("deb [arch=amd64 target=Packages{signed_by}] {address} {suite} main\n")
    };
    Ok(suites.iter().map(line).collect())
}

fn age(stamp: &PathBuf) -> Option<Duration> {
    SystemTime::now().duration_since(fs::metadata(stamp).ok()?.modified().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_read_from_the_machines_mirror() {
        let mirrors = [("Debian", "http://mirror/debian/"), ("Debian-Security", "http://mirror/sec/")]
            .map(|(label, address)| (label.to_owned(), address.to_owned()));
        let text = sources(&mirrors, &KERNELS).unwrap();
        assert!(text.contains("] http://mirror/sec bullseye-security main\n"), "{text}");
        assert!(text.contains("] http://mirror/debian sid main\n"), "{text}");
        let text = sources(&mirrors[..1], &KERNELS).unwrap();
        assert!(text.contains("] http://mirror/debian-security bookworm-security main\n"), "{text}");
        assert!(sources(&[], &KERNELS).is_err());
    }
}
