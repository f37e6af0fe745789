// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the agent serves over HTTP, asked as a kubelet and a Prometheus ask, and read by code of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::netns::Netns;

/// A busy machine, and an agent that reads a port after the other.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer: status and body.
pub type Answer = (u16, String);

/// Asks for `path` at `address` from inside a namespace.
pub fn get(netns: &Netns, address: SocketAddr, path: &str) -> Result<Answer> {
    netns.run_inside(|| ask(address, path))?
}

fn ask(address: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).context("cannot connect")?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("cannot read the answer")?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| anyhow!("no HTTP: {answer}"))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    if head.to_ascii_lowercase().contains("transfer-encoding") {
        bail!("the answer comes in chunks: {head}");
    }
    Ok((status.ok_or_else(|| anyhow!("no status: {head}"))?, body.to_owned()))
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric with its suffix, as in `…_total`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A scrape in the OpenMetrics text format.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// All samples.
    pub samples: Vec<Sample>,
    /// Families with their types, as `counter`.
    pub families: BTreeMap<String, String>,
}

impl Scrape {
    /// Reads `/metrics`.
    pub fn of(netns: &Netns, address: SocketAddr) -> Result<Self> {
        match get(netns, address, "/metrics")? {
            (200, text) => Self::parse(&text),
            (status, text) => bail!("/metrics answered {status}: {text}"),
        }
    }

    /// Reads the text strictly: an unknown line, a sample of no family, a missing help or end is an error.
    pub fn parse(text: &str) -> Result<Self> {
        let mut scrape = Self::default();
        let mut helped = BTreeSet::new();
        let body = text.strip_suffix("# EOF\n").ok_or_else(|| anyhow!("no `# EOF` at the end of {text}"))?;
        for line in body.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                helped.insert(help.split(' ').next().unwrap_or_default());
            } else if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').ok_or_else(|| anyhow!("no type in `{line}`"))?;
                if scrape.families.insert(name.to_owned(), kind.to_owned()).is_some() {
                    bail!("{name} comes twice");
                }
            } else {
                let sample = sample(line).with_context(|| format!("cannot read the line `{line}`"))?;
                if scrape.family(&sample.name).is_none() {
                    bail!("`{line}` belongs to no family");
                }
                scrape.samples.push(sample);
            }
        }
        match scrape.families.keys().find(|name| !helped.contains(name.as_str())) {
            Some(name) => bail!("{name} has no help"),
            None => Ok(scrape),
        }
    }

    /// The one sample with this name and these labels among its own.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(k, v)| sample.labels.get(*k).is_some_and(|have| have == v))
        };
        let found: Vec<_> = self.samples.iter().filter(fits).collect();
        match found.as_slice() {
            [one] => Ok(one.value),
            all => bail!("{} samples of {name} with {labels:?}", all.len()),
        }
    }

    /// Names as documents have them: counters with `_total`, histograms without a suffix.
    pub fn documented_names(&self) -> BTreeSet<String> {
        let name = |(name, kind): (&String, &String)| match kind.as_str() {
            "counter" => format!("{name}_total"),
            _ => name.clone(),
        };
        self.families.iter().map(name).collect()
    }

    /// Names as queries have them, and the labels of each.
    pub fn labels_by_name(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for sample in &self.samples {
            all.entry(&sample.name).or_default().extend(sample.labels.keys().map(String::as_str));
        }
        all
    }

    fn family(&self, sample: &str) -> Option<&str> {
        let suffixes: [(&str, &[&str]); 3] =
            [("counter", &["_total"]), ("gauge", &[""]), ("histogram", &["_bucket", "_sum", "_count"])];
        suffixes.into_iter().flat_map(|(kind, all)| all.iter().map(move |s| (kind, *s))).find_map(
            |(kind, s)| {
                let (name, have) = self.families.get_key_value(sample.strip_suffix(s)?)?;
                (have == kind).then_some(name.as_str())
            },
        )
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Result<Sample> {
    let end = line.find(['{', ' ']).ok_or_else(|| anyhow!("no value"))?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while let Some((label, after)) = rest.split_once("=\"").filter(|_| !rest.starts_with('}')) {
            let (value, after) = quoted(after).ok_or_else(|| anyhow!("no end of the value of {label}"))?;
            if labels.insert(label.to_owned(), value).is_some() {
                bail!("label {label} comes twice");
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}').ok_or_else(|| anyhow!("no end of the labels"))?;
    }
    let value = rest.trim_start().parse().context("no number")?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// Up to the closing quote, with escapes undone, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    loop {
        match letters.next()? {
            (at, '"') => return Some((value, text.get(at + 1..)?)),
            (_, '\\') => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, letter) => value.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a A thing\n# TYPE a counter\na_total{x=\"1\",y=\"q\\\"}, \\\\\"} 3\n\
                        # HELP g G\n# TYPE g gauge\ng 1.5\n# EOF\n";

    #[test]
    fn samples_are_read_with_their_labels() {
        let scrape = Scrape::parse(TEXT).unwrap();
        assert_eq!(scrape.value("a_total", &[("y", "q\"}, \\")]).unwrap(), 3.0);
        assert_eq!(scrape.value("g", &[]).unwrap(), 1.5);
        assert!(scrape.value("a_total", &[("x", "2")]).is_err());
        assert_eq!(scrape.documented_names(), ["a_total", "g"].map(str::to_owned).into());
        assert_eq!(scrape.labels_by_name()["a_total"], ["x", "y"].into());
    }

    #[test]
    fn what_is_not_as_promised_is_an_error() {
        for (from, to) in [
            ("# EOF\n", ""),
            ("# HELP g G\n", ""),
            ("g 1.5", "g_total 1.5"),
            ("g 1.5", "h 1.5"),
            ("g 1.5", "g x"),
            ("a_total{x=\"1\",", "a_total{y=\"1\","),
            ("# HELP g G\n", "what\n"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let odd = TEXT.replacen(from, to, 1);
            assert!(Scrape::parse(&odd).is_err(), "{odd}");
        }
    }
}
