// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernels of other series than the guest's, from packages: resolved, fetched and kept as an image and its modules.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{
    apt::Apt, cpio, cpio::Node, kernel::Kernel, own_like, require_debian, suites, unpack, workspace, write,
};

/// The flavour without drivers for real hardware, and the only one that is small.
const PREFIX: &str = "linux-image-";
const SUFFIX: &str = "-cloud-amd64";
/// From 6.19 on the package `linux-image-V` is empty, and these have the image, the modules and their lists.
const PARTS: [&str; 3] = ["linux-base-", "linux-binary-", "linux-modules-"];
/// What netagent works with. A kernel without one of them cannot be tested.
const NEEDED_MODULES: [&str; 5] = ["af_packet", "cls_bpf", "sch_ingress", "tun", "veth"];
/// What the tests put beside it, as a pod or a node may have it. Not every series has all.
const USEFUL_MODULES: [&str; 19] = [
    "8021q",
    "act_gact",
    "act_mirred",
    "bridge",
    "cls_flower",
    "cls_matchall",
    "cls_u32",
    "dummy",
    "ipvlan",
    "macvlan",
    "macvtap",
    "nf_tables",
    "nft_counter",
    "nft_ct",
    "sch_fq",
    "sch_htb",
    "sch_netem",
    "sch_tbf",
    "vxlan",
];
/// Raise it when what is kept of a kernel changes.
const RECIPE: u32 = 1;

/// Which kernel somebody means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Series {
    /// The highest version to be had.
    Newest,
    /// The highest version of a series such as `6.12`.
    Of(Vec<u32>),
}

impl FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "newest" {
            return Ok(Self::Newest);
        }
        let numbers = text.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok();
        match numbers {
            Some(numbers) if (2..=3).contains(&numbers.len()) => Ok(Self::Of(numbers)),
            _ => bail!("`{text}` is no kernel series: expected `newest` or one such as `6.12`"),
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.pad("newest"),
            Self::Of(numbers) => {
                f.pad(&numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
            }
        }
    }
}

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct KernelImage {
    dir: PathBuf,
    version: String,
}

impl KernelImage {
    /// Uncompressed kernel; QEMU enters it through PVH.
    pub fn vmlinux(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// An initramfs with modules only, below `usr/lib/modules`, and `order`, the list in which to load them. To be put
    /// behind one with programs.
    pub fn modules(&self) -> PathBuf {
        self.dir.join("modules.cpio")
    }

    /// As `uname -r` shows it.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// The kernels in the workspace's cache, and the package lists that lead to others.
#[derive(Debug)]
pub struct Kernels {
    cache: PathBuf,
    workspace: PathBuf,
    apt: Apt,
    // Two runs at once: the second waits and finds it done.
    _lock: File,
}

impl Kernels {
    /// Opens the cache; reads package lists where they are missing or old. Waits for others that use it.
    pub fn open(note: &dyn Fn(&str)) -> Result<Self> {
        require_debian()?;
        let workspace = workspace()?;
        let cache = workspace.join(".cache/kernels");
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let lock = cache.join("lock");
        let lock = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        lock.lock().context("cannot lock the cache of kernels")?;
        let apt = suites::open(&cache.join("apt"), &suites::KERNELS, note)?;
        Ok(Self { cache, workspace, apt, _lock: lock })
    }

    /// The kernel, from the cache or fetched.
    pub fn get(&self, series: &Series, note: &dyn Fn(&str)) -> Result<KernelImage> {
        let names = self.apt.names(PREFIX)?;
        let package = newest(series, &names).ok_or_else(|| {
            anyhow!("no package of a kernel {series} can be had; there are {}", offered(&names))
        })?;
        let version = package.strip_prefix(PREFIX).unwrap_or(package).to_owned();
        let image = KernelImage { dir: self.cache.join(&version), version };
        let packages =
            self.apt.closure(&[package], |name| PARTS.iter().any(|part| name.starts_with(part)))?;
        let archives = self.apt.archives(&packages)?;
        let lines = archives.iter().map(|archive| format!("{} {}\n", archive.file, archive.checksum));
        let manifest = format!("recipe {RECIPE}\n{}", lines.collect::<String>());
        if fs::read_to_string(image.dir.join("manifest")).ok().as_ref() != Some(&manifest) {
            self.build(&image, &archives, &manifest, note)
                .with_context(|| format!("cannot prepare kernel {}", image.version))?;
        }
        Ok(image)
    }

    fn build(
        &self,
        image: &KernelImage,
        archives: &[super::apt::Archive],
        manifest: &str,
        note: &dyn Fn(&str),
    ) -> Result<()> {
        // The packages are many times larger than what is kept of them: they go with this folder.
        let work = tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(&self.cache)
            .context("cannot make a folder")?;
        let (debs, unpacked, new) =
            (work.path().join("debs"), work.path().join("unpacked"), work.path().join("image"));
        self.apt.download(archives, &debs, note)?;
        unpack(archives, &debs, &unpacked, note)?;
        let kernel = Kernel::find(&unpacked)?;
        if kernel.version() != image.version {
            bail!("the package has kernel {}", kernel.version());
        }
        fs::create_dir(&new).with_context(|| format!("cannot make {}", new.display()))?;
        write(&new.join("vmlinux"), &kernel.vmlinux()?)?;
        write(&new.join("modules.cpio"), &modules(&kernel)?)?;
        write(&new.join("manifest"), manifest.as_bytes())?;
        if image.dir.exists() {
            fs::remove_dir_all(&image.dir)
                .with_context(|| format!("cannot remove {}", image.dir.display()))?;
        }
        fs::rename(&new, &image.dir).with_context(|| format!("cannot make {}", image.dir.display()))?;
        drop(work);
        own_like(&self.workspace, &self.cache)
    }

    /// The folder, for other things that are made of the same packages.
    pub(super) fn folder(&self) -> &Path {
        &self.cache
    }

    pub(super) fn apt(&self) -> &Apt {
        &self.apt
    }

    pub(super) fn workspace(&self) -> &Path {
        &self.workspace
    }
}

fn modules(kernel: &Kernel) -> Result<Vec<u8>> {
    if let Some(missing) = NEEDED_MODULES.into_iter().find(|module| !kernel.has(module)) {
        bail!("kernel {} has no {missing}", kernel.version());
    }
    let useful = USEFUL_MODULES.into_iter().filter(|module| kernel.has(module));
    let mut entries = BTreeMap::new();
    for dir in ["usr", "usr/lib", "usr/lib/modules"] {
        entries.insert(dir.to_owned(), Node::Dir);
    }
    let mut order = String::new();
    for (file, bytes) in kernel.modules(NEEDED_MODULES.into_iter().chain(useful))? {
        order.push_str(&file);
        order.push('\n');
        entries.insert(format!("usr/lib/modules/{file}"), Node::File { mode: 0o644, bytes });
    }
    entries.insert("usr/lib/modules/order".to_owned(), Node::File { mode: 0o644, bytes: order.into_bytes() });
    Ok(cpio::pack(&entries))
}

/// The package of the highest version that is of the series.
fn newest<'a>(series: &Series, packages: &'a [String]) -> Option<&'a str> {
    packages
        .iter()
        .filter_map(|package| Some((numbers(package)?, package.as_str())))
        .filter(|(numbers, _)| match series {
            Series::Newest => true,
            Series::Of(series) => numbers.starts_with(series),
        })
        .max()
        .map(|(_, package)| package)
}

/// Every number of the version in a package's name; None for packages that only point to others, and other flavours.
fn numbers(package: &str) -> Option<Vec<u32>> {
    let version = package.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    if !version.starts_with(|first: char| first.is_ascii_digit()) || version.matches('.').count() < 2 {
        return None;
    }
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|n| n.parse().ok())
        .collect()
}

fn offered(packages: &[String]) -> String {
    let mut series: Vec<_> =
        packages.iter().filter_map(|package| numbers(package)?.get(..2).map(<[u32]>::to_vec)).collect();
    series.sort();
    series.dedup();
    series.into_iter().map(|one| Series::Of(one).to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages() -> Vec<String> {
        [
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-rt-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64-dbg",
            "linux-image-cloud-amd64",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    #[test]
    fn the_highest_version_of_a_series_is_taken() {
        let packages = packages();
        let of = |series: &str| newest(&series.parse().unwrap(), &packages);
        assert_eq!(of("6.1"), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(of("6.12"), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(of("newest"), Some("linux-image-7.3.4+deb13-cloud-amd64"));
        assert_eq!(of("5.15"), None);
        assert_eq!(offered(&packages), "6.1, 6.12, 7.3");
    }

    #[test]
    fn other_words_are_no_series() {
        for text in ["", "6", "oldest", "6.x", "6.1.2.3"] {
            assert!(text.parse::<Series>().is_err(), "{text}");
        }
    }
}
