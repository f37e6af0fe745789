// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lists and calls against ports that are only noted down.

use super::*;
use crate::discovery::{
    Whereabouts,
    stand_in::{Elsewhere, Noted},
};

/// Longer than any of this takes.
const SOON: Duration = Duration::from_secs(30);
const ATTACH: (&str, &str) = (annotations::ATTACH, "true");

fn pods(noted: &Noted) -> Pods {
    let pods = Pods::new(Source::Cri, Arc::new(noted.clone()), Permitted::default());
    let tended = pods.clone();
    tokio::spawn(async move { tended.tend().await });
    pods
}

/// Namespaces of two pods; the test is vacuous only where the kernel forbids them, and says so.
fn two() -> Option<[Elsewhere; 2]> {
    let two = Elsewhere::new().zip(Elsewhere::new()).map(|(a, b)| [a, b]);
    if two.is_none() {
        eprintln!("no network namespaces can be made here: not tested");
    }
    two
}

#[tokio::test]
async fn a_list_is_followed_and_one_bad_pod_costs_no_other() {
    let Some([one, other]) = two() else { return };
    let noted = Noted::default();
    let pods = pods(&noted);
    let bad = [
        one.sandbox("misspelt", &[("netagent.dev/atach", "true")]),
        Sandbox { whereabouts: Whereabouts::Node, ..one.sandbox("node", &[ATTACH]) },
        Sandbox { pod: Pod { name: "a b".into(), ..Pod::default() }, ..one.sandbox("odd", &[ATTACH]) },
    ];
    let good = [one.sandbox("one", &[ATTACH]), other.sandbox("other", &[(annotations::ATTACH, "eth0,net1")])];
    pods.complete(bad.iter().chain(&good).cloned().collect());
    noted.wait(&[("one", "eth0"), ("other", "eth0"), ("other", "net1")]).await;
    let reasons: Vec<_> = pods.troubles().into_iter().map(|trouble| trouble.reason).collect();
    assert!(reasons.len() == 3 && reasons.iter().any(|r| r.contains("did you mean")), "{reasons:?}");

    // A runtime that is asked in vain takes nothing off; its next list does.
    pods.doubt();
    assert_eq!(pods.standing(), (false, 5));
    pods.0.stirred.notify_one();
    pods.complete(good[..1].to_vec());
    noted.wait(&[("one", "eth0")]).await;
    assert!(pods.troubles().is_empty());
    pods.complete(vec![]);
    noted.wait(&[]).await;
}

#[tokio::test]
async fn what_cannot_be_wired_is_tried_again() {
    let Some([one, other]) = two() else { return };
    let noted = Noted::default();
    let pods = pods(&noted);
    noted.broken.lock().unwrap().push("net1");
    pods.complete(vec![
        one.sandbox("one", &[(annotations::ATTACH, "eth0,net1")]),
        other.sandbox("other", &[ATTACH]),
    ]);
    noted.wait(&[("one", "eth0"), ("other", "eth0")]).await;
    while pods.troubles().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(pods.troubles()[0].reason.contains("wire net1: link net1 is broken"), "{:?}", pods.troubles());
    assert_eq!(pods.troubles()[0].obstacle, Obstacle::Wire);
    noted.broken.lock().unwrap().clear();
    noted.wait(&[("one", "eth0"), ("one", "net1"), ("other", "eth0")]).await;
}

#[tokio::test]
async fn what_somebody_else_wired_is_in_nobody_s_way() {
    let Some([one, _]) = two() else { return };
    let noted = Noted::default();
    let pods = Pods::new(Source::Cri, Arc::new(noted.clone()), Permitted::default());
    let sandbox = one.sandbox("one", &[ATTACH]);
    noted.broken.lock().unwrap().push("eth0");
    pods.complete(vec![sandbox.clone()]);
    pods.look().await;
    assert_eq!(pods.troubles().len(), 1);
    let mut theirs = pods.asks(&sandbox).unwrap().remove(0);
    theirs.origin.source = Source::Cni;
    noted.ports.lock().unwrap().insert(theirs.id(), theirs);
    let next = pods.look().await;
    assert!(pods.troubles().is_empty() && next > Instant::now() + IDLE / 2);
}

#[tokio::test]
async fn ports_of_others_stay_theirs() {
    let Some([one, _]) = two() else { return };
    let noted = Noted::default();
    let pods = pods(&noted);
    let sandbox = one.sandbox("one", &[ATTACH]);
    let mut theirs = pods.asks(&sandbox).unwrap().remove(0);
    theirs.origin.source = Source::Cni;
    noted.ports.lock().unwrap().insert(theirs.id(), theirs.clone());
    pods.starts(&sandbox, SOON).await.unwrap();
    pods.complete(vec![sandbox]);
    pods.complete(vec![]);
    pods.stopped("one").await;
    assert_eq!(noted.asks(), [theirs]);
}

#[tokio::test]
async fn a_pod_starts_with_all_its_ports_or_with_none() {
    let Some([one, other]) = two() else { return };
    let noted = Noted::default();
    let pods = pods(&noted);
    pods.starts(&other.sandbox("plain", &[]), SOON).await.unwrap();
    pods.starts(&one.sandbox("one", &[ATTACH]), SOON).await.unwrap();
    assert!(noted.has(&[("one", "eth0")]));
    noted.broken.lock().unwrap().push("net1");
    let half = other.sandbox("half", &[(annotations::ATTACH, "eth0,net1")]);
    let error = pods.starts(&half, SOON).await.unwrap_err();
    assert_eq!(chain(&error), "pod ns/half: wire net1: link net1 is broken");
    assert!(noted.has(&[("one", "eth0")]), "{:?}", noted.shown());
    *noted.slow.lock().unwrap() = SOON;
    let slow = other.sandbox("slow", &[ATTACH]);
    assert!(matches!(pods.starts(&slow, Duration::ZERO).await, Err(PodError::Late { .. })));
    assert_eq!(pods.refused(), [(Obstacle::Wire, 1), (Obstacle::Late, 1)].into());
    pods.stopped("one").await;
    assert!(noted.has(&[]));
}

#[tokio::test]
async fn a_pod_does_not_wait_for_the_bridge_that_is_made_when_it_runs() {
    let Some([one, _]) = two() else { return };
    let noted = Noted::default();
    let pods = pods(&noted);
    noted.broken.lock().unwrap().push("eth0-nic");
    pods.starts(&one.sandbox("one", &[ATTACH, ("netagent.dev/mode", "accelerate")]), SOON).await.unwrap();
    while pods.troubles().is_empty() {
        tokio::task::yield_now().await;
    }
    noted.broken.lock().unwrap().clear();
    noted.wait(&[("one", "eth0-nic")]).await;
}
