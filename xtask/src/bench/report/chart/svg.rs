// SPDX-License-Identifier: MIT OR Apache-2.0
//! Horizontal bars with whiskers, as an SVG that can be read on white and on black.

use std::fmt::Write as _;

use crate::bench::statistics::Spread;

const WIDTH: f64 = 780.0;
const MARGIN: f64 = 16.0;
const LABELS: f64 = 236.0;
/// Right of the bars, for the figures.
const FIGURES: f64 = 96.0;
const ROW: f64 = 22.0;
const HEAD: f64 = 58.0;
const PANEL_HEAD: f64 = 30.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:16px;font-weight:600}\
                     .note{fill:#59636e}.panel{font-weight:600}.ours{fill:#0969da}.peer{fill:#afb8c1}\
                     .whisker{stroke:#1f2328;stroke-width:1.5}\
                     @media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}.ours{fill:#4493f8}\
                     .peer{fill:#57606a}.whisker{stroke:#e6edf3}}";

/// Panels under each other.
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// Unit, circumstances, which way is better.
    pub(super) note: &'static str,
    /// Of the figures, behind the point.
    pub(super) digits: usize,
    /// So that bars of different panels can be compared, too.
    pub(super) one_scale: bool,
    pub(super) panels: Vec<Panel>,
}

/// Bars that are compared.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

/// A median with its deviation.
pub(super) struct Bar {
    pub(super) label: &'static str,
    /// Of netagent: in colour.
    pub(super) ours: bool,
    pub(super) spread: Spread,
}

impl Chart {
    pub(super) fn is_empty(&self) -> bool {
        self.panels.iter().all(|panel| panel.bars.is_empty())
    }

    /// The file.
    pub(super) fn svg(&self) -> String {
        let all = || self.panels.iter().flat_map(|panel| &panel.bars);
        let height = HEAD + self.panels.len() as f64 * PANEL_HEAD + all().count() as f64 * ROW + MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} \
             {height}\" role=\"img\"><title>{}</title><style>{STYLE}</style>\n",
            escaped(self.title)
        );
        text(&mut svg, "title", MARGIN, 26.0, self.title);
        text(&mut svg, "note", MARGIN, 46.0, self.note);
        let mut y = HEAD;
        for panel in &self.panels {
            text(&mut svg, "panel", MARGIN, y + 20.0, &panel.title);
            y += PANEL_HEAD;
            let scale = if self.one_scale { scale(all()) } else { scale(panel.bars.iter()) };
            for bar in &panel.bars {
                self.draw(&mut svg, bar, y, scale);
                y += ROW;
            }
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw(&self, svg: &mut String, bar: &Bar, y: f64, scale: f64) {
        let Spread { median, deviation, .. } = bar.spread;
        let start = MARGIN + LABELS;
        let class = if bar.ours { "ours" } else { "peer" };
        text(svg, "", MARGIN, y + 15.0, bar.label);
        // Something that costs nothing within its spread can come out below nothing.
        let length = (median * scale).max(0.0);
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{start}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\"/>",
            y + 3.0,
            ROW - 6.0
        );
        let [low, high] = [median - deviation, median + deviation].map(|end| start + (end * scale).max(0.0));
        let middle = y + ROW / 2.0;
        let _ = writeln!(
            svg,
            "<path class=\"whisker\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {top:.1}V{bottom:.1}M{high:.1} \
             {top:.1}V{bottom:.1}\"/>",
            top = middle - 3.0,
            bottom = middle + 3.0,
        );
        let digits = self.digits;
        text(
            svg,
            "",
            high.max(start + length) + 8.0,
            y + 15.0,
            &format!("{median:.digits$} ± {deviation:.digits$}"),
        );
    }
}

/// Pixels for one of the unit.
fn scale<'a>(bars: impl Iterator<Item = &'a Bar>) -> f64 {
    let longest = bars.map(|bar| bar.spread.median + bar.spread.deviation).fold(f64::MIN_POSITIVE, f64::max);
    (WIDTH - LABELS - FIGURES - 2.0 * MARGIN) / longest
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, words: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(words));
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_figures_and_words_are_escaped() {
        let bar = |label, values: [f64; 2]| Bar { label, ours: false, spread: Spread::of(values).unwrap() };
        let bars = vec![bar("a", [100.0, 100.0]), bar("b", [50.0, 50.0]), bar("c", [-1.0, -1.0])];
        let chart = Chart {
            title: "A & B",
            note: "",
            digits: 0,
            one_scale: false,
            panels: vec![Panel { title: "VM -> node".to_owned(), bars }],
        };
        let svg = chart.svg();
        let full = WIDTH - LABELS - FIGURES - 2.0 * MARGIN;
        for part in [
            format!("width=\"{full:.1}\""),
            format!("width=\"{:.1}\"", full / 2.0),
            "width=\"0.0\"".to_owned(),
            ">A &amp; B<".to_owned(),
            ">VM -&gt; node<".to_owned(),
        ] {
            assert!(svg.contains(&part), "no {part} in {svg}");
        }
    }
}
