// SPDX-License-Identifier: MIT OR Apache-2.0
//! The archive format of an initramfs ("newc", Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeMap;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File { mode: u32, bytes: Vec<u8> },
    Symlink { target: String },
}

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// Packs the tree; paths have no leading slash. Sorted order puts every folder before its contents.
pub(super) fn pack(entries: &BTreeMap<String, Node>) -> Vec<u8> {
    let mut archive = Vec::new();
    for (inode, (path, node)) in (1u32..).zip(entries) {
        let (mode, data): (u32, &[u8]) = match node {
            Node::Dir => (S_IFDIR | 0o755, &[]),
            Node::File { mode, bytes } => (S_IFREG | mode, bytes),
            Node::Symlink { target } => (S_IFLNK | 0o777, target.as_bytes()),
        };
        entry(&mut archive, inode, mode, path, data);
    }
    entry(&mut archive, 0, 0, "TRAILER!!!", &[]);
    archive
}

fn entry(archive: &mut Vec<u8>, inode: u32, mode: u32, path: &str, data: &[u8]) {
    // uid, gid, nlink, mtime; then size, device numbers of the file system and of the node, name length, checksum.
    let fields = [inode, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, 0, 0, path.len() as u32 + 1, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    archive.extend_from_slice(path.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(data);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_padding_are_where_the_kernel_looks() {
        let file = Node::File { mode: 0o755, bytes: b"hello".to_vec() };
        let archive = pack(&BTreeMap::from([("init".to_owned(), file)]));
        assert_eq!(&archive[..6], b"070701");
        assert_eq!(&archive[14..22], b"000081ED", "mode");
        assert_eq!(&archive[54..62], b"00000005", "size");
        assert_eq!(&archive[94..102], b"00000005", "length of the name with its end");
        // 110 bytes of header and 5 of name make 115: one byte of padding.
        assert_eq!(&archive[110..121], b"init\0\0hello");
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(&archive[124..130], b"070701", "the trailer is aligned");
    }
}
