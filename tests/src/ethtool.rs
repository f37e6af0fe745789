// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a device leaves to itself, read and switched as `ethtool -k` and `-K` do (include/uapi/linux/ethtool.h).

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

use crate::netns::Netns;

const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
/// `ETH_SS_FEATURES`.
const FEATURE_NAMES: u32 = 4;
/// `ETH_GSTRING_LEN`.
const NAME: usize = 32;

mod ioctl {
    use nix::libc;

    // SIOCETHTOOL of include/uapi/linux/sockios.h.
    nix::ioctl_readwrite_bad!(ethtool, 0x8946, libc::ifreq);
}

/// Names of the features of a link that are on.
pub fn active(netns: &Netns, link: &str) -> Result<BTreeSet<String>> {
    netns.run_inside(|| active_here(link))?.with_context(|| format!("features of {link}"))
}

/// Switches features of a link. One that the kernel keeps as it is, is an error.
pub fn switch(netns: &Netns, link: &str, features: &[(&str, bool)]) -> Result<()> {
    netns.run_inside(|| switch_here(link, features))?.with_context(|| format!("features of {link}"))?;
    let active = active(netns, link)?;
    for (name, on) in features {
        if active.contains(*name) != *on {
            bail!("{link}: feature {name} did not become {on}");
        }
    }
    Ok(())
}

fn active_here(link: &str) -> Result<BTreeSet<String>> {
    let names = names(link)?;
    let blocks = names.len().div_ceil(32);
    let mut request = vec![0u32; 2 + 4 * blocks];
    request[..2].copy_from_slice(&[ETHTOOL_GFEATURES, u32::try_from(blocks)?]);
    ask(link, &mut request).context("ETHTOOL_GFEATURES")?;
    let is_on = |bit: usize| request[2 + bit / 32 * 4 + 2] >> (bit % 32) & 1 == 1;
    Ok(names.into_iter().enumerate().filter(|(bit, _)| is_on(*bit)).map(|(_, name)| name).collect())
}

fn switch_here(link: &str, features: &[(&str, bool)]) -> Result<()> {
    let names = names(link)?;
    let blocks = names.len().div_ceil(32);
    let mut request = vec![0u32; 2 + 2 * blocks];
    request[..2].copy_from_slice(&[ETHTOOL_SFEATURES, u32::try_from(blocks)?]);
    for (name, on) in features {
        let bit =
            names.iter().position(|n| n == name).with_context(|| format!("no feature is called {name}"))?;
        // { valid, requested }
        request[2 + bit / 32 * 2] |= 1 << (bit % 32);
        request[2 + bit / 32 * 2 + 1] |= u32::from(*on) << (bit % 32);
    }
    ask(link, &mut request).context("ETHTOOL_SFEATURES")
}

fn names(link: &str) -> Result<Vec<String>> {
    let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << FEATURE_NAMES, 0, 0];
    ask(link, &mut info).context("ETHTOOL_GSSET_INFO")?;
    let count = info[4];
    let mut strings = vec![0u32; 3 + count as usize * NAME / 4];
    strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, FEATURE_NAMES, count]);
    ask(link, &mut strings).context("ETHTOOL_GSTRINGS")?;
    let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let text = |name: &[u8]| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    Ok(bytes.chunks_exact(NAME).map(text).collect())
}

fn ask(link: &str, words: &mut [u32]) -> io::Result<()> {
    let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    #[expect(unsafe_code, reason = "libc gives no other way to an empty ifreq")]
    // SAFETY: all fields of ifreq are plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(link.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    #[expect(unsafe_code, reason = "the ioctl takes a pointer")]
    // SAFETY: the request points to the words, which outlive the call; each caller gives as many as its command writes.
    unsafe { ioctl::ethtool(socket.as_raw_fd(), &raw mut request) }?;
    Ok(())
}
