// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel of an unpacked package: the uncompressed image, and modules in loading order.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::elf;

/// Documentation/arch/x86/boot.rst: offsets in the setup header of a bzImage.
const SETUP_SECTS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

/// A kernel and its modules below a folder.
#[derive(Debug)]
pub(super) struct Kernel {
    image: PathBuf,
    version: String,
    /// Module name with `_` for `-`, and its file.
    files: BTreeMap<String, PathBuf>,
    builtin: Vec<String>,
}

impl Kernel {
    /// The one kernel below `root`.
    pub(super) fn find(root: &Path) -> Result<Self> {
        let (version, modules) = ["lib/modules", "usr/lib/modules"]
            .into_iter()
            .filter_map(|dir| list(&root.join(dir)).ok()?.into_iter().find(|path| path.is_dir()))
            .map(|dir| (file_name(&dir).to_owned(), dir))
            .next()
            .ok_or_else(|| anyhow!("no modules of a kernel in {}", root.display()))?;
        // The split packages from 6.19 on have the image beside the modules.
        let image = [root.join(format!("boot/vmlinuz-{version}")), modules.join("vmlinuz")]
            .into_iter()
            .find(|file| file.is_file())
            .ok_or_else(|| anyhow!("no image of kernel {version} in {}", root.display()))?;
        let builtin_list = modules.join("modules.builtin");
        let builtin = fs::read_to_string(&builtin_list)
            .with_context(|| format!("cannot read {}", builtin_list.display()))?
            .lines()
            .map(|line| module_name(Path::new(line)))
            .collect();
        let mut files = BTreeMap::new();
        let mut dirs = vec![modules];
        while let Some(dir) = dirs.pop() {
            for path in list(&dir)? {
                if path.is_dir() {
                    dirs.push(path);
                } else if file_name(&path).contains(".ko") {
                    files.insert(module_name(&path), path);
                }
            }
        }
        Ok(Self { image, version, files, builtin })
    }

    /// As `uname -r` shows it.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The ELF kernel inside the bzImage.
    pub(super) fn vmlinux(&self) -> Result<Vec<u8>> {
        let image = fs::read(&self.image).with_context(|| format!("cannot read {}", self.image.display()))?;
        let payload = payload(&image)
            .ok_or_else(|| anyhow!("{} is not a bzImage with a payload", self.image.display()))?;
        let program = match payload {
            [0x02, 0x21, 0x4c, 0x18, ..] => "lz4",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
            [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
            [0x1f, 0x8b, ..] => "gzip",
            _ => bail!("{} is compressed in an unknown way", self.image.display()),
        };
        // The build appends the uncompressed size, four bytes, to all formats that do not carry it (not gzip).
        let packed = if program == "gzip" {
            payload
        } else {
            payload.get(..payload.len().saturating_sub(4)).unwrap_or_default()
        };
        let kernel = decompress(program, packed)?;
        if !elf::is_elf(&kernel) {
            bail!("the payload of {} is not an ELF kernel", self.image.display());
        }
        Ok(kernel)
    }

    /// Whether the kernel has the module, as a file or built in.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.builtin.iter().any(|builtin| builtin == name)
    }

    /// File names and contents of the wanted modules and all they depend on, each after its dependencies.
    pub(super) fn modules<'a>(
        &self,
        wanted: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let mut ordered = Vec::new();
        for name in wanted {
            self.add(name, &mut ordered)?;
        }
        Ok(ordered)
    }

    fn add(&self, name: &str, ordered: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
        let file = format!("{name}.ko");
        if ordered.iter().any(|(known, _)| *known == file)
            || self.builtin.iter().any(|builtin| builtin == name)
        {
            return Ok(());
        }
        let path =
            self.files.get(name).ok_or_else(|| anyhow!("kernel {} has no module {name}", self.version))?;
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let bytes = match path.extension().and_then(|e| e.to_str()) {
            Some("xz") => decompress("xz", &bytes)?,
            Some("zst") => decompress("zstd", &bytes)?,
            _ => bytes,
        };
        let depends =
            elf::modinfo(&bytes, "depends").ok_or_else(|| anyhow!("{} is no module", path.display()))?;
        for dependency in depends.split(',').filter(|dependency| !dependency.is_empty()) {
            self.add(&dependency.replace('-', "_"), ordered)?;
        }
        ordered.push((file, bytes));
        Ok(())
    }
}

/// The compressed kernel in a bzImage.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let setup_sectors = usize::from(*image.get(SETUP_SECTS)?);
    let field = |at: usize| Some(u32::from_le_bytes(*image.get(at..)?.first_chunk()?) as usize);
    let start = (setup_sectors + 1).checked_mul(SECTOR)?.checked_add(field(PAYLOAD_OFFSET)?)?;
    image.get(start..start.checked_add(field(PAYLOAD_LENGTH)?)?)
}

/// Pipes `packed` through `PROGRAM -dc`.
fn decompress(program: &str, packed: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new(program)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}: install it to unpack the kernel"))?;
    let mut stdin = child.stdin.take().ok_or_else(|| anyhow!("{program} has no stdin"))?;
    let done = thread::scope(|scope| {
        // A program that gives up early says why on stderr.
        scope.spawn(move || stdin.write_all(packed).ok());
        child.wait_with_output()
    })
    .with_context(|| format!("cannot run {program}"))?;
    if !done.status.success() {
        bail!("{program} cannot unpack the kernel: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(done.stdout)
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(dir)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
        })
        .with_context(|| format!("cannot list {}", dir.display()))?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn module_name(path: &Path) -> String {
    file_name(path).split('.').next().unwrap_or_default().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_payload_by_the_boot_protocol() {
        let mut image = vec![0u8; 4 * SECTOR];
        image[SETUP_SECTS] = 1;
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&16u32.to_le_bytes());
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&3u32.to_le_bytes());
        image[2 * SECTOR + 16..2 * SECTOR + 19].copy_from_slice(b"abc");
        assert_eq!(payload(&image), Some(&b"abc"[..]));
        assert_eq!(payload(&image[..2 * SECTOR + 17]), None);
        assert_eq!(payload(b"MZ"), None);
    }

    #[test]
    fn module_names_are_the_kernels() {
        assert_eq!(module_name(Path::new("kernel/drivers/net/virtio-net.ko.xz")), "virtio_net");
    }
}
