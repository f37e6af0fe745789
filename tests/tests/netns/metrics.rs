// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the node's monitoring sees of a port and of the agent, and that documents, rules and dashboard speak of the same.

use std::{net::SocketAddr, os::unix::net::UnixDatagram, path::Path};

use anyhow::{Context as _, Result, anyhow};
use netagent_tests::{
    agent::Agent,
    lease::DhcpClient,
    poll,
    process::Process,
    scrape::{Scrape, get},
    topology::{POD4, Pod},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    hostile::{mac, storm},
    monitoring, require_netns,
    scene::{SOON, Scene, TAP, lease, number, path, wait_ping},
};

/// Inside the scene's own node.
const ADDRESS: &str = "127.0.0.1:9407";

fn address() -> SocketAddr {
    ADDRESS.parse().unwrap()
}

/// An agent in the node's namespace, as a DaemonSet with hostNetwork runs it.
fn scene(flags: &[&str]) -> Result<Scene> {
    let topology = Pod::default().build()?;
    let mut agent = Agent::builder().netns(&topology.node).arg("--metrics").arg(ADDRESS);
    for flag in flags {
        agent = agent.arg(*flag);
    }
    Ok(Scene { agent: agent.start()?, topology })
}

fn scrape(scene: &Scene) -> Result<Scrape> {
    Scrape::of(scene.node(), address())
}

/// Frames that the kernel says the tap dropped.
fn tap_drops(scene: &Scene) -> Result<u64> {
    let links = scene.pod().ip_json(&format!("-s link show dev {TAP}"))?;
    number(&links[0], "/stats64/tx/dropped")
}

/// Every line of the log is an object with the fields that the documents promise.
fn assert_log_is_json(log: &str) {
    for line in log.lines() {
        let object: Value = serde_json::from_str(line).with_context(|| line.to_owned()).unwrap();
        for field in ["timestamp", "level", "target", "message"] {
            assert!(object[field].is_string(), "no {field} in {line}");
        }
    }
    let of_port = |message: &str| {
        let line =
            log.lines().find(|line| line.contains(message)).with_context(|| format!("no {message}")).unwrap();
        serde_json::from_str::<Value>(line).unwrap()["port"].as_str().map(str::to_owned)
    };
    assert!(of_port("port is ready").is_some());
    assert_eq!(of_port("port is ready"), of_port("guest spoke"));
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_scrape_tells_what_a_port_did_and_documents_speak_of_nothing_else() {
    require_netns!();
    // Neither answers; the agent is ready all the same.
    let nobody = ["--set", "cri.socket=/nonexistent/cri.sock", "--set", "nri.socket=/nonexistent/nri.sock"];
    let scene = scene(&[&["--log-json"], nobody.as_slice()].concat()).unwrap();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(scene.node(), address(), path).unwrap(), (200, "ok\n".into()), "{path}");
    }
    let empty = scrape(&scene).unwrap();
    assert_eq!(empty.value("netagent_ports", &[("state", "ready")]).unwrap(), 0.0);

    for source in ["cri", "nri"] {
        assert_eq!(empty.value("netagent_source_up", &[("source", source)]).unwrap(), 0.0);
        for name in ["netagent_unserved_asks", "netagent_refused_pods_total"] {
            assert_eq!(empty.value(name, &[("source", source), ("reason", "wire")]).unwrap(), 0.0, "{name}");
        }
    }

    let port = scene.attach(&[]).unwrap();
    let id = port["id"].as_str().unwrap();
    let guest = scene.guest().unwrap();
    lease(&guest, DhcpClient::Udhcpc).unwrap();
    wait_ping(scene.node(), &POD4.to_string()).unwrap();

    let seen = scrape(&scene).unwrap();
    let text = |pointer: &str| port.pointer(pointer).and_then(Value::as_str).unwrap();
    let facts = [
        ("port", id),
        ("source", "api"),
        ("netns", path(scene.pod()).unwrap()),
        ("pod_link", "eth0"),
        ("tap", TAP),
        ("tier", text("/datapath/tier")),
        ("hook", text("/datapath/hook")),
        ("pod_name", ""),
    ];
    assert_eq!(seen.value("netagent_port_info", &facts).unwrap(), 1.0);
    assert_eq!(seen.value("netagent_port_ready", &[("port", id)]).unwrap(), 1.0);
    for (state, ports) in [("pending", 0.0), ("ready", 1.0), ("failed", 0.0), ("detaching", 0.0)] {
        assert_eq!(seen.value("netagent_ports", &[("state", state)]).unwrap(), ports, "{state}");
    }
    for direction in ["from_vm", "to_vm"] {
        // It answered a ping and was asked for its address: some frames each way, as the API counts them, too.
        let packets = seen.value("netagent_port_packets_total", &[("direction", direction)]).unwrap();
        let shown = scene.show().unwrap();
        let api = number(&shown, &format!("/counters/{direction}/packets")).unwrap();
        assert!(packets >= 2.0 && packets <= api as f64, "{direction}: {packets} of {api}");
        assert!(
            seen.value("netagent_port_bytes_total", &[("direction", direction)]).unwrap() >= 42.0 * packets
        );
    }
    for (message, outcome) in [("discover", "offer"), ("request", "ack")] {
        let labels = [("message", message), ("outcome", outcome)];
        assert!(seen.value("netagent_port_hand_off_messages_total", &labels).unwrap() >= 1.0, "{message}");
    }
    assert!(seen.value("netagent_port_punted_packets_total", &[]).unwrap() >= 2.0);
    assert_eq!(seen.value("netagent_port_dropped_packets_total", &[("reason", "source_mac")]).unwrap(), 0.0);
    assert!(seen.value("netagent_reconcile_pass_duration_seconds_count", &[]).unwrap() >= 1.0);
    assert_eq!(seen.value("netagent_reconcile_failures_total", &[("class", "discover")]).unwrap(), 0.0);
    for sample in &seen.samples {
        // What people group by is a word, whatever a guest sends.
        for label in ["message", "outcome", "reason", "class", "state"] {
            let value = sample.labels.get(label).map_or("", String::as_str);
            assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{sample:?}");
        }
    }
    monitoring::assert_documents_fit(&seen);

    // Nobody has the tap open any more, so what comes for the guest is dropped there.
    drop(guest);
    let before = tap_drops(&scene).unwrap();
    scene.node().exec(&["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", &POD4.to_string()]).unwrap();
    poll::try_until("the tap to drop", SOON, || Ok((tap_drops(&scene)? > before).then_some(()))).unwrap();
    let drops = |scrape: &Scrape| scrape.value("netagent_port_tap_dropped_packets_total", &[("port", id)]);
    // The kernel's own count before and after: others may still send.
    let (low, seen, high) =
        (tap_drops(&scene).unwrap(), drops(&scrape(&scene).unwrap()).unwrap(), tap_drops(&scene).unwrap());
    assert!((low as f64..=high as f64).contains(&seen), "{low} {seen} {high}");

    scene.pod().ip("link set eth0 down").unwrap();
    scene.pod().ip("link set eth0 name gone0").unwrap();
    let failed = poll::try_until("the failure in a scrape", SOON, || {
        let seen = scrape(&scene)?;
        Ok((seen.value("netagent_port_ready", &[("port", id)])? == 0.0).then_some(seen))
    })
    .unwrap();
    assert_eq!(failed.value("netagent_ports", &[("state", "failed")]).unwrap(), 1.0);
    let failures = failed.samples.iter().filter(|s| s.name == "netagent_reconcile_failures_total");
    assert!(failures.map(|sample| sample.value).sum::<f64>() >= 1.0);
    assert_log_is_json(&scene.agent.log());
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_an_agent_dropped_for_ports_that_are_gone_still_counts() {
    require_netns!();
    let scene = scene(&[]).unwrap();
    scene.attach(&[]).unwrap();
    let dropped = |reason: &str| {
        let seen = scrape(&scene)?;
        anyhow::Ok((
            seen.value("netagent_punt_dropped_packets_total", &[("reason", reason)])?,
            seen.value("netagent_port_dropped_packets_total", &[("reason", reason)]).ok(),
        ))
    };
    let guest = storm(&scene, mac(&scene.topology.pod_mac().unwrap()));
    let (all, ports) = poll::try_until("frames beyond the port's share", SOON, || {
        Ok(Some(dropped("punt_rate")?).filter(|(all, _)| *all > 0.0))
    })
    .unwrap();
    assert_eq!(Some(all), ports);
    drop(guest);
    scene.detach().unwrap();
    assert_eq!(dropped("punt_rate").unwrap(), (all, None));
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_supervisor_hears_when_it_is_ready_and_when_it_stops() {
    require_netns!();
    let agent = Agent::builder().prepare().unwrap();
    let path = agent.dir().join("notify");
    let heard = UnixDatagram::bind(&path).unwrap();
    heard.set_read_timeout(Some(SOON)).unwrap();
    let mut process = start(&agent, &path).unwrap();
    assert!(next(&heard).unwrap().starts_with("READY=1\nSTATUS="));
    // At that moment it answers, and not only soon after.
    assert_eq!(agent.cli(&["status"]).unwrap().code, 0);
    process.signal(Signal::SIGTERM).unwrap();
    assert!(next(&heard).unwrap().starts_with("STOPPING=1\n"));
    assert!(process.wait(SOON).unwrap().success());
}

fn start(agent: &Agent, socket: &Path) -> Result<Process> {
    let log = agent.dir().join("agent.log");
    Process::spawn_logged(agent.run_command().env("NOTIFY_SOCKET", socket), &log)
}

fn next(socket: &UnixDatagram) -> Result<String> {
    let mut bytes = [0; 256];
    let length = socket.recv(&mut bytes).context("nothing was heard")?;
    let words = bytes.get(..length).ok_or_else(|| anyhow!("longer than it can be"))?;
    Ok(String::from_utf8(words.to_vec())?)
}
