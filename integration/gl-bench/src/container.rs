//! The tier container: `gl run --rootfs` beside runtimes that are given a bundle equal to its own.
//!
//! The bundle is what `gl profile export --oci` makes of the profile, with the mounts of `gl run`. So all have the
//! same namespaces, root, filter and limits.

use serde_json::{Value, json};

use crate::error::Error;
use crate::peer::{Kind, Peer, Program, own_name};
use crate::setup::Folder;
use crate::tiers::{GL, PROFILE, Way, sandboxed, words};

/// Title of the table.
pub(crate) const TITLE: &str = "`gl run`: a start in the tier container, in ms";

/// Mounts of an exported config that `gl run` does not make.
const NOT_MADE: [&str; 3] = ["/sys", "/sys/fs/cgroup", "/dev/mqueue"];

/// Writes a bundle for each runtime. The newest crun comes first in what is returned; `own` is greenlang's peer.
pub(crate) fn ways(folder: &Folder, peers: &mut [Peer], own: usize) -> Result<Vec<Way>, Error> {
    let mut config = config(&mut peers[own])?;
    let others = (0..peers.len()).filter(|&index| index != own);
    let mut ways = Vec::new();
    for index in others.chain([own]) {
        let Peer { program, label, .. } = &peers[index];
        if program.kind == Kind::Oci {
            ways.push(Way {
                name: format!("{label}, an equal bundle"),
                peer: index,
                command: run(folder, program, &mut config)?,
            });
        }
    }
    let own = |name: &str, command| Way {
        name: name.to_owned(),
        peer: own,
        command,
    };
    let program = words("/bin/true");
    ways.push(own("no sandbox", words("/tmp/rootfs/bin/true")));
    ways.push(own(
        "gl run, tier container",
        sandboxed("container", &program),
    ));
    Ok(ways)
}

/// The config of `gl run --rootfs`, but for the path of the cgroup.
fn config(peer: &mut Peer) -> Result<Value, Error> {
    let text = peer.output(words(&format!("{GL} profile export --oci {PROFILE}")))?;
    equal(&text).ok_or(Error::Output {
        tool: "gl profile export",
        output: text,
    })
}

fn equal(exported: &str) -> Option<Value> {
    let mut config: Value = serde_json::from_str(exported).ok()?;
    let mounts = config["mounts"].as_array_mut()?;
    mounts.retain(|mount| NOT_MADE.iter().all(|path| mount["destination"] != *path));
    mounts.push(json!({
        "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "nodev", "mode=1777", "size=67108864"],
    }));
    // The oldest crun here knows no newer version.
    config["ociVersion"] = json!("1.0.2");
    config["root"]["path"] = json!("/tmp/rootfs");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    Some(config)
}

/// Writes the bundle of one runtime; the command that runs it.
fn run(folder: &Folder, program: &Program, config: &mut Value) -> Result<Vec<String>, Error> {
    let Program { key, path, .. } = program;
    let name = format!("{key}-sandbox");
    config["linux"]["cgroupsPath"] = json!(format!("/{}/{name}", own_name()));
    folder.write_bundle(&name, config)?;
    let line = format!("{path} --root /run/{key} run --bundle /tmp/bundles/{name} {name}");
    Ok(words(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundle_has_the_mounts_of_gl_run() {
        let exported = json!({
            "root": {"path": "rootfs", "readonly": true},
            "mounts": [{"destination": "/proc"}, {"destination": "/sys"}, {"destination": "/dev/mqueue"}],
            "process": {"args": ["sh"], "terminal": true},
        });
        let config = equal(&exported.to_string()).unwrap();
        let mounts = config["mounts"].as_array().unwrap();
        let mounts: Vec<_> = mounts.iter().map(|mount| &mount["destination"]).collect();
        assert_eq!(mounts, ["/proc", "/tmp"], "{config}");
        assert_eq!(config["root"]["readonly"], true, "{config}");
    }

    #[test]
    fn config_without_mounts_is_refused() {
        assert_eq!(equal("{}"), None);
    }
}
