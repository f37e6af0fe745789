// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts that must fail, with the remedy and without a trace; and the exit codes of the command line.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
    process::Command,
    time::Duration,
};

use netagent_tests::{
    agent::{self, Agent},
    bpffs::BpfFs,
    process::{Finished, run},
};
use nix::mount::{MsFlags, mount};

use crate::{
    require_netns,
    scene::{Scene, TAP},
};

const START: Duration = Duration::from_secs(60);

/// `netagent run` that is expected to end by itself.
fn run_agent(socket: &Path, bpffs: &Path) -> Finished {
    let mut command = Command::new(agent::binary().unwrap());
    command.arg("run").arg("--socket").arg(socket).arg("--bpffs").arg(bpffs);
    run(&mut command, START).unwrap()
}

fn assert_refused(done: &Finished, words: &[&str]) {
    assert_eq!(done.code, 1, "{done:?}");
    for word in words {
        assert!(done.stderr.contains(word), "{word} is not in: {}", done.stderr);
    }
}

fn remount(path: &Path, flags: MsFlags) {
    mount(None::<&str>, path, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn without_a_bpf_file_system_it_says_how_to_mount_one() {
    require_netns!();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("run/agent.sock");
    let plain = dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    for bpffs in [&plain, &dir.path().join("missing")] {
        let done = run_agent(&socket, bpffs);
        assert_refused(&done, &["is not a BPF filesystem", &format!("mount -t bpf bpf {}", bpffs.display())]);
        assert!(!socket.exists());
        assert!(fs::read_dir(&plain).unwrap().next().is_none());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_read_only_bpf_file_system_is_refused_new_and_used() {
    require_netns!();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("run/agent.sock");
    let bpffs = BpfFs::mount(&dir.path().join("bpf")).unwrap();
    remount(bpffs.path(), MsFlags::MS_RDONLY);
    let words = ["is read-only", &format!("mount -o remount,rw {}", bpffs.path().display())];
    assert_refused(&run_agent(&socket, bpffs.path()), &words);
    assert!(!socket.exists());
    assert_eq!(bpffs.pins().unwrap(), Vec::<std::path::PathBuf>::new());

    // One that an earlier agent has used: its folders and maps are there already.
    let mut agent = Agent::builder().start().unwrap();
    assert!(agent.terminate().unwrap().success());
    remount(agent.bpffs().path(), MsFlags::MS_RDONLY);
    let done = run(&mut agent.run_command(), START).unwrap();
    assert_refused(&done, &["is read-only", "remount,rw"]);
    assert!(!agent.socket().exists());
    remount(agent.bpffs().path(), MsFlags::empty());
    agent.start().unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn missing_capabilities_are_named_before_anything_is_touched() {
    require_netns!();
    netagent_tests::require!(netagent_tests::require::Need::Program("setpriv", "util-linux"));
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let bpffs = BpfFs::mount(&dir.path().join("bpf")).unwrap();
    let socket = dir.path().join("run/agent.sock");
    // Where nobody may execute it, whatever folder it was built in.
    let binary = dir.path().join("netagent");
    fs::copy(agent::binary().unwrap(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let all = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_BPF"];
    for (flags, missing) in [
        (&["--bounding-set", "-all", "--inh-caps", "-all"][..], &all[..]),
        (&["--reuid", "65534", "--regid", "65534", "--clear-groups"], &all),
        (&["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"], &all[..1]),
        (&["--bounding-set", "-net_raw", "--inh-caps", "-net_raw"], &all[1..2]),
    ] {
        for verb in ["run", "cleanup"] {
            let mut command = Command::new("setpriv");
            command.args(flags).arg(&binary).arg(verb);
            command.arg("--socket").arg(&socket).arg("--bpffs").arg(bpffs.path());
            let done = run(&mut command, START).unwrap();
            assert_refused(&done, missing);
            for other in all.iter().filter(|one| !missing.contains(one)) {
                assert!(!done.stderr.contains(other), "{flags:?}: {}", done.stderr);
            }
            assert!(done.stderr.contains("run as root"), "{}", done.stderr);
            assert!(!socket.exists());
            assert_eq!(bpffs.pins().unwrap(), Vec::<std::path::PathBuf>::new());
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_second_agent_is_refused_and_the_first_goes_on() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let port = scene.attach(&[]).unwrap();
    let pins = scene.agent.bpffs().pins().unwrap();
    let other_bpffs = tempfile::tempdir().unwrap();
    let mounted = BpfFs::mount(&other_bpffs.path().join("bpf")).unwrap();

    let done = run_agent(&scene.agent.socket(), mounted.path());
    assert_refused(&done, &["another agent answers on", "--socket"]);
    assert_eq!(mounted.pins().unwrap(), Vec::<std::path::PathBuf>::new());

    let other = other_bpffs.path().join("run/agent.sock");
    let done = run_agent(&other, scene.agent.bpffs().path());
    assert_refused(&done, &["another netagent uses", "--bpffs"]);
    assert!(!other.exists());

    assert_eq!(scene.agent.bpffs().pins().unwrap(), pins);
    assert_eq!(scene.show().unwrap()["tap"], port["tap"]);
    scene.detach().unwrap();
    scene.attach(&["--queues", "2"]).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_stale_socket_is_replaced_and_other_files_are_respected() {
    require_netns!();
    let mut agent = Agent::builder().start().unwrap();
    agent.kill9().unwrap();
    assert!(agent.socket().exists(), "a killed agent leaves its socket");
    let unreachable = agent.cli(&["status"]).unwrap();
    assert_eq!(unreachable.code, 3, "{unreachable:?}");
    agent.start().unwrap();
    let mode = fs::metadata(agent.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(agent.terminate().unwrap().success());
    assert!(!agent.socket().exists(), "a stopped agent takes its socket along");

    fs::write(agent.socket(), "precious").unwrap();
    let done = run(&mut agent.run_command(), START).unwrap();
    assert_refused(&done, &["is not a socket", "--socket"]);
    assert_eq!(fs::read_to_string(agent.socket()).unwrap(), "precious");
    fs::remove_file(agent.socket()).unwrap();

    // A living socket of another program.
    let listener = UnixListener::bind(agent.socket()).unwrap();
    let done = run(&mut agent.run_command(), START).unwrap();
    assert_refused(&done, &["answers on"]);
    drop(listener);
    agent.start().unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_broken_configuration_is_refused_by_its_key() {
    require_netns!();
    let mut agent = Agent::builder().prepare().unwrap();
    let config = agent.dir().join("netagent.toml");
    agent.set_args(["--config".to_owned(), config.display().to_string()]);
    for (text, words) in [
        ("resync_secs = 1\n", &["netagent.toml", "resync_secs"][..]),
        ("resync_seconds = 0\n", &["resync_seconds = 0", "1 to 3600"]),
        ("lease_seconds = 'long'\n", &["netagent.toml", "lease_seconds"]),
        ("not toml", &["netagent.toml"]),
    ] {
        fs::write(&config, text).unwrap();
        assert_refused(&run(&mut agent.run_command(), START).unwrap(), words);
        assert!(!agent.socket().exists());
    }
    fs::remove_file(&config).unwrap();
    assert_refused(&run(&mut agent.run_command(), START).unwrap(), &["netagent.toml"]);
    fs::write(&config, "lease_seconds = 600\n").unwrap();
    agent.start().unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn exit_codes_are_those_of_the_contract() {
    require_netns!();
    let mut scene = Scene::new().unwrap();
    let netns = crate::scene::path(scene.pod()).unwrap().to_owned();
    let code = |scene: &Scene, words: &[&str]| scene.agent.cli(words).unwrap().code;
    for done in [
        &["status"][..],
        &["plan", "--netns", &netns],
        &["attach", "--netns", &netns],
        &["show", "--netns", &netns],
    ] {
        assert_eq!(code(&scene, done), 0, "{done:?}");
    }
    for failed in [
        &["show", "1-eth0"][..],
        &["show", "--netns", "/run/netns/natest-not-there"],
        &["attach", "--netns", "/run/netns/natest-not-there"],
        &["attach", "--netns", &netns, "--queues", "3"],
        &["detach", "not a port"],
    ] {
        assert_eq!(code(&scene, failed), 1, "{failed:?}");
    }
    for usage in [
        &["attach"][..],
        &["detach"],
        &["show"],
        &["attach", "--netns", &netns, "--queues", "0"],
        &["attach", "--netns", &netns, "--queues", "257"],
        &["attach", "--netns", &netns, "--mac", "zz"],
        &["attach", "--netns", &netns, "--tap", "a-name-that-is-too-long"],
        &["attach", "--netns", &netns, "--tap", "a/b"],
        &["attach", "--netns", &netns, "--pod-link", "../eth0"],
        &["attach", "--netns", &netns, "--tier", "warp"],
        &["attach", "--netns", &netns, "--owner", "qemu"],
        &["attach", "--netns", &netns, "--no-such-flag"],
        &["no-such-verb"],
        &["status", "-o", "yaml"],
    ] {
        assert_eq!(code(&scene, usage), 2, "{usage:?}");
    }
    assert_eq!(scene.show().unwrap()["tap"]["ifname"], TAP);
    scene.agent.terminate().unwrap();
    for unreachable in [
        &["status"][..],
        &["attach", "--netns", &netns],
        &["plan", "--netns", &netns],
        &["show", "--netns", &netns],
        &["detach", "--netns", &netns],
    ] {
        let done = scene.agent.cli(unreachable).unwrap();
        assert_eq!(done.code, 3, "{unreachable:?}");
        assert!(
            done.stderr.contains("no agent answers on") && done.stderr.contains("netagent run"),
            "{done:?}"
        );
    }
}
