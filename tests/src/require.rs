// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a tier needs of the machine, and a panic that names what is missing: a tier runs only when it is asked for.

use std::{env, fs::OpenOptions, path::PathBuf};

use crate::agent::Version;

/// Something a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Effective user id 0.
    Root,
    /// `/dev/net/tun` can be opened.
    Tun,
    /// The kernel knows the file system type `bpf`.
    BpfFs,
    /// `qemu-system-x86_64` is installed.
    Qemu,
    /// A program on `PATH` or in the system's sbin folders, and the Debian package that has it.
    Program(&'static str, &'static str),
    /// A file that no `PATH` leads to, and the Debian package that has it.
    File(&'static str, &'static str),
    /// `NETAGENT_BIN` names the agent's binary.
    Agent,
    /// `NETAGENT_NEXT_BIN` and `NETAGENT_NEXT_PROGRAMS_BIN` name the binaries of other versions.
    OtherAgents,
}

/// What is missing of `needs`, each in words with the remedy. Empty: all there.
pub fn missing(needs: &[Need]) -> Vec<String> {
    needs.iter().filter_map(|need| need.missing()).collect()
}

/// Panics with everything that is missing: `require!(Need::Root, Need::Tun)`.
#[macro_export]
macro_rules! require {
    ($($need:expr),+ $(,)?) => {
        let missing = $crate::require::missing(&[$($need),+]);
        assert!(missing.is_empty(), "this test cannot run here: {}", missing.join("; "));
    };
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Self::Root => (!nix::unistd::geteuid().is_root())
                .then(|| "not root: run it as root or through sudo".to_owned()),
            Self::Tun => {
                let error = OpenOptions::new().read(true).write(true).open("/dev/net/tun").err()?;
                Some(format!("cannot open /dev/net/tun ({error}): load the module `tun`"))
            }
            Self::BpfFs => {
                let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
                (!known.split_whitespace().any(|word| word == "bpf"))
                    .then(|| "the kernel has no bpf file system: CONFIG_BPF_SYSCALL is off".to_owned())
            }
            Self::Qemu => Self::Program("qemu-system-x86_64", "qemu-system-x86").missing(),
            Self::Program(program, package) => find_program(program)
                .is_none()
                .then(|| format!("{program} is not installed: install the package {package}")),
            Self::File(file, package) => (!std::path::Path::new(file).exists())
                .then(|| format!("{file} is not there: install the package {package}")),
            Self::Agent => lacks(&[Version::This]),
            Self::OtherAgents => lacks(&[Version::Next, Version::NextPrograms]),
        }
    }
}

fn lacks(versions: &[Version]) -> Option<String> {
    let errors = versions.iter().filter_map(|version| version.binary().err());
    errors.map(|error| format!("{error:#}")).reduce(|all, one| format!("{all}; {one}"))
}

/// Where `program` is: `PATH` first, then the folders that Debian leaves out of a user's `PATH`.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_program_and_package() {
        assert_eq!(missing(&[Need::Program("sh", "dash")]), Vec::<String>::new());
        assert_eq!(
            missing(&[Need::Program("no-such-program", "no-such-package")]),
            ["no-such-program is not installed: install the package no-such-package"]
        );
    }
}
