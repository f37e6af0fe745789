// SPDX-License-Identifier: MIT OR Apache-2.0
//! What people read of sources and their pods.

use anyhow::Result;

use super::{args::Output, table::columns};
use crate::api::v1;

/// All sources, a line each, and under them the pods that lack a port, with the reason.
pub(super) fn show(sources: &[v1::Source], output: Output) -> Result<()> {
    output.print(&sources, || text(sources))
}

fn text(sources: &[v1::Source]) -> String {
    if sources.is_empty() {
        return "no container runtime is asked for pods; name its socket by `socket` in [cri] or [nri]"
            .to_owned();
    }
    let rows: Vec<_> = sources
        .iter()
        .map(|source| {
            let state = if source.up { "up" } else { "down" };
            [
                source.name.clone(),
                state.to_owned(),
                source.pods.to_string(),
                source.unserved.len().to_string(),
            ]
        })
        .collect();
    let mut text = columns(["SOURCE", "STATE", "PODS", "UNSERVED"], &rows);
    for (source, pod) in
        sources.iter().flat_map(|source| source.unserved.iter().map(move |pod| (source, pod)))
    {
        let tried = match pod.failures {
            0 | 1 => String::new(),
            times => format!(", tried {times} times"),
        };
        text.push_str(&format!(
            "\n{}: {}/{}: {} ({}, for {} s{tried})\n",
            source.name, pod.pod_namespace, pod.pod_name, pod.reason, pod.obstacle, pod.seconds
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_its_port_is_told_with_the_reason() {
        let unserved = v1::Unserved {
            pod_namespace: "default".to_owned(),
            pod_name: "vm".to_owned(),
            obstacle: "annotation".to_owned(),
            reason: "no link eth9".to_owned(),
            seconds: 7,
            failures: 3,
            ..v1::Unserved::default()
        };
        let up = v1::Source { name: "cri".to_owned(), up: true, pods: 2, unserved: vec![unserved] };
        let down = v1::Source { name: "nri".to_owned(), ..v1::Source::default() };
        assert_eq!(
            text(&[up, down]),
            "SOURCE  STATE  PODS  UNSERVED\ncri     up     2     1\nnri     down   0     0\n\n\
             cri: default/vm: no link eth9 (annotation, for 7 s, tried 3 times)\n"
        );
        assert!(text(&[]).starts_with("no container runtime is asked"));
    }
}
