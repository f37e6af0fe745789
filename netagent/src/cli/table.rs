// SPDX-License-Identifier: MIT OR Apache-2.0
//! Columns that line up.

/// Lays out rows under a header, each column as wide as its widest cell.
pub(super) fn columns<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<_> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(header);
    for row in rows {
        text.push_str(&line(row.each_ref().map(String::as_str)));
    }
    text
}

/// Lays out names and values; lines with an empty value are left out.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let shown = || fields.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
    shown()
        .map(|(name, value)| {
            let indented = value.replace('\n', &format!("\n{:width$}  ", ""));
            format!("{name:<width$}  {indented}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let rows = [["a".into(), "x".into()], ["longer".into(), String::new()]];
        assert_eq!(columns(["ID", "B"], &rows), "ID      B\na       x\nlonger\n");
    }

    #[test]
    fn a_field_of_several_lines_stays_in_its_column() {
        let text = fields(&[("a", "1\n2".into()), ("long", "3".into()), ("none", String::new())]);
        assert_eq!(text, "a     1\n      2\nlong  3\n");
    }
}
