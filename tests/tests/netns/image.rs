// SPDX-License-Identifier: MIT OR Apache-2.0
//! The image in a real containerd, with what the DaemonSet gives it and nothing else: its capabilities, the runtime's
//! seccomp filter, a root file system that is read-only.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
    time::Duration,
};

use netagent_tests::{
    bpffs::BpfFs,
    ctr::Runtime,
    image::programs::Release,
    poll,
    process::{Finished, run, run_ok},
    scrape::{Scrape, get},
    topology::Pod,
};
use serde_json::Value;

use crate::{deploy, require_netns, scene::SOON};

const CLI: Duration = Duration::from_secs(60);
const PLUGIN_FOLDER: &str = "/host/opt/cni/bin";

/// What a container gets, as words of `ctr run`.
#[derive(Default)]
struct Flags(Vec<String>);

impl Flags {
    /// As `drop: [ALL]` and `add: …`: of the capabilities that containerd gives by itself, only those that are named.
    fn capabilities(mut self, given: &[String]) -> Self {
        const USUAL: [&str; 14] = [
            "CHOWN",
            "DAC_OVERRIDE",
            "FSETID",
            "FOWNER",
            "MKNOD",
            "NET_RAW",
            "SETGID",
            "SETUID",
            "SETFCAP",
            "SETPCAP",
            "NET_BIND_SERVICE",
            "SYS_CHROOT",
            "KILL",
            "AUDIT_WRITE",
        ];
        let dropped = USUAL.iter().filter(|one| !given.iter().any(|given| given == *one));
        self.0.extend(dropped.flat_map(|one| ["--cap-drop".to_owned(), format!("CAP_{one}")]));
        self.0.extend(given.iter().flat_map(|one| ["--cap-add".to_owned(), format!("CAP_{one}")]));
        self
    }

    fn mount(mut self, from: &Path, to: &str, options: &str) -> Self {
        self.0.push("--mount".to_owned());
        self.0.push(format!("type=bind,src={},dst={to},options={options}", from.display()));
        self
    }

    fn words<'a>(&'a self, first: &[&'a str], last: &[&'a str]) -> Vec<&'a str> {
        let ours = self.0.iter().map(String::as_str);
        first.iter().copied().chain(ours).chain(last.iter().copied()).collect()
    }
}

/// Whether this process could give the capability of this number to others.
fn may_have(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    u64::from_str_radix(bounding.trim(), 16).unwrap() >> capability & 1 == 1
}

/// The agent's container of the DaemonSet, its configuration, and the image's name.
fn manifest() -> (Value, String, String) {
    let rendered = deploy::objects("deploy");
    let of = |kind: &str| rendered.iter().find(|object| object["kind"] == kind).unwrap();
    let agent = of("DaemonSet")["spec"]["template"]["spec"]["containers"][0].clone();
    let image = agent["image"].as_str().unwrap().to_owned();
    (agent, of("ConfigMap")["data"]["netagent.toml"].as_str().unwrap().to_owned(), image)
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_image_s_agent_serves_and_wires_with_what_the_daemon_set_gives_it() {
    require_netns!();
    let archive =
        std::env::var("NETAGENT_IMAGE").expect("run the tests by `cargo xtask test`: it packs the image");
    let (container, configuration, image) = manifest();
    let topology = Pod::default().build().unwrap();
    let node = &topology.node;
    let containerd = Runtime::start(node, Release::Own).unwrap();
    containerd.ctr(&["images", "import", &archive]).unwrap();
    assert!(containerd.ctr(&["images", "list", "--quiet"]).unwrap().lines().any(|name| name == image));

    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    let (run_folder, etc, plugins) = (folder("run"), folder("etc"), folder("plugins"));
    fs::write(etc.join("netagent.toml"), configuration).unwrap();
    let bpffs = BpfFs::mount(&dir.path().join("bpf")).unwrap();

    // The init container.
    let flags = Flags::default().capabilities(&[]).mount(&plugins, PLUGIN_FOLDER, "rbind:rw");
    let first = ["run", "--rm", "--read-only", "--seccomp"];
    let last = [image.as_str(), "install-cni", "/usr/bin/netagent", "install-cni", "--to", PLUGIN_FOLDER];
    containerd.ctr(&flags.words(&first, &last)).unwrap();
    let plugin = plugins.join("netagent");
    let meta = fs::metadata(&plugin).unwrap();
    assert_eq!((meta.permissions().mode() & 0o7777, meta.uid()), (0o755, 0));
    // It runs on the node as it did in the image: nothing of the image is missing.
    let version = run_ok(Command::new(&plugin).arg("--version"), CLI).unwrap();
    assert_eq!(version.trim(), format!("netagent {}", env!("CARGO_PKG_VERSION")));

    // The agent.
    let added = &container["securityContext"]["capabilities"]["add"];
    let mut capabilities: Vec<String> = serde_json::from_value(added.clone()).unwrap();
    // A machine that is a container itself may not have what old kernels alone need.
    capabilities.retain(|name| name != "SYS_RESOURCE" || may_have(24));
    let flags = Flags::default()
        .capabilities(&capabilities)
        .mount(&etc, "/etc/netagent", "rbind:ro")
        .mount(&run_folder, "/run/netagent", "rbind:rw")
        .mount(bpffs.path(), "/bpf", "rbind:rw")
        .mount(Path::new("/run/netns"), "/run/netns", "rbind:rslave:ro")
        .mount(Path::new("/dev/net/tun"), "/dev/net/tun", "bind:rw");
    let host_pid = format!("pid:/proc/{}/ns/pid", std::process::id());
    let first = ["run", "--detach", "--net-host", "--with-ns", &host_pid, "--read-only", "--seccomp"];
    let mut last = vec![image.as_str(), "agent", "/usr/bin/netagent"];
    last.extend(container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()));
    containerd.ctr(&flags.words(&first, &last)).unwrap();

    let address: SocketAddr = "127.0.0.1:9407".parse().unwrap();
    let ready = poll::wait_until("/readyz of the agent in the container", SOON, || {
        get(node, address, "/readyz").ok().filter(|(status, _)| *status == 200)
    });
    ready.unwrap_or_else(|e| panic!("{e:#}; {:?}", containerd.ctr(&["tasks", "list"])));

    // The plugin's binary is the command line, too; it finds the agent as the node's root does.
    let socket = run_folder.join("netagent.sock");
    let ask = |words: &[&str]| -> Finished {
        run(Command::new(&plugin).args(words).arg("--socket").arg(&socket).args(["-o", "json"]), CLI).unwrap()
    };
    let netns = topology.pod.path().to_str().unwrap();
    let attached = ask(&["attach", "--netns", netns, "--hostname", "vm"]);
    assert_eq!(attached.code, 0, "{attached:?}");
    let port: Value = serde_json::from_str(&attached.stdout).unwrap();
    assert_eq!(port["state"], "ready", "{port}");
    let scrape = Scrape::of(node, address).unwrap();
    assert_eq!(scrape.value("netagent_port_ready", &[("port", port["id"].as_str().unwrap())]).unwrap(), 1.0);
    // From inside the container it is heard what changes in a pod, and a tap is asked about.
    scrape.value("netagent_port_tap_dropped_packets_total", &[]).unwrap();
    assert_eq!(ask(&["detach", "--netns", netns]).code, 0);
}
