// SPDX-License-Identifier: MIT OR Apache-2.0
//! What changes in a pod under a running port reaches its guest at the next renewal: these agents compare their ports
//! with what they should be once an hour, so nothing but the change itself brings it about.

use std::{fs, net::Ipv4Addr, path::PathBuf};

use nix::sys::signal::Signal;

use netagent_tests::{
    agent::Agent,
    lease::{DhcpClient, Lease, LeaseRoute},
    poll,
    stand_in::RunningClient,
    topology::{Layout, POD_LINK, Pod},
};

use crate::{
    require_netns,
    scene::{SOON, Scene, TAP, lease, path},
};

fn scene(scratch: &tempfile::TempDir) -> Scene {
    let config = scratch.path().join("netagent.toml");
    fs::write(&config, "resync_seconds = 3600\n").unwrap();
    let builder = Agent::builder().arg("--config").arg(config.to_str().unwrap());
    Scene::with(Pod { layout: Layout::Subnet, ..Pod::default() }, builder).unwrap()
}

/// Has a client renew until its lease is as `fits` wants it: the agent hears of a change in its own time.
fn renew(client: &mut RunningClient, what: &str, fits: impl Fn(&Lease) -> bool) -> Lease {
    poll::try_until(what, SOON, || {
        let seen = client.leases()?.len();
        client.process.signal(Signal::SIGUSR1)?;
        Ok(Some(client.wait_lease_after(seen, SOON)?).filter(&fits))
    })
    .unwrap()
}

fn has_route(lease: &Lease, network: Ipv4Addr) -> bool {
    lease.routes.contains(&LeaseRoute { network, prefix: 24, router: Ipv4Addr::new(10, 88, 0, 7) })
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn dns_routes_and_mtu_that_change_reach_a_renewing_guest() {
    require_netns!();
    let scratch = tempfile::tempdir().unwrap();
    let scene = scene(&scratch);
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    let mut client = guest.dhcp(DhcpClient::Udhcpc).unwrap();
    let first = client.wait_lease(SOON).unwrap();
    assert_eq!((first.mtu, first.dns.len()), (Some(1500), 1), "{first:?}");

    // As the kubelet and editors write: a new file over the old one.
    let file = scene.topology.resolv_conf();
    let new = scratch.path().join("new");
    fs::write(&new, "nameserver 192.0.2.53\nsearch new.example\n").unwrap();
    fs::rename(&new, file).or_else(|_| fs::copy(&new, file).map(drop)).unwrap();
    scene
        .wait_port("the new name server in `show`", |port| {
            port["guest"]["dns"]["servers"][0] == "192.0.2.53"
                && port["guest"]["dns"]["search"][0] == "new.example"
        })
        .unwrap();
    let server = Ipv4Addr::new(192, 0, 2, 53);
    let renewed = renew(&mut client, "the new name server", |lease| lease.dns == [server]);
    assert_eq!(renewed.search, ["new.example"]);
    // And in place, as people do.
    fs::write(file, "nameserver 192.0.2.54\n").unwrap();
    let server = Ipv4Addr::new(192, 0, 2, 54);
    let renewed = renew(&mut client, "another name server", |lease| lease.dns == [server]);
    assert_eq!(renewed.search, [""; 0]);

    let network = Ipv4Addr::new(203, 0, 113, 0);
    scene.pod().ip("route add 203.0.113.0/24 via 10.88.0.7").unwrap();
    scene
        .wait_port("the new route in `show`", |port| {
            port["guest"]["routes"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|r| r["destination"] == "203.0.113.0/24")
        })
        .unwrap();
    renew(&mut client, "the new route", |lease| has_route(lease, network));
    scene.pod().ip("route del 203.0.113.0/24").unwrap();
    renew(&mut client, "the route to be gone", |lease| !has_route(lease, network));

    scene.pod().ip(&format!("link set {POD_LINK} mtu 1380")).unwrap();
    let told = renew(&mut client, "the new MTU", |lease| lease.mtu == Some(1380));
    assert_eq!(told.address, first.address);
    let port = scene.wait_port("the new MTU in `show`", |port| port["tap"]["mtu"] == 1380).unwrap();
    assert_eq!((&port["guest"]["mtu"], &port["pod_link"]["mtu"]), (&1380.into(), &1380.into()));
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_pod_s_other_address_is_the_guest_s_after_a_refusal() {
    require_netns!();
    let scratch = tempfile::tempdir().unwrap();
    let scene = scene(&scratch);
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    let mut client = guest.dhcp(DhcpClient::Udhcpc).unwrap();
    let first = client.wait_lease(SOON).unwrap();
    let other = Ipv4Addr::new(10, 88, 0, 99);
    assert_ne!(first.address, other);
    // The second address of a prefix would go with the first one.
    scene.pod().sysctl(&format!("ipv4/conf/{POD_LINK}/promote_secondaries"), "1").unwrap();
    scene.pod().ip(&format!("address replace {other}/{} dev {POD_LINK}", first.prefix)).unwrap();
    scene.pod().ip(&format!("address del {}/{} dev {POD_LINK}", first.address, first.prefix)).unwrap();
    // The address that was removed took its routes along; the CNI would put the default one back.
    let router = first.routers[0];
    scene.pod().ip(&format!("route replace default via {router} dev {POD_LINK}")).unwrap();
    let address = format!("{other}/{}", first.prefix);
    scene
        .wait_port("the other address in `show`", |port| {
            port["guest"]["addresses"].as_array().is_some_and(|a| a.iter().any(|a| *a == address.as_str()))
                && port["guest"]["gateway"] == router.to_string()
        })
        .unwrap();
    // The renewal is refused, and udhcpc begins anew.
    client.process.signal(Signal::SIGUSR1).unwrap();
    let seen = || client.leases().unwrap().into_iter().find(|lease| lease.address == other);
    poll::wait_until("a lease of the other address", SOON, seen).unwrap();
    let port = scene.show().unwrap();
    assert!(port["dhcp"]["messages"]["request -> nak"].as_u64() > Some(0), "{port}");
}

/// `/etc/netns/NAME` of a test's namespace, removed at the end.
struct Etc(PathBuf);

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_host_name_that_is_found_is_followed() {
    require_netns!();
    let scratch = tempfile::tempdir().unwrap();
    let scene = scene(&scratch);
    let etc = Etc(PathBuf::from("/etc/netns").join(scene.pod().name()));
    fs::create_dir_all(&etc.0).unwrap();
    fs::write(etc.0.join("hostname"), "before\n").unwrap();
    let port = scene.agent.json(&["attach", "--netns", path(scene.pod()).unwrap()]).unwrap();
    assert_eq!(port["guest"]["hostname"], "before");
    fs::write(etc.0.join("hostname"), "behind\n").unwrap();
    // One that was not there.
    fs::write(etc.0.join("resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
    scene
        .wait_port("host name and name server", |port| {
            port["guest"]["hostname"] == "behind" && port["guest"]["dns"]["servers"][0] == "192.0.2.53"
        })
        .unwrap();
    let guest = scene.guest().unwrap();
    assert_eq!(lease(&guest, DhcpClient::Udhcpc).unwrap().hostname.as_deref(), Some("behind"));
}

const TOLD: &[&str] = &[
    "--dns",
    "192.0.2.1,2001:db8::53",
    "--search",
    "a..b,lan.example",
    "--domain",
    "example.org",
    "--ntp",
    "192.0.2.123",
    "--mtu",
    "1400",
    "--tftp-server",
    "192.0.2.69",
    "--boot-file",
    "boot.efi",
    "--option",
    "224=0x0aff",
    "--option",
    "225=text",
    "--short-renew",
];

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_an_operator_lays_over_is_told_and_changed_under_a_running_guest() {
    require_netns!();
    let scratch = tempfile::tempdir().unwrap();
    let scene = scene(&scratch);
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    let mut client = guest.dhcp(DhcpClient::Udhcpc).unwrap();
    let first = client.wait_lease(SOON).unwrap();
    assert_eq!((first.mtu, first.lease_seconds), (Some(1500), Some(86_400)));

    let port = scene.attach(TOLD).unwrap();
    let told = &port["guest"];
    assert_eq!(told["dns"]["servers"], serde_json::json!(["192.0.2.1", "2001:db8::53"]));
    assert_eq!(told["ntp"], serde_json::json!(["192.0.2.123"]));
    assert_eq!(told["private_options"], serde_json::json!({"224": "0x0aff", "225": "0x74657874"}));
    assert_eq!((&told["mtu"], &told["lease_seconds"]), (&1400.into(), &300.into()));
    assert_eq!((&told["domain"], &told["boot_file"]), (&"example.org".into(), &"boot.efi".into()));
    assert_eq!((&told["tftp_server"], &port["pod_link"]["mtu"]), (&"192.0.2.69".into(), &1500.into()));
    assert_eq!(port["tap"]["mtu"], 1500, "the guest alone is told less");
    let lease = renew(&mut client, "the new lease", |lease| lease.lease_seconds == Some(300));
    assert_eq!((lease.mtu, lease.domain.as_deref()), (Some(1400), Some("example.org")));
    assert_eq!(lease.dns, [Ipv4Addr::new(192, 0, 2, 1)]);
    assert_eq!(lease.search, ["lan.example"], "the odd one is dropped, the rest is served");
    assert!(scene.agent.log().contains("left names out"), "{}", scene.agent.log_tail());
    // The same ask changes nothing, and a restarted agent still knows it.
    assert_eq!(scene.plan(TOLD).unwrap(), [""; 0]);
    let mut scene = scene;
    scene.agent.kill9().unwrap();
    scene.agent.start().unwrap();
    scene.wait_port("the port again", |port| port["guest"]["lease_seconds"] == 300).unwrap();

    // What does not fit is refused, and changes nothing.
    for (flags, words) in [
        (["--mtu", "1501"], "mtu 1501 for the guest: the pod link's is 1500"),
        (["--mtu", "1200"], "IPv6 needs 1280"),
    ] {
        let refused = scene.try_attach(&flags).unwrap();
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        assert_eq!(scene.show().unwrap()["guest"]["mtu"], 1400);
    }
    // And taken back.
    let port = scene.attach(&[]).unwrap();
    assert_eq!((&port["guest"]["mtu"], &port["guest"]["lease_seconds"]), (&1500.into(), &86_400.into()));
    assert_eq!(port["guest"]["private_options"], serde_json::json!({}));
    renew(&mut client, "the pod's own word", |lease| lease.lease_seconds == Some(86_400));
    assert_eq!(port["tap"]["ifname"], TAP);
}
