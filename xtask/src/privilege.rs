// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running a command as root: directly, or through sudo.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{IsTerminal as _, stdin},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow};

/// What goes through sudo besides the arguments.
const KEPT_VARIABLES: [&str; 9] = [
    "PATH",
    "HOME",
    "TERM",
    "NO_COLOR",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "CARGO_MANIFEST_DIR",
    "CARGO_TARGET_DIR",
    "CI",
];

/// How this process gets root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// It is root.
    Root,
    /// sudo answers without a password, or can ask for one on the terminal.
    Sudo,
}

impl Privilege {
    /// What this process has, or why it cannot become root.
    pub(crate) fn get() -> Result<Self, String> {
        if nix::unistd::geteuid().is_root() {
            return Ok(Self::Root);
        }
        if find_program("sudo").is_none() {
            return Err("not root, and there is no sudo".to_owned());
        }
        let without_password = Command::new("sudo")
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if without_password || stdin().is_terminal() {
            return Ok(Self::Sudo);
        }
        Err("not root, and sudo wants a password but there is no terminal to ask on".to_owned())
    }

    /// Makes sudo ask now, where nothing draws over its prompt.
    pub(crate) fn warm_up(self) -> Result<(), String> {
        match self {
            Self::Root => Ok(()),
            Self::Sudo => match Command::new("sudo").arg("-v").status() {
                Ok(status) if status.success() => Ok(()),
                Ok(_) => Err("sudo refused".to_owned()),
                Err(error) => Err(format!("cannot run sudo: {error}")),
            },
        }
    }

    /// `program` as root. `environment` is handed over explicitly: sudo clears its own. A user's `PATH` is given the
    /// system's programs, which root needs.
    pub(crate) fn command<'a>(
        self,
        program: impl AsRef<OsStr>,
        environment: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
    ) -> Command {
        let environment = environment.into_iter().map(|(variable, value)| match variable {
            "PATH" => (variable, with_system_programs(value)),
            _ => (variable, value.to_owned()),
        });
        match self {
            Self::Root => {
                let mut command = Command::new(program);
                command.envs(environment);
                command
            }
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.arg("env");
                for (variable, value) in environment {
                    let mut assignment = OsStr::new(variable).to_owned();
                    assignment.push("=");
                    assignment.push(value);
                    command.arg(assignment);
                }
                command.arg(program);
                command
            }
        }
    }

    /// What to write before a command line for people.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Sudo => "sudo ",
        }
    }
}

/// Goes on as root: here if this process is root, else by starting this very command again through sudo, with
/// `--prepared` and what was built. `purpose` says why root is needed.
pub(crate) fn become_root(purpose: &str, prepared: Option<&Path>) -> Result<()> {
    let privilege = Privilege::get().map_err(|reason| anyhow!("{purpose} and needs root: {reason}"))?;
    if privilege == Privilege::Root {
        return Ok(());
    }
    let kept: Vec<_> = KEPT_VARIABLES.iter().filter_map(|name| Some((*name, env::var_os(name)?))).collect();
    let program = env::current_exe().context("cannot find this program's file")?;
    let environment = kept.iter().map(|(name, value)| (*name, value.as_os_str()));
    let mut command = privilege.command(&program, environment);
    command.args(env::args_os().skip(1));
    if let Some(prepared) = prepared {
        command.args([OsStr::new("--prepared"), prepared.as_os_str()]);
    }
    Err(command.exec()).with_context(|| format!("cannot start {} through sudo", program.display()))
}

/// Where Debian keeps programs for root, left out of a user's `PATH`.
const SYSTEM_PROGRAMS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

fn with_system_programs(path: &OsStr) -> OsString {
    SYSTEM_PROGRAMS.iter().fold(path.to_owned(), |mut path, folder| {
        path.push(":");
        path.push(folder);
        path
    })
}

/// `name` on `PATH` or among the system's programs, which Debian leaves out of a user's `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(SYSTEM_PROGRAMS.map(PathBuf::from)).map(|dir| dir.join(name)).find(|file| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_finds_its_programs_by_a_user_s_path() {
        let command = Privilege::Sudo.command("true", [("PATH", OsStr::new("/usr/bin:/bin"))]);
        let words: Vec<_> = command.get_args().collect();
        assert_eq!(words, ["env", "PATH=/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "true"]);
    }
}
