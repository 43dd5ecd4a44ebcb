//! What greenlang costs in the tier gvisor: the same bundle by greenlang, and by runsc itself.

use serde_json::Value;

use crate::error::{Error, chain};
use crate::peer::{Peer, Slot};
use crate::profiles::Line;
use crate::stats::{Rounds, WARM_UP, summarise};

/// Makes the profile in an `/etc` that only this worker sees.
const SETTINGS: &str = "mkdir /run/etc && cp -a /etc/. /run/etc && mkdir -p /run/etc/greenlang/profiles && \
    printf 'version = 1\\nname = \"bench\"\\nextends = [\"data_processing\"]\\nisolation = \"gvisor\"\\n' \
    >/run/etc/greenlang/profiles/bench.toml && mount --bind /run/etc /etc";

/// Runs `true` both ways in interleaved rounds; runsc comes first in what is returned. `None` where
/// greenlang is not among the peers, or runsc is not installed.
pub(crate) fn measure(peers: &mut [Peer], rounds: Rounds) -> Option<Result<Vec<Line>, String>> {
    let mut peers = peers.iter_mut();
    let peer = peers.find(|peer| peer.program.key == "greenlang")?;
    let version = peer.output(words("runsc --version")).ok()?;
    Some(lines(peer, rounds, &version).map_err(|err| chain(&err)))
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn lines(peer: &mut Peer, rounds: Rounds, version: &str) -> Result<Vec<Line>, Error> {
    let script = ["sh", "-c", SETTINGS].map(str::to_owned);
    peer.output(script.to_vec())?;
    let mut greenlang = peer.program.run(Slot::Short(0));
    greenlang.splice(1..1, ["--profile", "bench"].map(str::to_owned));
    // It tries the platforms once.
    peer.time(vec![greenlang.clone()])?;
    let platform = platform(peer)?;
    let runsc = runsc(peer, &platform);
    let ways = [runsc, greenlang];
    let mut samples = [Vec::new(), Vec::new()];
    for round in rounds.begin() {
        for turn in 0..ways.len() {
            let way = (round + turn) % ways.len();
            let nanos = peer.time(vec![ways[way].clone()])?;
            if round >= WARM_UP {
                samples[way].push(nanos);
            }
        }
    }
    let version = version.lines().next().unwrap_or_default();
    let titles = [
        format!(
            "{}, platform {platform}",
            version.replacen(" version ", " ", 1)
        ),
        "greenlang, profile with isolation = \"gvisor\"".to_owned(),
    ];
    let lines = titles.into_iter().zip(samples);
    Ok(lines
        .filter_map(|(title, samples)| Some((title, summarise(&samples)?)))
        .collect())
}

/// The platform that greenlang has found to work.
fn platform(peer: &mut Peer) -> Result<String, Error> {
    let known = format!("cat /run/{}/@gvisor/runsc.json", peer.program.key);
    let text = peer.output(words(&known))?;
    let known: Option<Value> = serde_json::from_str(&text).ok();
    let platform = known.as_ref().and_then(|known| known["works"][0].as_str());
    platform.map(str::to_owned).ok_or(Error::Output {
        tool: "runsc.json",
        output: text,
    })
}

/// runsc on the same bundle with the same options, but that it makes the cgroup.
fn runsc(peer: &Peer, platform: &str) -> Vec<String> {
    let bundle = peer.program.bundle(Slot::Short(0));
    words(&format!(
        "runsc --root /run/runsc-own --log /run/runsc-own.log --log-format json --platform {platform} \
         --network none --overlay2=none run --bundle {bundle} bench-runsc"
    ))
}
