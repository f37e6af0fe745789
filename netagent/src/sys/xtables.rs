// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tables of legacy iptables and ip6tables, read without loading or making one.

use std::{
    fmt, fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// `IPT_SO_GET_INFO` and `IP6T_SO_GET_INFO` of include/uapi/linux/netfilter_{ipv4,ipv6}: one number.
const GET_INFO: libc::c_int = 64;
const NAME: usize = 32;

/// `struct ipt_getinfo`, which is `struct ip6t_getinfo` too.
#[repr(C)]
#[derive(Clone, Copy)]
struct Extent {
    name: [u8; NAME],
    valid_hooks: u32,
    hook_entry: [u32; 5],
    underflow: [u32; 5],
    num_entries: u32,
    size: u32,
}

/// A table with rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `iptables` or `ip6tables`.
    program: &'static str,
    /// As in `nat`.
    name: String,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} table {}", self.program, self.name)
    }
}

/// The tables of the calling thread's namespace that have rules or chains of their own. A policy alone is not seen.
///
/// # Errors
/// When they cannot be read.
pub fn tables_here() -> io::Result<Vec<Table>> {
    let families = [
        ("iptables", "ip_tables_names", libc::AF_INET, libc::IPPROTO_IP),
        ("ip6tables", "ip6_tables_names", libc::AF_INET6, libc::IPPROTO_IPV6),
    ];
    let mut tables = Vec::new();
    for (program, names, family, level) in families {
        let names = match fs::read_to_string(format!("/proc/thread-self/net/{names}")) {
            Ok(names) => names,
            // The kernel has no such tables, or has not loaded them.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for name in names.lines() {
            if has_rules(&info(name, family, level)?) {
                tables.push(Table { program, name: name.to_owned() });
            }
        }
    }
    Ok(tables)
}

/// An empty table has its policy for each hook, and the entry that ends it.
fn has_rules(info: &Extent) -> bool {
    info.num_entries > info.valid_hooks.count_ones() + 1
}

fn info(table: &str, family: libc::c_int, level: libc::c_int) -> io::Result<Extent> {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all fields of Extent are plain data, for which zero is a value.
    let mut info: Extent = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    for (to, from) in info.name.iter_mut().take(NAME - 1).zip(table.bytes()) {
        *to = from;
    }
    let mut length = size_of::<Extent>() as libc::socklen_t;
    // SAFETY: `info` has room for `length` bytes, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, GET_INFO, (&raw mut info).cast(), &raw mut length)
    };
    if result == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_has_no_rules() {
        // SAFETY: all fields of Extent are plain data, for which zero is a value.
        let mut filter: Extent = unsafe { std::mem::zeroed() };
        (filter.valid_hooks, filter.num_entries) = (0b1110, 4);
        assert!(!has_rules(&filter));
        filter.num_entries = 5;
        assert!(has_rules(&filter));
    }

    #[test]
    fn the_layout_is_the_kernel_s() {
        assert_eq!(size_of::<Extent>(), 84);
    }
}
