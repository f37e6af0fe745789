// SPDX-License-Identifier: MIT OR Apache-2.0
//! The figures in a Markdown page: the text around them is written by people and stays.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use super::Report;

const BEGIN: &str = "<!-- figures of `cargo xtask bench --page`: begin -->";
const END: &str = "<!-- figures: end -->";

/// Puts the figures between the two marks in `path`.
pub(in crate::bench) fn write(path: &Path, report: &Report) -> Result<()> {
    let page = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let page = replaced(&page, &figures(report)).with_context(|| path.display().to_string())?;
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn figures(report: &Report) -> String {
    let mut text = format!("Measured: {}; hook {}.\n", report.machine.line(), report.hook);
    text.push_str(&list(report.doubts()));
    for section in &report.sections {
        text.push_str(&format!("\n### {}\n", section.title));
        for table in &section.tables {
            text.push_str(&format!("\n#### {}\n\n{}", capitalised(&table.title), table.markdown()));
        }
        text.push_str(&list(section.lines()));
    }
    text
}

fn list(lines: Vec<String>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    lines.iter().fold("\n".to_owned(), |text, line| format!("{text}- {line}\n"))
}

fn replaced(page: &str, figures: &str) -> Result<String> {
    let parts = page
        .split_once(BEGIN)
        .and_then(|(before, rest)| rest.split_once(END).map(|(_, after)| (before, after)));
    match parts {
        Some((before, after)) => Ok(format!("{before}{BEGIN}\n\n{figures}\n{END}{after}")),
        None => bail!("the page lacks the lines `{BEGIN}` and `{END}`, between which the figures go"),
    }
}

fn capitalised(title: &str) -> String {
    let mut chars = title.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = format!("# Text\n\n{BEGIN}\nold\n{END}\n\nmore\n");
        let new = replaced(&page, "new\n").unwrap();
        assert_eq!(new, format!("# Text\n\n{BEGIN}\n\nnew\n\n{END}\n\nmore\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new, "twice is once");
    }

    #[test]
    fn a_page_without_marks_is_refused() {
        assert!(replaced("# Text\n", "new").unwrap_err().to_string().contains("lacks the lines"));
    }
}
