// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask demo`: a real VM gets a pod's network, moves traffic, and does not notice that the agent is killed.

mod bridge;
mod evidence;
mod kept;
mod kill;
mod netagent;
mod story;
mod summary;
mod traffic;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use netagent_tests::{
    image::Image,
    interrupt,
    lease::DhcpClient,
    require::{Need as TestNeed, missing},
};

use crate::{build, privilege, progress::Step, setup};

/// Why root is asked for.
const PURPOSE: &str = "the demo makes namespaces";

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave everything running until Ctrl-C or `demo --down`
    #[arg(long, conflicts_with = "bridge")]
    keep: bool,
    /// Then do the same over a Linux bridge, as KubeVirt has it, and compare
    #[arg(long)]
    bridge: bool,
    /// The guest's DHCP client
    #[arg(long, default_value = "udhcpc", value_parser = str::parse::<DhcpClient>, value_name = "udhcpc|dhclient")]
    client: DhcpClient,
    /// Length of each iperf3 run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Connect this terminal to the console of a kept demo's guest
    #[arg(long, exclusive = true)]
    console: bool,
    /// End a kept demo
    #[arg(long, exclusive = true)]
    down: bool,
    /// The agent, already built; for the second start, as root
    #[arg(long, hide = true, value_name = "NETAGENT")]
    prepared: Option<PathBuf>,
}

/// `cargo xtask demo`.
pub(crate) fn run(args: Args) -> Result<()> {
    if args.console || args.down {
        privilege::become_root(PURPOSE, None)?;
        return if args.console { kept::console() } else { kept::down() };
    }
    let agent = match &args.prepared {
        Some(agent) => agent.clone(),
        // As the user: nothing of the build belongs to root.
        None => prepare()?,
    };
    privilege::become_root(PURPOSE, Some(&agent))?;
    let missing = missing(&[TestNeed::Root, TestNeed::Tun, TestNeed::BpfFs, TestNeed::Qemu]);
    if !missing.is_empty() {
        return Err(anyhow!("the demo cannot run here: {}", missing.join("; ")));
    }
    crate::signals::catch()?;
    story(&args, &agent)
}

fn prepare() -> Result<PathBuf> {
    setup::ensure(&[setup::Need::Build, setup::Need::Demo])?;
    let agent = build::agent()?;
    make_image()?;
    Ok(agent)
}

fn make_image() -> Result<()> {
    let step = Step::start("image");
    let image = Image::ensure(&|text| step.note(text));
    match image.as_ref().map_err(|error| anyhow!("{error:#}")).and_then(Image::kernel_version) {
        Ok(version) => step.end("ok", &format!("guest kernel {version}, busybox, iperf3, real DHCP clients")),
        Err(_) => step.end("FAILED", ""),
    }
    image.map(drop)
}

fn story(args: &Args, agent: &Path) -> Result<()> {
    if args.keep {
        kept::check_none()?;
    }
    // Made, and told of, by `prepare`.
    let image = Image::ensure(&|_| ())?;
    let plan = story::Plan { image, client: args.client, seconds: args.seconds };
    let told = (|| {
        let (netagent, stage) = netagent::play(&plan, agent, args.keep)?;
        let bridge = args.bridge.then(|| bridge::play(&plan)).transpose()?;
        print!("\n{}", summary::text(&netagent, bridge.as_ref()));
        if args.keep {
            kept::keep(stage)?;
        }
        Ok(())
    })();
    if told.is_err() && interrupt::requested() {
        eprintln!("everything was taken down");
    }
    told
}
