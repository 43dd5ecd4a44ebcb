//! A run that is recorded.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use gl_basic::{Ended, Finished, Host, HostFiles, Intent, Plan};
use gl_profile::{Format, Layer, Name, Profile};
use gl_seccomp::{Builder, Call, NATIVE, Policy, Syscall, Verdict};

use crate::agent::Agent;
use crate::calls::{NEEDED, SILENT};
use crate::classes::Classes;
use crate::draft::{Draft, Limits, Line, Number, Tier};
use crate::error::Error;
use crate::files::{Paths, Seen};
use crate::fold::is_never_whole;
use crate::headroom::above;
use crate::peaks::Peaks;

/// What is recorded.
#[derive(Debug, Clone)]
pub struct Request {
    /// What tells this run from others: letters, digits, `-` and `_`.
    pub id: String,
    /// The name of the profile.
    pub name: String,
    /// The tier that the profile is for.
    pub tier: Tier,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its environment, `NAME=value`; without `HOME`, that is a directory of its own.
    pub env: Vec<String>,
    /// Its working directory, absolute.
    pub cwd: PathBuf,
    /// Where its private temporary directory is made.
    pub temp: PathBuf,
    /// Calls that the profile is to allow although the profile `default` denies them.
    pub include: Vec<String>,
}

/// What came of it.
#[derive(Debug)]
pub struct Recorded {
    /// How the program ended.
    pub ended: Ended,
    /// The profile.
    pub draft: Draft,
    /// What could not be removed.
    pub left: Vec<Error>,
}

/// Nothing of it holds the program but `no_new_privs`, no capability, and the kernel's own limits.
const OPEN: &str = "version = 1\nname = \"recording\"\nisolation = \"basic\"\nmode = \"permissive\"\n\
                    on_missing = \"degrade\"\nexecution_timeout = 4294967295\n\
                    [limits]\nmemory_limit_bytes = 4611686018427387904\n\
                    cpu_time_limit_seconds = 4294967295\nmax_open_files = 4294967295\n\
                    max_processes = 4194304\nmax_threads = 4194304\n\
                    [network]\nallow_network = true\nallow_loopback = true\n\
                    [process]\ncapabilities = []\n";

const EPERM: u16 = 1;
/// Least limits: what the machine does at another moment differs by that much.
const LEAST_MEMORY: u64 = 64 << 20;
const LEAST_SECONDS: u64 = 30;
const LEAST_CPU_SECONDS: u64 = 10;
const LEAST_FILES: u64 = 64;
const LEAST_PROCESSES: u64 = 4;
const LEAST_THREADS: u64 = 8;

/// A recording that nothing has been made for yet.
#[derive(Debug)]
pub struct Prepared<'a> {
    request: &'a Request,
    plan: Plan,
    intent: Intent,
    landlock: Option<u32>,
}

/// Decides how a program is run, and makes nothing.
///
/// # Errors
///
/// What will keep the program from running; [`Error::Name`], [`Error::Include`], [`Error::Nul`].
pub fn prepare(request: &Request) -> Result<Prepared<'_>, Error> {
    check_name(&request.name)?;
    check_included(&Classes::new()?, &request.include)?;
    let profile = Profile::resolve(Layer::parse("recording", OPEN, Format::Toml)?, &())?;
    let host = Host::detect();
    let wanted = gl_basic::Request {
        args: strings("an argument", &request.command)?,
        env: strings("a variable", &request.env)?,
        cwd: request.cwd.clone(),
        name: request.id.clone(),
        terminal: gl_basic::Terminal::Inherit,
        temp: request.temp.clone(),
    };
    let mut plan = gl_basic::plan(&profile, &host, &HostFiles::default(), &wanted)?;
    plan.filter_by(telling()?);
    Ok(Prepared {
        request,
        intent: Intent::of(&plan)?,
        plan,
        landlock: host.landlock_abi,
    })
}

impl Prepared<'_> {
    /// Runs the program and records it; `front` becomes readable when nobody waits for that any more, and the
    /// program is ended then.
    ///
    /// The caller's signals are passed on, and its end is the program's: a guard between the two ends what is
    /// left. This process must have one thread.
    ///
    /// # Errors
    ///
    /// What kept the program from running; nothing is left of it then. [`Error::Abandoned`].
    pub fn record(&self, front: OwnedFd) -> Result<Recorded, Error> {
        let request = self.request;
        let temp = request.temp.join(format!("gl-{}-", request.id));
        let files = Seen::new(request.tier, temp);
        let mut agent = Agent::new(Classes::new()?, files, request.include.clone());
        agent.look_after(front);
        let mut finished = gl_basic::run(&self.plan, &mut agent)?;
        if agent.abandoned {
            return Err(Error::Abandoned);
        }
        let left = std::mem::take(&mut finished.left);
        let known = Known {
            request,
            has_cgroup: self.plan.cgroup().is_some(),
            landlock: self.landlock,
        };
        let draft = known.draft(agent, &finished);
        draft.check()?;
        Ok(Recorded {
            ended: finished.ended,
            draft,
            left: left.into_iter().map(Error::from).collect(),
        })
    }

    /// Takes away what a process that was killed has left of [`Prepared::record`].
    ///
    /// # Errors
    ///
    /// The first that it meets; all is tried.
    pub fn clean_up(&self) -> Result<(), Error> {
        Ok(self.intent.clean_up()?)
    }
}

/// A name that a profile of one's own can have.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let taken = gl_profile::builtin::is_taken(name);
    match Name::new(name) {
        Some(_) if !taken => Ok(()),
        _ => Err(Error::Name {
            name: name.to_owned(),
        }),
    }
}

fn check_included(classes: &Classes, include: &[String]) -> Result<(), Error> {
    for call in include {
        let refused = |problem| Error::Include {
            call: call.clone(),
            problem,
        };
        let known = Syscall::named(call).ok_or_else(|| refused("there is no such call"))?;
        if classes.denies_part_of(known) {
            return Err(refused(
                "only some arguments are denied, and those in every profile",
            ));
        }
    }
    Ok(())
}

fn strings(what: &'static str, all: &[String]) -> Result<Vec<CString>, Error> {
    let strings = all.iter().map(|one| CString::new(one.as_bytes()));
    let strings: Result<Vec<_>, _> = strings.collect();
    strings.or(Err(Error::Nul { what }))
}

/// The filter that tells of each call but the silent ones.
fn telling() -> Result<Policy, Error> {
    let told = Verdict::errno(EPERM);
    let mut builder = Builder::new(NATIVE, told, Verdict::LOG)?;
    for call in SILENT.iter().filter_map(|name| Syscall::named(name)) {
        builder.answer(call, Call::always(Verdict::ALLOW));
    }
    Ok(builder.finish().observed().undisturbed())
}

/// What is known besides what the agent saw.
struct Known<'a> {
    request: &'a Request,
    has_cgroup: bool,
    landlock: Option<u32>,
}

impl Known<'_> {
    fn draft(&self, agent: Agent, finished: &Finished) -> Draft {
        let request = self.request;
        let program = request.command.first().map_or("", String::as_str);
        let deny_groups = agent.denied_groups();
        let left_out = self.calls_left_out(&agent);
        let limits = self.limits(&agent.peaks, finished);
        let paths = agent.files.finish();
        // The tier has all of the host's network or none.
        let network = agent.net.outside || request.tier == Tier::Basic && agent.net.loopback;
        let mut peers = Vec::new();
        if network && !agent.net.outside {
            peers.push("Loopback alone, which this tier cannot tell from the rest.".to_owned());
        }
        peers.extend(agent.net.peers.iter().cloned());
        let mut head = vec![
            "Recorded by gl record: what one run did, for somebody to read. What it read and wrote was"
                .to_owned(),
            "taken from its own memory. Another run may need more: record it too, and merge both."
                .to_owned(),
        ];
        if is_never_whole(&request.cwd) && request.tier == Tier::Namespace {
            let cwd = request.cwd.display();
            head.push(format!(
                "It ran in {cwd}, which gl run does not show by itself: gl run --chdir {cwd}."
            ));
        }
        Draft {
            name: request.name.clone(),
            description: format!("Recorded from a run of {}", tame(program)),
            head,
            tier: request.tier,
            degrade: self.degrade(network),
            limits,
            network,
            loopback: network || agent.net.loopback,
            peers,
            temp: paths.fresh,
            read: lines(&paths.read),
            written: lines(&paths.written),
            unlisted: unlisted(&paths),
            groups: Vec::new(),
            deny_groups,
            allow: words(agent.words),
            left_out,
        }
    }

    /// What the tier would refuse on this host unless the profile degrades.
    fn degrade(&self, network: bool) -> Option<String> {
        let basic = self.request.tier == Tier::Basic;
        let scoped = self.landlock.is_some_and(|abi| abi >= 6);
        let why = match (self.has_cgroup, basic) {
            (false, _) => "no cgroup could be had: each process has its own limits",
            (true, true) if !scoped => "the kernel's Landlock does not hold signals",
            (true, true) if network => "this tier has all of the host's network, or none",
            _ => return None,
        };
        Some(why.to_owned())
    }

    fn limits(&self, peaks: &Peaks, finished: &Finished) -> Limits {
        let usage = &finished.usage;
        let memory = match self.has_cgroup {
            true => usage.memory_peak,
            // Without one it is the address space of each process that is limited.
            false => peaks.address_space.max(usage.memory_peak),
        };
        let cpu = usage.cpu.unwrap_or(usage.user.saturating_add(usage.system));
        let processes = above(peaks.processes, LEAST_PROCESSES);
        let number = |value: u64, note: String| Number { value, note };
        Limits {
            timeout: seconds(finished.times.run, LEAST_SECONDS),
            memory: number(
                above(memory, LEAST_MEMORY),
                format!("seen: {} KiB", memory.div_ceil(1024)),
            ),
            cpu: seconds(cpu, LEAST_CPU_SECONDS),
            files: number(
                above(peaks.descriptors, LEAST_FILES),
                format!("seen: {}", peaks.descriptors),
            ),
            processes: number(processes, format!("seen: {}", peaks.processes)),
            threads: number(
                above(peaks.threads, LEAST_THREADS).max(processes),
                format!("seen: {}", peaks.threads),
            ),
        }
    }

    /// Comments on what was called and is not allowed.
    fn calls_left_out(&self, agent: &Agent) -> Vec<String> {
        let mut out = Vec::new();
        if !agent.beyond.is_empty() {
            out.push(
                "Called, and left out, since the profile default denies them (gl record --include CALL):"
                    .to_owned(),
            );
            let calls = agent.beyond.iter();
            out.extend(calls.map(|(call, count)| format!("    {call}: {}", times(*count))));
        }
        if self.request.tier == Tier::Basic {
            let called: Vec<_> = gl_basic::never_allowed()
                .filter(|call| agent.words.contains_key(*call))
                .collect();
            if !called.is_empty() {
                out.push(format!(
                    "Denied in this tier all the same: {}",
                    called.join(", ")
                ));
            }
        }
        if agent.foreign > 0 {
            out.push(format!(
                "Calls of another architecture, for which there is no profile: {}",
                times(agent.foreign)
            ));
        }
        if agent.unread > 0 {
            out.push(format!(
                "Calls whose paths could not be read: {}",
                times(agent.unread)
            ));
        }
        out
    }
}

/// Four times what was seen, since a machine is now fast and now slow.
fn seconds(seen: Duration, least: u64) -> Number {
    let up = seen.as_secs().saturating_add(1);
    Number {
        value: above(up.saturating_mul(3), least).min(u32::MAX.into()),
        note: format!("seen: {:.1} s", seen.as_secs_f64()),
    }
}

fn lines(paths: &[PathBuf]) -> Vec<Line> {
    // Others were left out before.
    let texts = paths.iter().filter_map(|path| path.to_str());
    texts.map(|text| Line::new(text, "")).collect()
}

fn unlisted(paths: &Paths) -> Vec<String> {
    let mut out = Vec::new();
    for (what, paths) in [
        ("Opened or read, and not shown:", &paths.unshown),
        (
            "Directories that were looked at or entered, and not shown:",
            &paths.looked,
        ),
    ] {
        if !paths.is_empty() {
            out.push(what.to_owned());
            out.extend(paths.iter().map(|path| format!("    {}", path.display())));
        }
    }
    out
}

/// The words of all calls, with how often each was used. A whole call takes its parts along.
fn words(mut counts: BTreeMap<String, u64>) -> Vec<Line> {
    let is_whole = |word: &str, counts: &BTreeMap<String, u64>| {
        word.split_once('@')
            .is_some_and(|(call, _)| counts.contains_key(call))
    };
    let parts: Vec<(String, u64)> = counts
        .iter()
        .filter(|(word, _)| is_whole(word, &counts))
        .map(|(word, count)| (word.clone(), *count))
        .collect();
    for (word, count) in parts {
        counts.remove(&word);
        let whole = word.split('@').next().unwrap_or_default();
        if let Some(all) = counts.get_mut(whole) {
            *all = all.saturating_add(count);
        }
    }
    for name in SILENT.iter().chain(NEEDED) {
        counts.entry((*name).to_owned()).or_insert(0);
    }
    let silent = |word: &str| SILENT.contains(&word) || NEEDED.contains(&word);
    counts
        .into_iter()
        .map(|(word, count)| {
            let note = match silent(&word) {
                true => "every program".to_owned(),
                false => times(count),
            };
            Line::new(word, note)
        })
        .collect()
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn tame(text: &str) -> String {
    let name = text.rsplit('/').next().unwrap_or(text);
    name.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_call_takes_its_parts_along() {
        let counts = [
            ("openat", 2),
            ("openat@files-read", 5),
            ("clone@threads", 1),
        ];
        let counts = counts.map(|(word, count)| (word.to_owned(), count)).into();
        let words = words(counts);
        let noted = |word: &str| {
            let line = words.iter().find(|line| line.value == word);
            line.map(|line| line.note.as_str())
        };
        assert_eq!(noted("openat"), Some("7 times"));
        assert_eq!(noted("openat@files-read"), None);
        assert_eq!(noted("clone@threads"), Some("once"));
        assert_eq!(noted("read"), Some("every program"));
    }

    #[test]
    fn names_that_are_built_in_are_refused() {
        assert_eq!(check_name("job").map_err(|err| err.to_string()), Ok(()));
        for name in ["default", "Job", "", "maximum"] {
            let err = check_name(name).unwrap_err().to_string();
            let want =
                format!("name the profile {name:?}: that is no name, or one that is built in");
            assert_eq!(err, want);
        }
    }

    #[test]
    fn included_calls_have_to_be_whole_and_there() {
        let classes = Classes::new().unwrap();
        let check = |call: &str| {
            check_included(&classes, &[call.to_owned()]).map_err(|err| err.to_string())
        };
        assert_eq!(check("mount"), Ok(()));
        assert_eq!(
            check("ioctl"),
            Err(
                "include ioctl: only some arguments are denied, and those in every profile"
                    .to_owned()
            )
        );
        assert_eq!(
            check("mont"),
            Err("include mont: there is no such call".to_owned())
        );
    }
}
