// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every source file looks like: its header, its length, its name and the names of its types.

use super::{
    Finding, Severity,
    source::{self, Token},
};

const HEADER: &str = "// SPDX-License-Identifier: MIT OR Apache-2.0";
/// Lines without test modules. Above the first a reader loses the thread; above the second it must be cut.
const SOFT_LINES: usize = 400;
const HARD_LINES: usize = 600;

/// Drawers: a name that fits anything gets everything.
const BANNED: [&str; 11] =
    ["util", "utils", "helper", "helpers", "manager", "handler", "info", "misc", "types", "common", "stuff"];

/// Checks one file. `file` is relative to the workspace.
pub(super) fn check(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(header(text));
    findings.extend(length(text));
    findings.extend(file_name(file));
    findings.extend(type_names(&source::tokens(text)));
    findings
}

fn header(text: &str) -> Option<Finding> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Some(error(1, format!("the first line is not `{HEADER}`")));
    }
    if !lines.next().is_some_and(|line| line.starts_with("//! ")) {
        return Some(error(2, "the second line does not say, as `//! …`, what the file is about".to_owned()));
    }
    None
}

fn length(text: &str) -> Option<Finding> {
    let lines = source::lines_without_tests(text);
    let message = format!("{lines} lines without tests, the limit is {SOFT_LINES}: cut it along its ideas");
    if lines > HARD_LINES {
        return Some(error(1, message));
    }
    (lines > SOFT_LINES).then_some(Finding { line: 1, severity: Severity::Warning, message })
}

fn file_name(file: &str) -> Option<Finding> {
    let mut parts = file.trim_end_matches(".rs").split('/');
    let drawer = parts.find(|part| part.split('_').any(|word| BANNED.contains(&word)))?;
    Some(error(1, format!("`{drawer}` fits anything: name the idea")))
}

fn type_names(tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pair in tokens.windows(2) {
        let [keyword, name] = pair else { continue };
        if !matches!(keyword.text.as_str(), "struct" | "enum" | "trait" | "type" | "union") {
            continue;
        }
        let last_word = name.text.rfind(char::is_uppercase).and_then(|start| name.text.get(start..));
        if last_word.is_some_and(|word| BANNED.contains(&word.to_lowercase().as_str())) {
            findings.push(error(
                name.line,
                format!("the last word of `{}` fits anything: name the idea", name.text),
            ));
        }
    }
    findings
}

fn error(line: usize, message: String) -> Finding {
    Finding { line, severity: Severity::Error, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(file: &str, text: &str) -> Vec<String> {
        check(file, text)
            .into_iter()
            .map(|finding| format!("{:?}: {}", finding.severity, finding.message))
            .collect()
    }

    fn good(body: &str) -> String {
        format!("{HEADER}\n//! About it.\n{body}")
    }

    #[test]
    fn a_good_file_passes() {
        assert_eq!(said("netagent/src/core/plan.rs", &good("struct PlanStep;\n")), Vec::<String>::new());
        // The crate's name is no file's.
        assert_eq!(said("netagent-common/src/lib.rs", &good("")), Vec::<String>::new());
    }

    #[test]
    fn headers_are_asked_for() {
        assert!(said("a.rs", "//! About it.\n").concat().contains("SPDX"));
        assert!(
            said("a.rs", &format!("{HEADER}\nfn f() {{}}\n")).concat().contains("what the file is about")
        );
    }

    #[test]
    fn long_files_are_warned_of_then_refused() {
        assert!(said("a.rs", &good(&"\n".repeat(401))).concat().starts_with("Warning"));
        assert!(said("a.rs", &good(&"\n".repeat(601))).concat().starts_with("Error"));
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(700));
        assert_eq!(said("a.rs", &good(&tests)), Vec::<String>::new());
    }

    #[test]
    fn drawers_are_refused() {
        for file in ["netagent/src/utils.rs", "netagent/src/netlink/link_helpers.rs", "tests/src/misc/mod.rs"]
        {
            assert!(said(file, &good("")).concat().contains("name the idea"), "{file}");
        }
        assert!(said("a.rs", &good("pub(crate) struct PortManager;")).concat().contains("PortManager"));
        assert_eq!(said("a.rs", &good("struct Information; enum Handlers {}")), Vec::<String>::new());
    }
}
