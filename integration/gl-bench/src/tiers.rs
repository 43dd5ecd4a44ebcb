//! What `gl run` costs in each tier: a start beside others that make sandboxes, and programs that run in one.

use crate::container;
use crate::error::{Error, chain};
use crate::peer::Peer;
use crate::profiles::Line;
use crate::setup::Folder;
use crate::stats::{Rounds, WARM_UP, summarise};

/// `gl`, as every worker sees it.
pub(crate) const GL: &str = "/tmp/gl";

/// The profile of every `gl run`, for pure computation.
pub(crate) const PROFILE: &str = "compute_only";

/// A table: its title and what was measured, the line that the others are compared with first.
pub(crate) type Table = (&'static str, Result<Vec<Line>, String>);

/// One way to do what others of a table do.
#[derive(Debug)]
pub(crate) struct Way {
    /// For the table.
    pub(crate) name: String,
    /// The peer in whose root it is started.
    pub(crate) peer: usize,
    /// The command.
    pub(crate) command: Vec<String>,
}

/// A table to be: its title and the ways to do the same in greenlang's root, by name and command.
type Ways = (&'static str, Vec<(&'static str, Vec<String>)>);

/// Keys of the tables, for `--only`.
pub(crate) const KEYS: [&str; 7] = [
    "tier-basic",
    "tier-namespace",
    "tier-container",
    "tier-gvisor",
    "tier-docker",
    "tier-busy",
    "tier-calling",
];

/// Measures the tables that are wanted, each in interleaved rounds. `None` where greenlang is not among the peers,
/// or comes without `gl`.
pub(crate) fn measure(
    folder: &Folder,
    peers: &mut [Peer],
    rounds: Rounds,
    wants: impl Fn(&str) -> bool,
) -> Option<Vec<Table>> {
    let own = peers
        .iter()
        .position(|peer| peer.program.key == "greenlang")?;
    let peer = &mut peers[own];
    peer.output(words(&format!("{GL} --version"))).ok()?;
    let has_gvisor = wants("tier-gvisor") && peer.output(words("runsc --version")).is_ok();
    let with_docker = wants("tier-docker") && import(peer).is_ok();
    let all = KEYS.into_iter().filter(|&key| match key {
        "tier-gvisor" => has_gvisor,
        "tier-docker" => with_docker,
        key => wants(key),
    });
    let tables = all.map(|key| {
        let (title, ways) = match key {
            "tier-container" => (container::TITLE, container::ways(folder, peers, own)),
            key => in_root_of(own, ways(key)),
        };
        let lines = ways.and_then(|ways| lines(peers, rounds, &ways));
        (title, lines.map_err(|err| chain(&err)))
    });
    let mut tables: Vec<Table> = tables.collect();
    if with_docker && let Err(err) = peers[own].output(words(&format!("docker rmi {IMAGE}"))) {
        tables.push((
            "the image that was imported for `docker run` is left",
            Err(chain(&err)),
        ));
    }
    Some(tables)
}

/// The ways of a table, all started in the root of one peer.
fn in_root_of(peer: usize, (title, ways): Ways) -> (&'static str, Result<Vec<Way>, Error>) {
    let ways = ways.into_iter().map(|(name, command)| Way {
        name: name.to_owned(),
        peer,
        command,
    });
    (title, Ok(ways.collect()))
}

/// The table with this key.
fn ways(key: &str) -> Ways {
    match key {
        "tier-basic" => basic(),
        "tier-namespace" => namespace(),
        "tier-gvisor" => gvisor(),
        "tier-docker" => docker(),
        "tier-busy" => busy(),
        _ => calling(),
    }
}

/// The bench's root as an image of Docker's, where a daemon answers.
const IMAGE: &str = "gl-bench:root";

fn import(peer: &mut Peer) -> Result<(), Error> {
    let line = format!("tar -C /tmp/rootfs -c . | docker import - {IMAGE}");
    let line = ["/bin/sh", "-c", &line].map(str::to_owned);
    peer.output(words("docker version"))?;
    peer.output(line.to_vec()).map(drop)
}

/// The words of a command that needs no quotes.
pub(crate) fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// `gl run` of a tier.
pub(crate) fn sandboxed(tier: &str, command: &[String]) -> Vec<String> {
    let options = match tier {
        "basic" => "--tier basic --allow",
        "gvisor" => "--tier gvisor --rootfs /tmp/rootfs",
        "container" => "--rootfs /tmp/rootfs",
        _ => "",
    };
    let mut line = words(&format!("{GL} run --profile {PROFILE} {options} --"));
    line.extend_from_slice(command);
    line
}

fn basic() -> Ways {
    let program = words("/usr/bin/true");
    let tier = sandboxed("basic", &program);
    let ways = vec![("no sandbox", program), ("gl run, tier basic", tier)];
    ("`gl run`: a start in the tier basic, in ms", ways)
}

fn namespace() -> Ways {
    let program = words("/usr/bin/true");
    let bubblewrap = "bwrap --unshare-user --unshare-ipc --unshare-pid --unshare-net --unshare-uts --unshare-cgroup \
        --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
        --proc /proc --dev /dev --tmpfs /tmp /usr/bin/true";
    let ways = vec![
        ("bubblewrap, the same namespaces", words(bubblewrap)),
        ("gl run, tier namespace", sandboxed("namespace", &program)),
    ];
    ("`gl run`: a start in the tier namespace, in ms", ways)
}

fn gvisor() -> Ways {
    let program = words("/bin/true");
    let ways = vec![
        (
            "runsc do",
            words("runsc --network none --platform ptrace do /bin/true"),
        ),
        ("gl run, tier gvisor", sandboxed("gvisor", &program)),
    ];
    ("`gl run`: a start in the tier gvisor, in ms", ways)
}

fn docker() -> Ways {
    let docker = format!(
        "docker run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges \
        --memory 512m --pids-limit 64 {IMAGE} /bin/true"
    );
    let ways = vec![
        ("docker run", words(&docker)),
        (
            "gl run --rootfs",
            sandboxed("container", &words("/bin/true")),
        ),
    ];
    ("`gl run`: a start on a root of its own, in ms", ways)
}

/// A program in all the tiers that run it on the host's kernel.
fn everywhere(program: &[String]) -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("no sandbox", program.to_vec()),
        ("gl run, tier basic", sandboxed("basic", program)),
        ("gl run, tier namespace", sandboxed("namespace", program)),
    ]
}

fn busy() -> Ways {
    let program = [
        "/usr/bin/python3",
        "-Ic",
        "sum(i * i for i in range(5_000_000))",
    ]
    .map(str::to_owned);
    let title = "`gl run`: a program that only computes (Python, five million rounds), in ms";
    (title, everywhere(&program))
}

fn calling() -> Ways {
    let program = words("dd if=/dev/zero of=/dev/null bs=1 count=500000 status=none");
    let title = "`gl run`: a program of a million system calls (dd), in ms";
    (title, everywhere(&program))
}

fn lines(peers: &mut [Peer], rounds: Rounds, ways: &[Way]) -> Result<Vec<Line>, Error> {
    let mut samples = vec![Vec::new(); ways.len()];
    for round in rounds.begin() {
        for turn in 0..ways.len() {
            let way = (round + turn) % ways.len();
            let Way { peer, command, .. } = &ways[way];
            let nanos = peers[*peer].time(vec![command.clone()])?;
            if round >= WARM_UP {
                samples[way].push(nanos);
            }
        }
    }
    let lines = ways.iter().zip(samples);
    Ok(lines
        .filter_map(|(way, samples)| Some((way.name.clone(), summarise(&samples)?)))
        .collect())
}
