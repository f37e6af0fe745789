// SPDX-License-Identifier: MIT OR Apache-2.0
//! A crash between any two steps, of wiring and of taking off: the next agent ends what the last one began.
//!
//! The crash is exact: this test binary runs itself again, as a process that takes the first steps of the plan by
//! netagent's library and then kills itself.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent::{
    api::{self, v1},
    core::spec::PortSpec,
    datapath::{Datapath, Feature},
    dhcp,
    reconcile::{Parts, Session, Slots, SpecStore},
};
use netagent_tests::{
    agent::{Agent, AgentBuilder},
    lease::DhcpClient,
    poll,
    process::run,
    topology::{POD4, Pod, Topology},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    require_netns,
    scene::{self, SOON, Scene, is_pods, lease, wait_ping},
    snapshot::Snapshot,
    traces,
};

/// The rehearsal's orders: how many steps to take.
const STEPS: &str = "NETAGENT_TEST_CRASH_AFTER";
const NETNS: &str = "NETAGENT_TEST_CRASH_NETNS";
const DIRECTORY: &str = "NETAGENT_TEST_CRASH_DIRECTORY";
const UNWIRE: &str = "NETAGENT_TEST_CRASH_UNWIRE";
const WITHOUT_TCX: &str = "NETAGENT_TEST_CRASH_WITHOUT_TCX";
/// Where it writes its plan, below its directory.
const PLAN: &str = "plan.txt";
const REHEARSAL: Duration = Duration::from_secs(60);
/// 128 + SIGKILL, as shells have it.
const KILLED: i32 = 137;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Wire,
    Unwire,
}

/// What the process that is to crash needs to know.
struct Orders {
    steps: usize,
    netns: String,
    directory: PathBuf,
    way: Way,
    lacking: Vec<Feature>,
}

impl Orders {
    fn from_environment() -> Option<Self> {
        Some(Self {
            steps: env::var(STEPS).ok()?.parse().ok()?,
            netns: env::var(NETNS).ok()?,
            directory: env::var_os(DIRECTORY)?.into(),
            way: if env::var_os(UNWIRE).is_some() { Way::Unwire } else { Way::Wire },
            lacking: env::var_os(WITHOUT_TCX).map(|_| Feature::Tcx).into_iter().collect(),
        })
    }

    /// Takes the first steps of the plan, as an agent does; returns how many there were.
    async fn take_steps(&self) -> Result<usize> {
        let datapath = Datapath::open(&self.directory.join("bpf"), &self.lacking)?;
        let parts = Parts {
            slots: Arc::new(Slots::from_entries(&datapath.maps().entries()?)),
            datapath,
            dhcp: Arc::new(dhcp::Service::new(Duration::from_secs(3600))),
            store: Arc::new(SpecStore::open(&self.directory.join("ports"))?),
            tally: Arc::default(),
        };
        let spec = self.spec(&parts)?;
        parts.store.keep(&spec)?;
        let session = Session::open(&parts, &spec).await?;
        let mut lines = Vec::new();
        let mut taken = 0;
        // A look shows what the steps of the one before severed.
        loop {
            let steps = session.look().await?.steps;
            if steps.is_empty() {
                return Ok(taken);
            }
            lines.extend(steps.iter().map(ToString::to_string));
            let plan = self.directory.join(PLAN);
            fs::write(&plan, lines.join("\n")).with_context(|| format!("cannot write {}", plan.display()))?;
            for step in &steps {
                if taken == self.steps {
                    return Ok(taken);
                }
                session.apply(step).await?;
                taken += 1;
            }
        }
    }

    fn spec(&self, parts: &Parts) -> Result<PortSpec> {
        match self.way {
            Way::Wire => {
                let request = v1::AttachRequest {
                    netns: self.netns.clone(),
                    hostname: scene::HOSTNAME.to_owned(),
                    ..v1::AttachRequest::default()
                };
                Ok(api::port_spec(&request)?)
            }
            Way::Unwire => {
                let (mut specs, unreadable) = parts.store.load()?;
                if !unreadable.is_empty() {
                    bail!("{unreadable:?}");
                }
                let mut spec = specs.pop().ok_or_else(|| anyhow!("no port was asked for"))?;
                spec.wanted = false;
                Ok(spec)
            }
        }
    }
}

/// Called by the tests below with orders, it crashes as it is told. Without orders it takes all steps, both ways, and
/// sees that nothing is left to do: that the rehearsal is the play.
#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn rehearsal() {
    require_netns!();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(orders) = Orders::from_environment() {
        runtime.block_on(orders.take_steps()).unwrap();
        kill(Pid::this(), Signal::SIGKILL).unwrap();
    }
    for lacking in [vec![], vec![Feature::Tcx]] {
        let topology = Pod::default().build().unwrap();
        let before = Snapshot::take(&topology.pod).unwrap();
        let agent = Agent::builder().prepare().unwrap();
        for way in [Way::Wire, Way::Unwire] {
            let orders = Orders {
                steps: usize::MAX,
                netns: scene::path(&topology.pod).unwrap().to_owned(),
                directory: agent.dir().to_owned(),
                way,
                lacking: lacking.clone(),
            };
            assert!(runtime.block_on(orders.take_steps()).unwrap() >= 3);
        }
        assert_eq!(before.changes(&Snapshot::take(&topology.pod).unwrap()), Vec::<String>::new());
    }
}

/// Runs the rehearsal in a process of its own; returns the plan whose first `steps` steps it took.
fn crash(
    agent: &Agent,
    topology: &Topology,
    way: Way,
    without_tcx: bool,
    steps: usize,
) -> Result<Vec<String>> {
    let plan = agent.dir().join(PLAN);
    fs::remove_file(&plan).ok();
    let mut command = Command::new(env::current_exe().context("cannot find this binary")?);
    command.args(["--exact", "crash::rehearsal", "--include-ignored", "--nocapture"]);
    command.env(STEPS, steps.to_string()).env(NETNS, topology.pod.path()).env(DIRECTORY, agent.dir());
    if way == Way::Unwire {
        command.env(UNWIRE, "1");
    }
    if without_tcx {
        command.env(WITHOUT_TCX, "1");
    }
    let done = run(&mut command, REHEARSAL)?;
    if done.code != KILLED {
        bail!("the rehearsal ended with {} instead of SIGKILL: {}{}", done.code, done.stdout, done.stderr);
    }
    read_plan(&plan)
}

fn read_plan(file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn builder(without_tcx: bool) -> AgentBuilder {
    if without_tcx { Agent::builder().arg("--without").arg("tcx") } else { Agent::builder() }
}

/// For every number of steps: crash, start, see that the port becomes ready and works, detach, see that it is gone.
fn wiring(without_tcx: bool) {
    let mut crashes = 0;
    loop {
        let topology = Pod::default().build().unwrap();
        let before = Snapshot::take(&topology.pod).unwrap();
        let mut agent = builder(without_tcx).prepare().unwrap();
        let plan = crash(&agent, &topology, Way::Wire, without_tcx, crashes).unwrap();
        let next = plan.get(crashes).map_or("the end", String::as_str);
        println!("crash before step {} of {}: {next}", crashes + 1, plan.len());

        agent.start().unwrap();
        let scene = Scene { agent, topology };
        scene
            .wait_port(&format!("the port to recover from a crash before `{next}`"), |p| {
                p["state"] == "ready"
            })
            .unwrap();
        let guest = scene.guest().unwrap();
        assert!(is_pods(lease(&guest, DhcpClient::Udhcpc).unwrap().address));
        wait_ping(scene.node(), &POD4.to_string()).unwrap();
        drop(guest);
        assert_eq!(scene.detach().unwrap().len(), 1);
        assert_eq!(
            before.changes(&Snapshot::take(scene.pod()).unwrap()),
            Vec::<String>::new(),
            "before `{next}`"
        );
        assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new(), "before `{next}`");
        if crashes == plan.len() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 6, "a port is wired in no less than six steps");
}

/// For every number of steps of taking a port off: crash, start, see that the port goes.
fn unwiring(without_tcx: bool) {
    let mut crashes = 0;
    loop {
        let mut scene = Scene::with(Pod::default(), builder(without_tcx)).unwrap();
        let before = Snapshot::take(scene.pod()).unwrap();
        scene.attach(&[]).unwrap();
        scene.agent.kill9().unwrap();
        let plan = crash(&scene.agent, &scene.topology, Way::Unwire, without_tcx, crashes).unwrap();
        let next = plan.get(crashes).map_or("the end", String::as_str);
        println!("crash before step {} of {}: {next}", crashes + 1, plan.len());

        scene.agent.start().unwrap();
        traces::wait_none(&scene.agent).unwrap();
        assert_eq!(
            before.changes(&Snapshot::take(scene.pod()).unwrap()),
            Vec::<String>::new(),
            "before `{next}`"
        );
        assert_eq!(scene.agent.json(&["status"]).unwrap(), serde_json::json!([]));
        // The pod is free for a new port.
        scene.attach(&["--queues", "2"]).unwrap();
        if crashes == plan.len() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 4, "a port is taken off in no less than four steps");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn wiring_recovers_from_every_step_with_tcx() {
    require_netns!();
    wiring(false);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn wiring_recovers_from_every_step_with_clsact() {
    require_netns!();
    wiring(true);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn taking_off_recovers_from_every_step_with_tcx() {
    require_netns!();
    unwiring(false);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn taking_off_recovers_from_every_step_with_clsact() {
    require_netns!();
    unwiring(true);
}

/// Not between steps but anywhere: the real agent is killed ever later while `netagent attach` waits for it.
#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn attach_recovers_from_a_kill_at_any_moment() {
    require_netns!();
    for round in 0..12 {
        let mut scene = Scene::new().unwrap();
        let before = Snapshot::take(scene.pod()).unwrap();
        // Attaching takes some 50 ms; the rounds cut it off ever later.
        let moment = Duration::from_millis(4 + 6 * round);
        let answer = std::thread::scope(|scope| {
            let binary = scene.agent.binary().to_owned();
            let socket = scene.agent.socket();
            let netns = scene.pod().path().to_owned();
            let ask = scope.spawn(move || {
                let mut command = Command::new(binary);
                command.arg("attach").arg("--socket").arg(socket).arg("--netns").arg(netns);
                run(&mut command, REHEARSAL)
            });
            std::thread::sleep(moment);
            scene.agent.kill9().unwrap();
            ask.join().unwrap().unwrap()
        });
        assert!([0, 1, 3].contains(&answer.code), "{answer:?}");
        scene.agent.start().unwrap();
        // Either the ask was kept before the kill, and the port comes; or it was not, and nothing is there.
        if scene.state_files().unwrap().iter().any(|file| file.extension().is_some_and(|e| e == "json")) {
            scene.wait_port("the port to recover", |port| port["state"] == "ready").unwrap();
        } else {
            assert_ne!(answer.code, 0, "a port was promised and forgotten");
            assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
        }
        scene.attach(&["--hostname", "vm-one"]).unwrap();
        scene.detach().unwrap();
        assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
        poll::try_until("the state directory to be empty", SOON, || {
            Ok(traces::of_ports(&scene.agent)?.is_empty().then_some(()))
        })
        .unwrap();
    }
}
