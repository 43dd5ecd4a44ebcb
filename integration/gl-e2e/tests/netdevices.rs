//! `linux.netDevices`: interfaces of the host that become a container's.
//!
//! The interfaces are ends of veth pairs whose other ends stay on the host. What is looked at is inside: names, addresses
//! and state; and on the host that they are gone, or there again.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::process::{Command, ExitCode};

use gl_e2e::bundle::kernel::eventually;
use gl_e2e::bundle::{self, Bundle, finish};
use gl_e2e::{Outcome, Skip, tests};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        interface_moves_with_its_addresses_and_is_up,
        interface_has_its_name_inside,
        kernel_numbers_a_name_that_ends_in_d,
        name_that_is_taken_inside_is_refused,
        interface_that_is_not_there_is_refused,
        loopback_cannot_be_moved,
        hosts_own_network_is_refused,
        failed_create_gives_the_interface_back,
        interface_of_a_user_namespace_is_its_own,
    ])
}

/// A veth pair, of which one end is to be moved; both are gone when dropped.
struct Pair {
    moved: String,
    stays: String,
}

impl Pair {
    fn new() -> Result<Self, Skip> {
        let tag = std::process::id() % 100_000;
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let pair = Self {
            moved: format!("glm{tag}x{count}"),
            stays: format!("gls{tag}x{count}"),
        };
        let (moved, stays) = (pair.moved.as_str(), pair.stays.as_str());
        let add = ["link", "add", moved, "type", "veth", "peer", "name", stays];
        match ip(&add).code {
            0 => Ok(pair),
            _ => Err(Skip("no veth interfaces".to_owned())),
        }
    }
}

static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

impl Drop for Pair {
    fn drop(&mut self) {
        // With its other end, wherever that is. Gone already with a container's namespace.
        ip(&["link", "del", &self.stays]);
    }
}

fn ip(args: &[&str]) -> bundle::Output {
    finish(Command::new("ip").args(args))
}

fn with(bundle: Bundle, devices: Value) -> Bundle {
    bundle.set("/linux/netDevices", devices)
}

/// Whether the host has an interface of this name.
fn on_host(name: &str) -> bool {
    ip(&["link", "show", name]).code == 0
}

const SHOW: &str = "ip -o addr; ip -o link";

fn interface_moves_with_its_addresses_and_is_up() -> Outcome {
    let pair = Pair::new()?;
    let moved = pair.moved.as_str();
    for address in ["198.51.100.7/24", "198.51.100.9/32", "2001:db8::7/64"] {
        ip(&["addr", "add", address, "dev", moved]).ok();
    }
    // These do not outlive the move: one that ends by itself, and one of the link.
    ip(&[
        "addr",
        "add",
        "203.0.113.5/24",
        "dev",
        moved,
        "valid_lft",
        "600",
        "preferred_lft",
        "600",
    ])
    .ok();
    ip(&[
        "addr",
        "add",
        "169.254.7.7/16",
        "scope",
        "link",
        "dev",
        moved,
    ])
    .ok();
    let box_ = with(
        Bundle::sh(&format!("{SHOW}; exec sleep 1000")),
        json!({moved: {}}),
    )
    .started();
    let seen = box_.wait_for("link/ether");
    assert!(!on_host(moved), "still on the host");
    let all = box_.inside("ip -o addr") + &seen;
    for address in ["198.51.100.7/24", "198.51.100.9/32", "2001:db8::7/64"] {
        assert!(all.contains(address), "no {address}: {all}");
    }
    for address in ["203.0.113.5", "169.254.7.7"] {
        assert!(!all.contains(address), "{address}: {all}");
    }
    let link = box_.inside(&format!("ip -o link show {moved}"));
    assert!(link.contains(",UP"), "{link}");
    // Its other end leads there.
    ip(&["link", "set", &pair.stays, "up"]).ok();
    let carrier = format!("/sys/class/net/{moved}/carrier");
    eventually("the two ends are connected", || {
        box_.inside(&format!("cat {carrier}"))
            .starts_with('1')
            .then_some(())
    });
    box_.delete_force().ok();
    Ok(())
}

fn interface_has_its_name_inside() -> Outcome {
    let (one, two) = (Pair::new()?, Pair::new()?);
    let devices = json!({&one.moved: {"name": "net0"}, &two.moved: {"name": ""}});
    let out = with(Bundle::sh("ls /sys/class/net"), devices).run().ok();
    let mut names: Vec<_> = out.stdout.split_whitespace().collect();
    names.sort_unstable();
    let mut want = vec!["lo", "net0", two.moved.as_str()];
    want.sort_unstable();
    assert_eq!(names, want, "{out:?}");
    Ok(())
}

fn kernel_numbers_a_name_that_ends_in_d() -> Outcome {
    let (one, two) = (Pair::new()?, Pair::new()?);
    let devices = json!({&one.moved: {"name": "net%d"}, &two.moved: {"name": "net%d"}});
    let out = with(Bundle::sh("ls /sys/class/net"), devices).run().ok();
    let mut names: Vec<_> = out.stdout.split_whitespace().collect();
    names.sort_unstable();
    assert_eq!(names, ["lo", "net0", "net1"], "{out:?}");
    Ok(())
}

fn name_that_is_taken_inside_is_refused() -> Outcome {
    let pair = Pair::new()?;
    let box_ = with(Bundle::new(), json!({&pair.moved: {"name": "lo"}}));
    let out = box_.create().failed();
    out.says("name linux.netDevices[")
        .says(&pair.moved)
        .says("file exists");
    assert!(on_host(&pair.moved), "it is not on the host any more");
    Ok(())
}

fn interface_that_is_not_there_is_refused() -> Outcome {
    let box_ = with(Bundle::new(), json!({"gl-none0": {}}));
    let out = box_.create().failed();
    out.says("find linux.netDevices[")
        .says("gl-none0")
        .says("no such device");
    Ok(())
}

fn loopback_cannot_be_moved() -> Outcome {
    let box_ = with(Bundle::new(), json!({"lo": {"name": "lo2"}}));
    box_.create()
        .failed()
        .says("move linux.netDevices[")
        .says("invalid argument");
    assert!(on_host("lo"), "no lo on the host");
    Ok(())
}

fn hosts_own_network_is_refused() -> Outcome {
    let pair = Pair::new()?;
    let none = with(
        Bundle::new().namespace("network", None),
        json!({&pair.moved: {}}),
    );
    none.create().failed().says("linux.netDevices");
    let own = format!("/proc/{}/ns/net", std::process::id());
    let by_path = Bundle::new().namespace("network", Some(json!({"type": "network", "path": own})));
    let out = with(by_path, json!({&pair.moved: {}})).create().failed();
    out.says("linux.netDevices");
    assert!(on_host(&pair.moved), "it is not on the host any more");
    Ok(())
}

fn failed_create_gives_the_interface_back() -> Outcome {
    let pair = Pair::new()?;
    let moved = pair.moved.as_str();
    ip(&["addr", "add", "198.51.100.7/24", "dev", moved]).ok();
    ip(&["link", "set", moved, "up"]).ok();
    let box_ = with(Bundle::new(), json!({moved: {"name": "net0"}})).args(&["/not/there"]);
    box_.create().failed().says("/not/there");
    let seen = ip(&["-o", "addr", "show", moved]).ok();
    assert!(seen.stdout.contains("198.51.100.7/24"), "{seen:?}");
    let link = ip(&["-o", "link", "show", moved]).ok();
    assert!(link.stdout.contains(",UP"), "{link:?}");
    Ok(())
}

fn interface_of_a_user_namespace_is_its_own() -> Outcome {
    let pair = Pair::new()?;
    let map = bundle::config::id_map(100_000, 65536);
    let box_ = Bundle::sh("ls /sys/class/net")
        .namespace("user", Some(json!({"type": "user"})))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    let chown = ["-R", "100000:100000", box_.rootfs().to_str().unwrap()].map(str::to_owned);
    finish(Command::new("chown").args(chown)).ok();
    let out = with(box_, json!({&pair.moved: {"name": "net0"}}))
        .run()
        .ok();
    assert!(out.stdout.contains("net0"), "{out:?}");
    Ok(())
}
