// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent is killed again and again, while it starts and while it works, and ports come and go all the while: in the
//! end there is what was asked for, and nothing else.
//!
//! What is drawn follows from a seed, which is printed: `NETAGENT_CHAOS_SEED` draws the same again (the moments of the
//! kernel's and the scheduler's are another matter). `NETAGENT_CHAOS_KILLS` makes it longer.

use std::{
    env,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use netagent_tests::{
    agent::Agent,
    attached,
    lease::DhcpClient,
    poll,
    process::run,
    topology::{POD4, Pod, Topology},
};
use serde_json::Value;

use crate::{
    require_netns,
    scene::{self, SOON, is_pods, lease, wait_ping},
    snapshot::Snapshot,
    traces::{self, Held},
};

const SEED: &str = "NETAGENT_CHAOS_SEED";
const KILLS: &str = "NETAGENT_CHAOS_KILLS";
const USUAL_KILLS: u64 = 12;
/// Pods that come and go at once.
const PODS: u64 = 4;
/// Longest life of an agent that is killed wherever it is, and of one that had come to answer. It starts in about
/// 300 ms.
const LIFE: u64 = 500;
const LIFE_AT_WORK: u64 = 250;
const CALL: Duration = Duration::from_secs(60);

/// SplitMix64: the same numbers for the same seed, on any machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn sleep_up_to(&mut self, most: u64) {
        thread::sleep(Duration::from_millis(self.below(most)));
    }
}

/// Calls an agent that may be there or not.
struct Caller {
    binary: PathBuf,
    socket: PathBuf,
}

impl Caller {
    /// Whether the agent said that it is done; an agent that died meanwhile has said nothing.
    fn done(&self, verb: &str, pod: &Topology) -> Result<bool> {
        let mut command = Command::new(&self.binary);
        command.arg(verb).arg("--socket").arg(&self.socket).arg("--netns").arg(pod.pod.path());
        Ok(run(&mut command, CALL)?.code == 0)
    }
}

/// What somebody wants of a pod's port, as far as the agent has agreed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreed {
    Port,
    NoPort,
    /// The agent died over the last request.
    Nothing,
}

/// Somebody whose pod comes and goes.
struct Tenant {
    pod: Topology,
    /// The pod without a port.
    bare: Snapshot,
    agreed: Agreed,
    dice: Dice,
}

impl Tenant {
    fn new(seed: u64) -> Result<Self> {
        let pod = Pod::default().build()?;
        let bare = Snapshot::take(&pod.pod)?;
        Ok(Self { pod, bare, agreed: Agreed::NoPort, dice: Dice(seed) })
    }

    fn ask(&mut self, agent: &Caller, port: bool) -> Result<()> {
        let (verb, goal) = if port { ("attach", Agreed::Port) } else { ("detach", Agreed::NoPort) };
        self.agreed = if agent.done(verb, &self.pod)? { goal } else { Agreed::Nothing };
        Ok(())
    }

    /// Comes and goes until it is told to stop.
    fn live(&mut self, agent: &Caller, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            match self.dice.below(5) {
                0..=2 => self.ask(agent, true)?,
                3 => self.ask(agent, false)?,
                // Its pod is deleted without a word, and another one made.
                _ => {
                    let next = Self::new(self.dice.next())?;
                    *self = next;
                }
            }
            self.dice.sleep_up_to(60);
        }
        Ok(())
    }

    /// Comes to an end on which the agent agrees. What it had agreed to before is left to be seen half of the time.
    fn decide(&mut self, agent: &Caller) -> Result<()> {
        let port = self.dice.below(2) == 0;
        while self.agreed == Agreed::Nothing {
            self.ask(agent, port)?;
        }
        Ok(())
    }

    fn has_port(&self) -> bool {
        self.agreed == Agreed::Port
    }
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = env::var(variable) else { return Ok(None) };
    Ok(Some(text.parse().with_context(|| format!("{variable}={text} is not a number"))?))
}

/// Starts, and kills at a moment that is drawn: wherever the agent is, or when it has come to answer.
fn one_life(agent: &mut Agent, dice: &mut Dice) -> Result<()> {
    // One that finds ports on another hook than its own leaves them there.
    let lacks_tcx = dice.below(3) == 0;
    agent.set_args(if lacks_tcx { &["--without", "tcx"][..] } else { &[] }.iter().copied());
    agent.launch()?;
    if dice.below(2) == 0 {
        agent.wait_until_it_answers()?;
        dice.sleep_up_to(LIFE_AT_WORK);
    } else {
        dice.sleep_up_to(LIFE);
    }
    agent.kill9()
}

/// The ids of all ports, once all are as desired.
fn settled(agent: &Agent) -> Result<Vec<Value>> {
    poll::try_until("all ports to be ready", SOON, || {
        let all = agent.json(&["status"])?;
        let Some(all) = all.as_array() else { bail!("no list: {all}") };
        Ok(all.iter().all(|port| port["state"] == "ready").then(|| all.clone()))
    })
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn killed_at_random_it_ends_with_what_was_asked_for_and_nothing_else() {
    require_netns!();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number(SEED).unwrap().unwrap_or(u64::from(clock.subsec_nanos()));
    let kills = number(KILLS).unwrap().unwrap_or(USUAL_KILLS);
    println!("{SEED}={seed} {KILLS}={kills}");
    let mut dice = Dice(seed);

    let mut agent = Agent::builder().start().unwrap();
    let held = Held::by(&agent).unwrap();
    agent.kill9().unwrap();
    let caller = Caller { binary: agent.binary().to_owned(), socket: agent.socket() };
    let mut tenants: Vec<_> = (0..PODS).map(|_| Tenant::new(dice.next()).unwrap()).collect();

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let lives: Vec<_> =
            tenants.iter_mut().map(|tenant| scope.spawn(|| tenant.live(&caller, &stop))).collect();
        let killed = (0..kills).try_for_each(|_| one_life(&mut agent, &mut dice));
        stop.store(true, Ordering::Relaxed);
        lives.into_iter().for_each(|life| life.join().unwrap().unwrap());
        killed.unwrap();
    });

    agent.set_args::<&str>([]);
    agent.start().unwrap();
    for tenant in &mut tenants {
        tenant.decide(&caller).unwrap();
    }
    let with_port: Vec<_> = tenants.iter().filter(|tenant| tenant.has_port()).collect();
    let without: Vec<_> = tenants.iter().filter(|tenant| !tenant.has_port()).collect();
    println!("{} of {PODS} pods have a port in the end", with_port.len());

    // A pod that was deleted takes its port along, within about a second.
    poll::try_until("the ports of living pods to be the only ones", SOON, || {
        Ok((settled(&agent)?.len() == with_port.len()).then_some(()))
    })
    .unwrap();
    for tenant in &with_port {
        let path = scene::path(&tenant.pod.pod).unwrap();
        assert_eq!(scene::show(&agent, &tenant.pod).unwrap()["state"], "ready");
        let plan = agent.json(&["plan", "--netns", path]).unwrap();
        assert_eq!(plan["steps"], serde_json::json!([]), "a port is not what was asked for");
        assert_eq!(attached::programs(&tenant.pod.pod).unwrap().len(), 3);
        let guest = scene::guest(&agent, &tenant.pod).unwrap();
        assert!(is_pods(lease(&guest, DhcpClient::Udhcpc).unwrap().address));
        wait_ping(&tenant.pod.node, &POD4.to_string()).unwrap();
    }
    for tenant in &without {
        let now = Snapshot::take(&tenant.pod.pod).unwrap();
        assert_eq!(tenant.bare.changes(&now), Vec::<String>::new(), "a pod is not as it was");
    }
    poll::try_until("what the ports hold to be theirs alone", SOON, || {
        let entries = traces::entries_in_use(&agent)?.len();
        let files = scene::state_files(&agent)?.len();
        let ids: Vec<String> =
            settled(&agent)?.iter().filter_map(|port| port["id"].as_str().map(str::to_owned)).collect();
        let strays = traces::port_pins(&agent)?
            .into_iter()
            .filter(|pin| !ids.iter().any(|id| pin.contains(id)))
            .count();
        Ok(((entries, files, strays) == (ids.len(), ids.len(), 0)).then_some(()))
    })
    .unwrap_or_else(|e| panic!("{e:#}: {:?}", traces::of_ports(&agent)));

    for tenant in &with_port {
        assert_eq!(scene::detach(&agent, &tenant.pod).unwrap().len(), 1);
        let now = Snapshot::take(&tenant.pod.pod).unwrap();
        assert_eq!(tenant.bare.changes(&now), Vec::<String>::new(), "a pod is not as it was");
    }
    traces::wait_none(&agent).unwrap();
    held.wait_back(&agent).unwrap();
}
