// SPDX-License-Identifier: MIT OR Apache-2.0
//! How netagent's objects are named and recognised: the one place that makes and knows these names.
//!
//! The rule is lopsided on purpose: an object that does not carry our name is never touched, even if that leaks one
//! of ours.

use super::{ids::PortId, program::Program};

/// Directory of all pins below the BPF filesystem.
pub const PIN_ROOT: &str = "netagent";

const PORTS_MAP: &str = "PORTS-v";
const RULES_MAP: &str = "RULES-v";

/// Priority of our cls_bpf filters; part of what tells them from others'.
pub const FILTER_PRIORITY: u16 = 0x4e41;
/// Handle of our cls_bpf filters.
pub const FILTER_HANDLE: u32 = 1;

/// Name of the pin of the map with the ports' settings, below [`PIN_ROOT`]: each version of its layout has its own.
pub fn ports_map(abi: u32) -> String {
    format!("{PORTS_MAP}{abi}")
}

/// Name of the pin of the map with the programs that all ports of a version share: they read its settings.
pub fn rules_map(abi: u32) -> String {
    format!("{RULES_MAP}{abi}")
}

/// The version in the name of a pin that holds ports' settings; `None` for any other name.
pub fn ports_map_version(name: &str) -> Option<u32> {
    let abi = name.strip_prefix(PORTS_MAP)?.parse().ok()?;
    // `PORTS-v+1` and `PORTS-v01` are numbers, but not names that we make.
    (ports_map(abi) == name).then_some(abi)
}

/// Name of a port's tcx link pin, below the directory of the port.
pub fn link_pin(program: Program) -> &'static str {
    program.symbol()
}

/// `IFLA_IFALIAS` of a tap that netagent made for a port; `ip link` shows it.
pub fn tap_alias(port: &PortId) -> String {
    format!("netagent {port}")
}

/// Name of a port's directory of pins. A BPF filesystem takes no dot, which an interface name may have (eth0.100); it
/// is written as `%`, which none may have.
pub fn port_directory(port: &PortId) -> String {
    port.to_string().replace('.', "%")
}

/// The port of a directory of pins; `None` for a name that is not ours.
pub fn port_of_directory(name: &str) -> Option<PortId> {
    name.replace('%', ".").parse().ok()
}

/// Whether a tap with this alias is the port's.
pub fn is_tap_of(port: &PortId, alias: Option<&str>) -> bool {
    alias == Some(tap_alias(port).as_str())
}

/// Whether a cls_bpf filter is our `program`.
pub fn is_filter_of(program: Program, priority: u16, handle: u32, name: &str) -> bool {
    priority == FILTER_PRIORITY && handle == FILTER_HANDLE && name == program.symbol()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_s_directory_has_no_dot_and_leads_back() {
        let port: PortId = "4026532281-eth0.100".parse().unwrap();
        assert_eq!(port_directory(&port), "4026532281-eth0%100");
        assert_eq!(port_of_directory(&port_directory(&port)), Some(port));
        assert_eq!(port_of_directory("PORTS"), None);
    }

    #[test]
    fn only_names_that_we_make_are_maps_of_ports() {
        assert_eq!(ports_map_version(&ports_map(7)), Some(7));
        for other in ["PORTS", "PORTS-v", "PORTS-v01", "PORTS-v+1", "PORTS-v7x", "ports"] {
            assert_eq!(ports_map_version(other), None, "{other}");
        }
    }
}
