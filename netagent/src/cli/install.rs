// SPDX-License-Identifier: MIT OR Apache-2.0
//! `install-cni`: puts this binary where the container runtime looks for CNI plugins, so that no caller ever finds half
//! a file.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Seek as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg, OFlag};

/// The name of the file; in a CNI configuration the plugin's `type`.
const PLUGIN: &str = "netagent";
/// Where the copy grows: in the same directory, since a rename does not cross file systems. Runtimes pass over it.
const GROWING: &str = ".netagent.new";

/// Copies `binary` into `directory`. Returns where it is.
///
/// A process that runs the old file keeps it: the new one takes over its name, not its content. Two installers at once
/// wait for each other, and one that was killed leaves a file that the next one uses.
pub(super) fn install(binary: &Path, directory: &Path) -> Result<PathBuf> {
    let target = directory.join(PLUGIN);
    let mut from = File::open(binary).with_context(|| format!("open {}", binary.display()))?;
    let growing = directory.join(GROWING);
    let mut to = claim(&growing).with_context(|| format!("write {}", growing.display()))?;
    let copied = copy(&mut from, &mut to).and_then(|()| fs::rename(&growing, &target));
    copied.with_context(|| format!("install {}", target.display()))?;
    // The rename itself must outlive a power cut.
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("sync {}", directory.display()))?;
    Ok(target)
}

/// The growing file, empty and ours alone.
fn claim(path: &Path) -> io::Result<Flock<File>> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o700)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)?;
        let file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        // Whoever had the lock before may have moved the file to where it belongs.
        let ours = fs::symlink_metadata(path)
            .is_ok_and(|there| file.metadata().is_ok_and(|here| is_same(&there, &here)));
        if ours {
            file.set_len(0)?;
            return Ok(file);
        }
    }
}

fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn copy(from: &mut File, to: &mut Flock<File>) -> io::Result<()> {
    to.rewind()?;
    io::copy(from, &mut **to)?;
    to.set_permissions(Permissions::from_mode(0o755))?;
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_file_is_replaced_whole_and_whoever_runs_it_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let (binary, plugins) = (dir.path().join("agent"), dir.path().join("bin"));
        fs::create_dir(&plugins).unwrap();
        fs::write(plugins.join(PLUGIN), "old").unwrap();
        let runs = File::open(plugins.join(PLUGIN)).unwrap();
        // What an installer left that was killed: longer than what comes.
        fs::write(plugins.join(GROWING), "x".repeat(1000)).unwrap();
        fs::write(&binary, "new").unwrap();
        assert_eq!(install(&binary, &plugins).unwrap(), plugins.join("netagent"));
        assert_eq!(fs::read_to_string(plugins.join(PLUGIN)).unwrap(), "new");
        assert_eq!(io::read_to_string(runs).unwrap(), "old");
        let mode = fs::metadata(plugins.join(PLUGIN)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        assert_eq!(fs::read_dir(&plugins).unwrap().count(), 1);
    }

    #[test]
    fn installers_at_once_leave_one_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let plugins = dir.path().join("bin");
        fs::create_dir(&plugins).unwrap();
        let contents: Vec<_> = ["a", "b", "c", "d"].map(|letter| letter.repeat(1 << 20)).into();
        std::thread::scope(|scope| {
            for (n, content) in contents.iter().enumerate() {
                let (binary, plugins) = (dir.path().join(format!("agent{n}")), &plugins);
                fs::write(&binary, content).unwrap();
                scope.spawn(move || (0..20).for_each(|_| drop(install(&binary, plugins).unwrap())));
            }
        });
        let found = fs::read_to_string(plugins.join(PLUGIN)).unwrap();
        assert!(contents.contains(&found), "{} bytes", found.len());
        assert_eq!(fs::read_dir(&plugins).unwrap().count(), 1);
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, "precious").unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join(GROWING)).unwrap();
        let error = install(Path::new("/proc/self/exe"), dir.path()).unwrap_err();
        assert!(format!("{error:#}").starts_with("write "), "{error:#}");
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
    }
}
