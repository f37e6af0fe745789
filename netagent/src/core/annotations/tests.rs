// SPDX-License-Identifier: MIT OR Apache-2.0
//! What annotations ask for, what is refused and by which words, and that nothing at all makes them panic.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::core::tier::TierChoice;

const ALL: Permitted = Permitted { guard_exceptions: true };

fn pod() -> Pod {
    Pod { uid: "u".into(), namespace: "ns".into(), name: "vm".into() }
}

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn read(pairs: &[(&str, &str)]) -> Result<Vec<PortAsk>, AnnotationError> {
    asks(&pod(), &annotations(pairs), ALL)
}

fn refusal(pairs: &[(&str, &str)]) -> String {
    format!("{:#}", anyhow::Error::from(read(pairs).unwrap_err()))
}

#[test]
fn a_pod_that_does_not_ask_gets_nothing() {
    assert_eq!(read(&[]), Ok(vec![]));
    assert_eq!(read(&[("kubernetes.io/x", "y"), ("netagent.development/x", "y")]), Ok(vec![]));
    assert_eq!(read(&[(ATTACH, "false"), ("netagent.dev/mtu", "1400")]), Ok(vec![]));
    assert!(
        !has_ours(&annotations(&[("kubernetes.io/x", "y")]))
            && has_ours(&annotations(&[("netagent.dev/x", "y")]))
    );
}

#[test]
fn true_is_eth0_with_tap0() {
    let expected = PortAsk::plain("eth0".parse().unwrap(), "tap0".parse().unwrap());
    assert_eq!(read(&[(ATTACH, "true")]), Ok(vec![expected.clone()]));
    assert_eq!(read(&[(ATTACH, " eth0 ")]), Ok(vec![expected]));
}

#[test]
fn a_bridge_of_kubevirt_s_is_found_by_the_names_that_kubevirt_gives() {
    let mode = ("netagent.dev/mode", "accelerate");
    let mut expected = PortAsk::plain("eth0-nic".parse().unwrap(), "tap0".parse().unwrap());
    expected.mode = Mode::Accelerate;
    assert_eq!(read(&[(ATTACH, "true"), mode]), Ok(vec![expected]));
    let named = read(&[(ATTACH, "eth0,net1-nic"), ("netagent.dev/net1-nic.mode", "accelerate")]).unwrap();
    assert_eq!(named.iter().map(|ask| ask.mode).collect::<Vec<_>>(), [Mode::L2, Mode::Accelerate]);
    assert_eq!(read(&[(ATTACH, "true"), ("netagent.dev/mode", "l2")]), read(&[(ATTACH, "true")]));
}

#[test]
fn every_key_reaches_its_field() {
    let asks = read(&[
        (ATTACH, "eth0"),
        ("netagent.dev/tap", "tapvm"),
        ("netagent.dev/mac", "52:54:00:00:00:01"),
        ("netagent.dev/queues", "4"),
        ("netagent.dev/owner", "107:108"),
        ("netagent.dev/tier", "plain"),
        ("netagent.dev/hostname", "vm-1"),
        ("netagent.dev/dns", "192.0.2.1, 2001:db8::1"),
        ("netagent.dev/search", "a.example,b.example"),
        ("netagent.dev/domain", "example"),
        ("netagent.dev/ntp", "192.0.2.2"),
        ("netagent.dev/mtu", "1400"),
        ("netagent.dev/tftp-server", "boot"),
        ("netagent.dev/boot-file", "pxe.0"),
        ("netagent.dev/option-224", "0x00ff"),
        ("netagent.dev/option-254", "a,b"),
        ("netagent.dev/lease-seconds", "600"),
        ("netagent.dev/no-hand-off", "true"),
        ("netagent.dev/guard-off", "source_mac,vlan"),
        ("netagent.dev/allow-prefix", "192.0.2.0/24,2001:db8::1"),
        ("netagent.dev/allow-vlan", "7, 8"),
        ("netagent.dev/allow-ethertype", "0x88cc"),
    ])
    .unwrap();
    let [ask] = asks.as_slice() else { panic!("{asks:?}") };
    assert_eq!((ask.tap.name.as_str(), ask.tap.queues), ("tapvm", 4));
    assert_eq!((ask.tap.uid, ask.tap.gid, ask.tier), (Some(107), Some(108), TierChoice::Plain));
    assert_eq!(ask.mac.unwrap().to_string(), "52:54:00:00:00:01");
    assert_eq!(ask.hostname.as_deref(), Some("vm-1"));
    let told = &ask.hand_off;
    assert_eq!((told.dns.len(), told.ntp.len(), told.mtu), (2, 1, Some(1400)));
    assert_eq!(told.search, ["a.example", "b.example"]);
    assert_eq!((told.domain.as_deref(), told.boot_file.as_deref()), (Some("example"), Some("pxe.0")));
    assert_eq!((told.tftp_server.as_deref(), told.lease_seconds, told.off), (Some("boot"), Some(600), true));
    assert_eq!(told.private_options, BTreeMap::from([(224, vec![0, 255]), (254, b"a,b".to_vec())]));
    assert_eq!(ask.guard.off.names(), ["source_mac", "vlan"]);
    assert_eq!((ask.guard.prefixes.len(), ask.guard.vlans.len(), ask.guard.ethertypes.len()), (2, 2, 1));
}

#[test]
fn what_is_said_of_one_link_counts_before_what_is_said_of_all() {
    let asks = read(&[
        (ATTACH, "eth0,net1,eth0.100"),
        ("netagent.dev/mtu", "1400"),
        ("netagent.dev/net1.mtu", "1300"),
        // A dot in a link's name is part of it: keys have none.
        ("netagent.dev/eth0.100.tap", "tapvlan"),
        ("netagent.dev/short-renew", "true"),
    ])
    .unwrap();
    let shown: Vec<_> =
        asks.iter().map(|a| (a.pod_link.as_str(), a.tap.name.as_str(), a.hand_off.mtu.unwrap())).collect();
    assert_eq!(shown, [("eth0", "tap0", 1400), ("net1", "tap1", 1300), ("eth0.100", "tapvlan", 1400)]);
    assert!(asks.iter().all(|ask| ask.hand_off.lease_seconds == Some(300)));
}

#[test]
fn a_refusal_names_pod_annotation_value_and_remedy() {
    let attach = (ATTACH, "eth0,net1");
    for (pairs, expected) in [
        (
            vec![("netagent.dev/atach", "true")],
            "pod ns/vm: annotation netagent.dev/atach: `true`: there is no such annotation; did you mean \
             netagent.dev/attach?",
        ),
        (vec![("netagent.dev/mtu", "1400")], "add netagent.dev/attach: \"true\""),
        (vec![attach, ("netagent.dev/quees", "2")], "did you mean netagent.dev/queues?"),
        (vec![attach, ("netagent.dev/colour", "red")], "there are attach, mode, tap, mac,"),
        (vec![attach, ("netagent.dev/eth1.mtu", "1400")], "names no link eth1"),
        (vec![attach, ("netagent.dev/mac", "52:54:00:00:00:01")], "as netagent.dev/LINK.mac"),
        (vec![attach, ("netagent.dev/eth0.mac", "52:54")], "`52:54` is not a MAC address"),
        (vec![attach, ("netagent.dev/net1.tap", "tap0")], "two ports have the tap tap0"),
        (vec![attach, ("netagent.dev/queues", "257")], "a number from 1 to 256"),
        (vec![attach, ("netagent.dev/owner", "qemu")], "as in 107:107"),
        (
            vec![attach, ("netagent.dev/mode", "bridge")],
            "annotation netagent.dev/mode: `bridge`: give l2, for a tap and DHCP of netagent's, or accelerate",
        ),
        (
            vec![attach, ("netagent.dev/net1.mode", "accelerate"), ("netagent.dev/mtu", "1400")],
            "annotation netagent.dev/net1.mode: `accelerate`: the guest of this port is told what KubeVirt tells it",
        ),
        (vec![attach, ("netagent.dev/tier", "fast")], "auto, peer, plain or xdp"),
        (vec![attach, ("netagent.dev/dns", "ns1")], "`ns1` is no address"),
        (vec![attach, ("netagent.dev/dns", " ")], "it is empty"),
        (vec![attach, ("netagent.dev/no-hand-off", "yes")], "give `true` or `false`"),
        (vec![attach, ("netagent.dev/option-43", "x")], "option 43 is not for private use"),
        (vec![attach, ("netagent.dev/option-224", "0x1")], "is no option"),
        (
            vec![attach, ("netagent.dev/lease-seconds", "5")],
            "annotation netagent.dev/lease-seconds: `5`: leases of 5",
        ),
        (
            vec![attach, ("netagent.dev/lease-seconds", "600"), ("netagent.dev/short-renew", "true")],
            "keep one of the two",
        ),
        (vec![attach, ("netagent.dev/allow-prefix", "x")], "`x` is no prefix"),
        (vec![(ATTACH, "yes please")], "names of the pod's links"),
        (vec![(ATTACH, "")], "names of the pod's links"),
        (vec![(ATTACH, "eth0,eth0")], "named twice"),
    ] {
        let text = refusal(&pairs);
        assert!(text.contains(expected), "{text} should say {expected}");
    }
}

#[test]
fn exceptions_from_the_guard_are_the_operators_to_give() {
    for (key, value) in [
        ("guard-off", "all"),
        ("allow-prefix", "10.0.0.0/8"),
        ("allow-vlan", "5"),
        ("allow-ethertype", "0x88cc"),
    ] {
        let key = format!("netagent.dev/{key}");
        let pairs = annotations(&[(ATTACH, "true"), (&key, value)]);
        assert_eq!(asks(&pod(), &pairs, ALL).map(|asks| asks.len()), Ok(1));
        let refused = asks(&pod(), &pairs, Permitted::default()).unwrap_err();
        assert_eq!((refused.key, refused.problem), (key, Problem::NotPermitted));
    }
}

#[test]
fn a_long_value_is_shown_by_its_beginning() {
    for length in [5000, 100_000] {
        let long = "x".repeat(length);
        let error = read(&[(ATTACH, "true"), ("netagent.dev/mac", &long)]).unwrap_err();
        assert!(error.to_string().len() < 200, "{error}");
        assert_eq!(error.problem == Problem::TooLong { most: LONGEST }, length > LONGEST);
    }
    let many = vec!["eth"; 33].join(",");
    assert!(refusal(&[(ATTACH, &many)]).contains("33 links"));
}

proptest! {
    #[test]
    fn no_annotation_makes_it_panic(
        pairs in prop::collection::btree_map("netagent\\.dev/[a-z0-9.-]{0,20}|\\PC{0,20}", "\\PC{0,40}", 0..6),
        attach in prop::option::of("[a-z0-9.,-]{0,30}|true|false"),
        guard_exceptions: bool,
    ) {
        let mut pairs = pairs;
        pairs.extend(attach.map(|links| (ATTACH.to_owned(), links)));
        if let Ok(asks) = asks(&pod(), &pairs, Permitted { guard_exceptions }) {
            for ask in &asks {
                prop_assert!(ask.hand_off.check().is_ok() && ask.guard.fits().is_ok());
                prop_assert!((1..=MAX_LINKS).contains(&asks.len()));
            }
        }
    }

    #[test]
    fn any_value_of_any_key_is_an_ask_or_a_refusal_of_that_key(
        key in prop::sample::select(vec!["mode", "tap", "mac", "queues", "owner", "tier", "dns", "ntp", "mtu", "search", "lease-seconds",
            "short-renew", "option-230", "guard-off", "allow-prefix", "allow-vlan", "allow-ethertype"]),
        value in "\\PC{0,30}|[0-9a-f:.,/x]{0,30}",
    ) {
        let key = format!("netagent.dev/{key}");
        match read(&[(ATTACH, "true"), (&key, &value)]) {
            Ok(asks) => prop_assert_eq!(asks.len(), 1),
            Err(refused) => prop_assert_eq!(refused.key, key),
        }
    }
}
