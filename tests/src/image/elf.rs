// SPDX-License-Identifier: MIT OR Apache-2.0
//! The little of ELF64 (little endian) that tells what a module or a program needs.

const SHT_STRTAB_LINK: usize = 40;
const DT_NEEDED: u64 = 1;

/// A section's bytes and the index of the section it links to.
#[derive(Clone, Copy)]
struct Section<'a> {
    bytes: &'a [u8],
    link: usize,
}

/// Whether these bytes begin an ELF file.
pub(super) fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF\x02\x01")
}

/// Sonames a program or library is linked to; empty for anything else.
pub(super) fn needed(file: &[u8]) -> Vec<String> {
    let Some(dynamic) = section(file, ".dynamic") else { return Vec::new() };
    let Some(names) = section_at(file, dynamic.link) else { return Vec::new() };
    dynamic
        .bytes
        .chunks_exact(16)
        .filter(|entry| number(entry, 0, 8) == Some(DT_NEEDED))
        .filter_map(|entry| text(names.bytes, usize::try_from(number(entry, 8, 8)?).ok()?))
        .collect()
}

/// A value of a kernel module's `.modinfo`, such as `depends`.
pub(super) fn modinfo(module: &[u8], key: &str) -> Option<String> {
    let info = section(module, ".modinfo")?;
    info.bytes
        .split(|&byte| byte == 0)
        .filter_map(|field| std::str::from_utf8(field).ok()?.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.to_owned())
}

fn section<'a>(file: &'a [u8], name: &str) -> Option<Section<'a>> {
    if !is_elf(file) {
        return None;
    }
    let count = usize::try_from(number(file, 60, 2)?).ok()?;
    let names = section_at(file, usize::try_from(number(file, 62, 2)?).ok()?)?;
    (0..count).find_map(|index| {
        let at = usize::try_from(number(header(file, index)?, 0, 4)?).ok()?;
        (text(names.bytes, at)? == name).then(|| section_at(file, index)).flatten()
    })
}

fn section_at(file: &[u8], index: usize) -> Option<Section<'_>> {
    let header = header(file, index)?;
    let offset = usize::try_from(number(header, 24, 8)?).ok()?;
    let size = usize::try_from(number(header, 32, 8)?).ok()?;
    let bytes = file.get(offset..offset.checked_add(size)?)?;
    Some(Section { bytes, link: usize::try_from(number(header, SHT_STRTAB_LINK, 4)?).ok()? })
}

fn header(file: &[u8], index: usize) -> Option<&[u8]> {
    let table = usize::try_from(number(file, 40, 8)?).ok()?;
    let size = usize::try_from(number(file, 58, 2)?).ok()?;
    let start = table.checked_add(index.checked_mul(size)?)?;
    file.get(start..start.checked_add(size)?)
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn text(table: &[u8], at: usize) -> Option<String> {
    let rest = table.get(at..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    String::from_utf8(rest.get(..end)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_very_program() {
        let program = std::fs::read("/proc/self/exe").unwrap();
        assert!(is_elf(&program));
        assert!(
            needed(&program).iter().any(|soname| soname.starts_with("libc.so")),
            "{:?}",
            needed(&program)
        );
        assert_eq!(modinfo(&program, "depends"), None);
    }

    #[test]
    fn cut_files_have_nothing() {
        let program = std::fs::read("/proc/self/exe").unwrap();
        for length in [0, 6, 63, 64, 200] {
            assert!(needed(&program[..length]).is_empty());
        }
    }
}
