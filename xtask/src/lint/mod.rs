// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask lint`: the rules of the house that no compiler checks.

mod form;
mod layering;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Something against a rule.
struct Finding {
    line: usize,
    severity: Severity,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Warning,
    Error,
}

/// `cargo xtask lint`.
pub(crate) fn run() -> Result<ExitCode> {
    let root = workspace::root();
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    if files.is_empty() {
        bail!("no source files below {}", root.display());
    }
    let mut errors = 0;
    for file in &files {
        let path = file.strip_prefix(&root).unwrap_or(file).to_string_lossy().into_owned();
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {path}"))?;
        for Finding { line, severity, message } in findings(&path, &text) {
            let word = match severity {
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            errors += usize::from(severity == Severity::Error);
            println!("{path}:{line}: {word}: {message}");
        }
    }
    println!("{} files, {errors} errors", files.len());
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn findings(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = form::check(path, text);
    // A module of tests in a file of its own is as free as one in braces.
    if let Some(module) = path.strip_prefix("netagent/src/").filter(|module| !module.ends_with("tests.rs")) {
        findings.extend(layering::check(module, text));
    }
    findings
}

/// The .rs files below `dir`, build output and hidden folders left out.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let kind = entry.file_type().with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, files)?;
        } else if kind.is_file() && name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}
