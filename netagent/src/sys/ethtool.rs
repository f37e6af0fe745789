// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a device does by itself and how many queues it has: ethtool's ioctls (include/uapi/linux/ethtool.h), answered in
//! the calling thread's network namespace. Its netlink family cannot be asked about another namespace either.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::core::ids::IfName;

/// `SIOCETHTOOL` of include/uapi/linux/sockios.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// `ETH_SS_FEATURES`: the set of strings that names features, one string per bit.
const FEATURE_NAMES: u32 = 4;
/// `ETH_GSTRING_LEN`.
const NAME: usize = 32;
/// More than any kernel has; their number decides how much is allocated.
const MOST_FEATURES: u32 = 1024;

nix::ioctl_readwrite_bad!(
    /// One ethtool command, whose data `ifr_data` points to.
    ethtool,
    SIOCETHTOOL,
    libc::ifreq
);

/// How many queues a device uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    /// For receiving.
    pub rx: u32,
    /// For sending.
    pub tx: u32,
}

/// Names of the features of a device that are on, as in `ethtool -k`.
///
/// # Errors
/// When there is no such device.
pub fn active_features(name: &IfName) -> io::Result<BTreeSet<String>> {
    let device = Device::open(name)?;
    let names = device.feature_names()?;
    let blocks = names.len().div_ceil(32);
    // { cmd, size, size × { available, requested, active, never_changed } }
    let mut request = vec![0u32; 2 + 4 * blocks];
    request[0] = ETHTOOL_GFEATURES;
    request[1] = blocks as u32;
    device.ask(&mut request)?;
    let active: Vec<u32> = request.get(2..).unwrap_or_default().chunks_exact(4).map(|b| b[2]).collect();
    let is_on = |bit: usize| active.get(bit / 32).is_some_and(|block| block >> (bit % 32) & 1 == 1);
    Ok(names.into_iter().enumerate().filter(|(bit, _)| is_on(*bit)).map(|(_, name)| name).collect())
}

/// The queues of a device; `None` when its driver does not tell, as that of veth before 5.13.
///
/// # Errors
/// When there is no such device.
pub fn queues(name: &IfName) -> io::Result<Option<Queues>> {
    // { cmd, 4 × the most there can be, then those in use: rx, tx, other, combined }
    let mut request = [0u32; 9];
    request[0] = ETHTOOL_GCHANNELS;
    match Device::open(name)?.ask(&mut request) {
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        Err(e) => Err(e),
        Ok(()) => {
            let [_, _, _, _, _, rx, tx, _, combined] = request;
            Ok(Some(Queues { rx: rx.saturating_add(combined), tx: tx.saturating_add(combined) }))
        }
    }
}

struct Device {
    socket: OwnedFd,
    request: libc::ifreq,
}

impl Device {
    fn open(name: &IfName) -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        // SAFETY: all fields of ifreq are plain data, for which zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
            *to = from.cast_signed();
        }
        Ok(Self { socket, request })
    }

    /// Sends a command in words; the answer takes its place.
    fn ask(&self, words: &mut [u32]) -> io::Result<()> {
        let mut request = self.request;
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the request names a device and points to the words, which outlive the call; each caller gives as many
        // as its command writes.
        unsafe { ethtool(self.socket.as_raw_fd(), &raw mut request) }?;
        Ok(())
    }

    fn feature_names(&self) -> io::Result<Vec<String>> {
        // { cmd, reserved, mask of sets (64 bits), one count per set that is there }
        let mut info = [ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
        let mask = (1u64 << FEATURE_NAMES).to_ne_bytes();
        let [a, b, c, d, e, f, g, h] = mask;
        info[2] = u32::from_ne_bytes([a, b, c, d]);
        info[3] = u32::from_ne_bytes([e, f, g, h]);
        self.ask(&mut info)?;
        let count = info[4].min(MOST_FEATURES);
        // { cmd, set, count, count × 32 bytes }
        let mut strings = vec![0u32; 3 + count as usize * NAME / 4];
        strings[0] = ETHTOOL_GSTRINGS;
        strings[1] = FEATURE_NAMES;
        strings[2] = count;
        self.ask(&mut strings)?;
        let bytes: Vec<u8> =
            strings.get(3..).unwrap_or_default().iter().flat_map(|word| word.to_ne_bytes()).collect();
        Ok(bytes.chunks_exact(NAME).map(text).collect())
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_link_has_its_features() {
        let on = active_features(&"lo".parse().unwrap()).unwrap();
        assert!(on.contains("loopback") && !on.contains("tx-vlan-hw-insert"), "{on:?}");
        assert_eq!(queues(&"lo".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn no_device_is_an_error() {
        let missing = "not-there".parse().unwrap();
        assert_eq!(active_features(&missing).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(queues(&missing).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
