//! What a profile costs: the same bundle under greenlang with and without one.

use crate::error::{Error, chain};
use crate::peer::{Peer, Slot};
use crate::stats::{Rounds, Summary, WARM_UP, summarise};

/// The names to run with; the first is none.
const PROFILES: [Option<&str>; 3] = [None, Some("default"), Some("compute_only")];

/// One way to run: its title and nanoseconds.
pub(crate) type Line = (String, Summary);

/// Runs `true` each way in interleaved rounds, another one first in each; the way without a profile
/// comes first in what is returned. `None` where greenlang is not among the peers.
pub(crate) fn measure(peers: &mut [Peer], rounds: Rounds) -> Option<Result<Vec<Line>, String>> {
    let peer = peers
        .iter_mut()
        .find(|peer| peer.program.key == "greenlang")?;
    Some(lines(peer, rounds).map_err(|err| chain(&err)))
}

fn lines(peer: &mut Peer, rounds: Rounds) -> Result<Vec<Line>, Error> {
    let mut samples = PROFILES.map(|_| Vec::new());
    for round in rounds.begin() {
        for turn in 0..PROFILES.len() {
            let way = (round + turn) % PROFILES.len();
            let nanos = peer.time(vec![command(peer, PROFILES[way])])?;
            if round >= WARM_UP {
                samples[way].push(nanos);
            }
        }
    }
    let mut lines = Vec::new();
    for (name, samples) in PROFILES.iter().zip(samples) {
        let title = name.map_or("without a profile", |name| name);
        lines.extend(summarise(&samples).map(|summary| (title.to_owned(), summary)));
    }
    Ok(lines)
}

fn command(peer: &Peer, profile: Option<&str>) -> Vec<String> {
    let mut command = peer.program.run(Slot::Short(0));
    if let Some(name) = profile {
        // Before the verb, as an engine puts `runtimeArgs`.
        let words = ["--profile", name].map(str::to_owned);
        command.splice(1..1, words);
    }
    command
}
