// SPDX-License-Identifier: MIT OR Apache-2.0
//! The image of pods' sandboxes, without a registry: a program that waits for its end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::process::run_ok;

/// Its name.
pub(super) const IMAGE: &str = "localhost/netagent-test-pause:1";

const SOURCE: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";
const TIMEOUT: Duration = Duration::from_secs(60);

/// An archive of it as `docker save` writes one, in `dir`.
pub(super) fn archive(dir: &Path) -> Result<PathBuf> {
    let work = dir.join("pause");
    let files = work.join("files");
    fs::create_dir_all(&files).with_context(|| format!("cannot make {}", files.display()))?;
    let write = |name: &str, text: &str| {
        let file = work.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    let run = |command: &mut Command| run_ok(command.current_dir(&work), TIMEOUT);
    write("pause.c", SOURCE)?;
    // Static: there is nothing else in the image.
    run(Command::new("cc").args(["-static", "-Os", "-s", "-o", "files/pause", "pause.c"]))?;
    run(Command::new("tar").args([
        "--numeric-owner",
        "--owner=0",
        "--group=0",
        "-C",
        "files",
        "-cf",
        "layer.tar",
        "pause",
    ]))?;
    let sum = run(Command::new("sha256sum").arg("layer.tar"))?;
    let layer = sum.split_whitespace().next().unwrap_or_default();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = serde_json::json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Entrypoint": ["/pause"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
    });
    let manifest =
        serde_json::json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]);
    write("config.json", &config.to_string())?;
    write("manifest.json", &manifest.to_string())?;
    run(Command::new("tar").args(["-cf", "pause.tar", "manifest.json", "config.json", "layer.tar"]))?;
    Ok(work.join("pause.tar"))
}
