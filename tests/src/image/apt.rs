// SPDX-License-Identifier: MIT OR Apache-2.0
//! Package archives from apt sources, the machine's own or others, without installing them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::process::run_ok;

const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Where apt keeps what `apt-get update` fetched.
const LISTS: &str = "/var/lib/apt/lists";
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// One `.deb` as apt would fetch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Archive {
    pub(super) package: String,
    /// Name of the file that `apt-get download` makes; the version is in it.
    pub(super) file: String,
    pub(super) bytes: u64,
    /// Algorithm and digest, as in `SHA256:…`. apt itself checks it.
    pub(super) checksum: String,
}

/// apt, and where it looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Apt {
    /// As in `NAME=VALUE` after `-o`. None: the machine's own sources.
    options: Vec<String>,
}

impl Apt {
    /// The machine's own sources, or those that `options` (each `NAME=VALUE`) make of them.
    pub(super) fn with(options: Vec<String>) -> Self {
        Self { options }
    }

    /// The same sources, but a release's own version of a package counts before higher ones of others.
    pub(super) fn preferring(&self, release: &str) -> Self {
        let mut options = self.options.clone();
        options.push(format!("APT::Default-Release={release}"));
        Self { options }
    }

    /// `roots` and what they depend on, as far as `follow` allows.
    pub(super) fn closure(&self, roots: &[&str], follow: impl Fn(&str) -> bool) -> Result<BTreeSet<String>> {
        let only_depends = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"]
            .map(|kind| format!("--no-{kind}"));
        let mut depends = self.command("apt-cache");
        depends.args(["depends", "--recurse"]).args(only_depends).args(roots);
        let text = run_ok(&mut depends, QUERY_TIMEOUT)
            .context("apt does not know a package: run `apt-get update`")?;
        let graph = dependencies(&text);
        let mut found: BTreeSet<String> = roots.iter().map(ToString::to_string).collect();
        let mut new: Vec<&str> = roots.to_vec();
        while let Some(package) = new.pop() {
            for name in graph.get(package).into_iter().flatten().filter(|name| follow(name)) {
                if found.insert((*name).to_owned()) {
                    new.push(name);
                }
            }
        }
        Ok(found)
    }

    /// Names of all packages that begin with `prefix`.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let text = run_ok(self.command("apt-cache").args(["pkgnames", prefix]), QUERY_TIMEOUT)?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Where the candidate versions of `packages` are, from apt's metadata: nothing is fetched.
    pub(super) fn archives(&self, packages: &BTreeSet<String>) -> Result<Vec<Archive>> {
        let mut print = self.command("apt-get");
        print.args(["download", "--print-uris"]).args(packages);
        let text = run_ok(&mut print, QUERY_TIMEOUT)
            .context("apt has no source for a package: run `apt-get update`")?;
        let mut archives = text.lines().map(Archive::from_line).collect::<Result<Vec<_>>>()?;
        archives.sort_by(|a, b| a.file.cmp(&b.file));
        if archives.is_empty() {
            bail!(
                "apt names no source for {}: run `apt-get update`",
                packages.iter().cloned().collect::<Vec<_>>().join(" ")
            );
        }
        Ok(archives)
    }

    /// Fetches those of `archives` that are not in `dir` yet, and removes what is not among them.
    pub(super) fn download(&self, archives: &[Archive], dir: &Path, note: &dyn Fn(&str)) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        for entry in dir.read_dir().with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
            let wanted = archives.iter().any(|a| entry.file_name() == a.file.as_str() && a.is_in(dir));
            if !wanted {
                fs::remove_file(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        let missing: Vec<&Archive> = archives.iter().filter(|archive| !archive.is_in(dir)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let megabytes = missing.iter().map(|archive| archive.bytes).sum::<u64>() / 1_000_000;
        note(&format!("downloading {} packages, {megabytes} MB", missing.len()));
        run_ok(
            // Root's apt downloads as another user, who may not write here.
            self.command("apt-get")
                .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
                .args(missing.iter().map(|archive| &archive.package))
                .current_dir(dir),
            DOWNLOAD_TIMEOUT,
        )
        .context("cannot download packages: run `apt-get update` if they were superseded")?;
        match archives.iter().find(|archive| !archive.is_in(dir)) {
            Some(archive) => bail!("apt-get did not leave {} of {} bytes", archive.file, archive.bytes),
            None => Ok(()),
        }
    }

    /// An apt program with the options of these sources.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // The output is read by a program.
        command.env("LC_ALL", "C");
        command.args(self.options.iter().flat_map(|option| ["-o", option.as_str()]));
        command
    }
}

/// Who depends on what in the output of `apt-cache depends`; of alternatives all, virtual packages left out.
fn dependencies(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut graph: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut package = "";
    for line in text.lines() {
        let field = line.trim_start_matches([' ', '|']);
        if field.len() == line.len() {
            package = line;
        } else if let Some(name) =
            field.strip_prefix("Depends: ").or_else(|| field.strip_prefix("PreDepends: "))
            && !name.starts_with('<')
        {
            graph.entry(package).or_default().push(name.split(':').next().unwrap_or(name));
        }
    }
    graph
}

/// Changes whenever apt's knowledge of packages does: its lists with sizes and times. `None` if there are none.
pub(super) fn lists_fingerprint() -> Option<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(LISTS).ok()? {
        let entry = entry.ok()?;
        let meta = entry.metadata().ok()?;
        if meta.is_file() {
            files.push(format!("{} {} {}\n", entry.file_name().to_string_lossy(), meta.len(), meta.mtime()));
        }
    }
    files.sort();
    (files.len() > 1).then(|| files.concat())
}

impl Archive {
    /// `'URI' FILE BYTES CHECKSUM`
    fn from_line(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace().skip(1);
        let (Some(file), Some(bytes), Some(checksum)) = (words.next(), words.next(), words.next()) else {
            bail!("`apt-get download --print-uris` printed `{line}`");
        };
        let package = file.split('_').next().unwrap_or(file);
        Ok(Self {
            package: package.to_owned(),
            file: file.to_owned(),
            bytes: bytes.parse().with_context(|| format!("size in `{line}`"))?,
            checksum: checksum.to_owned(),
        })
    }

    fn is_in(&self, dir: &Path) -> bool {
        fs::metadata(dir.join(&self.file)).is_ok_and(|meta| meta.len() == self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dependencies() {
        let text = "iperf3\n  Depends: libc6\n |Depends: debconf\n  Depends: <debconf-2.0>\n    cdebconf\n  \
                    PreDepends: libssl3:any\nlibssl3\n  Depends: libc6\n";
        let graph = dependencies(text);
        assert_eq!(graph["iperf3"], ["libc6", "debconf", "libssl3"]);
        assert_eq!(graph["libssl3"], ["libc6"]);
    }

    #[test]
    fn reads_sources() {
        let line = "'http://host/b_1%2b1_amd64.deb' busybox-static_1%3a1.35_amd64.deb 928188 SHA256:3d3f";
        let archive = Archive::from_line(line).unwrap();
        assert_eq!((archive.package.as_str(), archive.bytes), ("busybox-static", 928_188));
        assert!(Archive::from_line("E: no").is_err());
    }
}
