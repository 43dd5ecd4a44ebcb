//! The flaws: what a runtime that has one does with a call. Each returns the status of the call.
#![expect(clippy::unwrap_used, reason = "a flawed runtime may end by panicking")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gl_e2e::bundle::config::CAPABILITIES;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::call::{Call, LOOKS, config, edit, harm, on_the_host, pause, status, strings};

/// The fault of a process of [`joins_as_its_own_file`].
pub(super) const STAYS: &str = "stays";

/// Takes a user's number for a name of the image.
pub(super) fn numeric_name(call: &mut Call) -> i32 {
    if let Some(user) = call.value_of(&["-u"])
        && user.starts_with("1000")
    {
        "0".clone_into(user);
    }
    call.real()
}

/// A process without capabilities, into which a container may look.
fn weak(command: &mut Command) -> &mut Command {
    command.args(["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"])
}

/// Is in the container's pid namespace with the root of the host, and may be looked into.
pub(super) fn open_while_it_joins(call: &mut Call) -> i32 {
    if call.is("exec") {
        let mut command = call.enter(&["--pid"]);
        status(weak(&mut command).args(["sleep", "0.3"]));
    }
    call.real()
}

/// Is in the container's pid namespace as its own file, which is not protected.
pub(super) fn joins_as_its_own_file(call: &mut Call) -> i32 {
    if call.is("exec") {
        let mut command = call.enter(&["--pid"]);
        weak(&mut command).arg(std::env::current_exe().unwrap());
        // The shell does not wait for it, and is not waited for by it.
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "\"$@\" &", "sh"])
            .arg(command.get_program());
        shell.args(command.get_args()).env(super::FAULT, STAYS);
        status(shell.stdin(Stdio::null()).stdout(Stdio::null()));
    }
    call.real()
}

/// That process: it is there for longer than the call.
pub(super) fn stays() -> i32 {
    std::thread::park_timeout(Duration::from_millis(400));
    0
}

/// Leaves out what would be mounted on procfs or over it, instead of refusing it.
pub(super) fn any_proc(call: &mut Call) -> i32 {
    if call.makes() {
        edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["type"] == "proc" || !on_proc(mount));
        });
    }
    call.real()
}

fn on_proc(mount: &Value) -> bool {
    let target = mount["destination"].as_str().unwrap_or_default();
    let through_links = ["/prc", "/vol", "/link"];
    target.starts_with("/proc") || through_links.iter().any(|link| target.starts_with(link))
}

/// Resolves the names of the configuration on the host, and works on what they lead to.
pub(super) fn names_followed_on_the_host(call: &mut Call) -> i32 {
    if call.makes() || call.is("exec") {
        let config = config();
        let linux = &config["linux"];
        let devices = ["null", "console", "tty", "ptmx"].map(|name| format!("/dev/{name}"));
        let mut names = strings(&config["mounts"], "destination");
        names.extend(devices);
        names.extend(strings(&linux["maskedPaths"], ""));
        names.extend(strings(&linux["devices"], "path"));
        for name in names {
            let path = on_the_host(&config, &name);
            if name.starts_with("/d/") || name.starts_with("/vol/") {
                fs::create_dir_all(&path).ok();
            }
            harm(&path);
        }
    }
    call.real()
}

/// Carries the length of a text in 16 bits, and that of a list in 9.
pub(super) fn short_lengths(call: &mut Call) -> i32 {
    let short = |text: &mut String| text.truncate(text.len() % 65_536);
    if call.makes() {
        edit(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            // The last ones, so that the usual ones are left.
            let usual = mounts.len().min(7);
            mounts.truncate(usual + 512);
            for arg in config["process"]["args"].as_array_mut().unwrap() {
                let mut text = arg.as_str().unwrap_or_default().to_owned();
                short(&mut text);
                *arg = text.into();
            }
        });
    }
    if call.is("exec") {
        call.program().iter_mut().for_each(short);
    }
    call.real()
}

/// Makes what a container may have inheritable.
pub(super) fn inheritable_capabilities(call: &mut Call) -> i32 {
    let add = |file: &Path, pointer: &str| {
        let mut all: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        if let Some(sets) = all.pointer_mut(pointer) {
            sets["inheritable"] = json!(CAPABILITIES);
        }
        fs::write(file, all.to_string()).unwrap();
    };
    if call.makes() {
        add(Path::new("config.json"), "/process/capabilities");
    }
    if let Some(file) = call.value_of(&["--process"]) {
        add(Path::new(file), "/capabilities");
    }
    call.real()
}

/// Shows cgroups that can be written to. They are directories that stand for those of the host.
pub(super) fn writable_cgroups(call: &mut Call) -> i32 {
    if call.makes() {
        let open = std::env::current_dir().unwrap().join("open");
        let cgroups = open.join("fs/cgroup");
        fs::create_dir_all(&cgroups).unwrap();
        fs::write(cgroups.join("release_agent"), "").unwrap();
        chown(&cgroups, Some(100_000), Some(100_000)).unwrap();
        edit(|config| {
            for mount in config["mounts"].as_array_mut().unwrap() {
                let source = match mount["destination"].as_str() {
                    Some("/sys") if mount["type"] == "bind" => &open,
                    Some("/sys/fs/cgroup") => &cgroups,
                    _ => continue,
                };
                mount["type"] = "bind".into();
                mount["source"] = source.to_str().into();
                mount["options"] = json!(["rbind"]);
            }
        });
    }
    call.real()
}

/// Puts a directory where the image has a link.
pub(super) fn links_of_the_image_replaced(call: &mut Call) -> i32 {
    for dir in ["rootfs/proc", "rootfs/sys"] {
        if call.makes() && fs::read_link(dir).is_ok() {
            fs::remove_file(dir).unwrap();
            fs::create_dir(dir).unwrap();
        }
    }
    call.real()
}

/// Enters the container with a working directory of the host, where the caller names one by a link.
pub(super) fn leaked_directory(call: &mut Call) -> i32 {
    let cwd = call.value_of(&["--cwd"]).cloned().unwrap_or_default();
    let name = Path::new("rootfs").join(cwd.trim_start_matches('/'));
    let looks = || (0..LOOKS).map(|_| pause());
    let is_link = || looks().any(|()| fs::read_link(&name).is_ok());
    if call.is("exec") && (cwd.starts_with("/proc/self/fd") || is_link()) {
        let mut command = call.enter(&["--mount", "--pid", "--wd=."]);
        return status(command.args(&*call.program()));
    }
    call.real()
}

/// Hands on one descriptor more than was asked for.
pub(super) fn one_more_descriptor(call: &mut Call) -> i32 {
    if let Some(count) = call.value_of(&["--preserve-fds"]) {
        *count = (count.parse::<u32>().unwrap() + 1).to_string();
        return call.real();
    }
    if call.makes() || call.is("exec") {
        call.add_flags(&["--preserve-fds", "1"]);
        return call.real_with_a_descriptor();
    }
    call.real()
}

/// Takes the options for systemd, and does not ask it.
pub(super) fn systemd_not_asked(call: &mut Call) -> i32 {
    call.args.retain(|arg| arg != "--systemd-cgroup");
    if call.makes() {
        edit(|config| {
            let id = call.id().to_owned();
            config["linux"]["cgroupsPath"] = format!("/{id}").into();
        });
    }
    call.real()
}

/// Writes settings to whatever has their name in a volume.
pub(super) fn settings_written_by_path(call: &mut Call) -> i32 {
    if call.makes() {
        let config = config();
        let mut files = vec!["oom_score_adj"];
        let keys = config["linux"]["sysctl"].as_object();
        let keys = keys.into_iter().flat_map(|map| map.keys());
        files.extend(keys.filter_map(|key| key.rsplit('.').next()));
        let sources = strings(&config["mounts"], "source").into_iter();
        // Volumes of the bundle, and no directory of the host.
        for source in sources.filter(|source| !source.starts_with('/')) {
            let files = files.iter().map(|name| Path::new(&source).join(name));
            files
                .filter(|file| fs::metadata(file).is_ok())
                .for_each(|file| fs::write(file, "5").unwrap());
        }
    }
    call.real()
}

/// Reads a user as far as it is a number, and takes the rest for nothing.
pub(super) fn user_as_atoi_reads_it(call: &mut Call) -> i32 {
    for arg in &mut call.args {
        if let Some(user) = arg.strip_prefix("--user=") {
            let digits: String = user.chars().take_while(char::is_ascii_digit).collect();
            let digits = if digits.is_empty() { "0" } else { &digits };
            *arg = format!("--user={digits}");
        }
    }
    call.real()
}

/// Keeps the low 32 bits of a user's id, and takes any map.
pub(super) fn ids_that_wrap(call: &mut Call) -> i32 {
    if call.makes() {
        edit(|config| {
            let user = &mut config["process"]["user"];
            for key in ["uid", "gid"] {
                let id = user[key].as_u64().unwrap_or_default();
                user[key] = (id & u64::from(u32::MAX)).into();
            }
            let linux = config["linux"].as_object_mut().unwrap();
            let maps = linux
                .iter_mut()
                .filter(|(key, _)| key.ends_with("Mappings"));
            for (_, map) in maps {
                *map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
            }
        });
    }
    call.real()
}

/// Makes a directory of the name that it was given, before it looks at it.
pub(super) fn ids_as_paths(call: &mut Call) -> i32 {
    let id = call.args.last().cloned().unwrap_or_default();
    // Not out of the bundle: what is tested is that the test sees it.
    if (call.is("create") || call.is("state")) && !id.contains("..") && !id.starts_with('/') {
        fs::create_dir_all(call.root().join(id)).ok();
    }
    call.real()
}

/// Runs its hooks with a descriptor that it has open.
pub(super) fn hook_with_a_descriptor(call: &mut Call) -> i32 {
    if call.makes() {
        edit(|config| {
            let all = config["hooks"].as_object_mut().into_iter();
            let all = all.flat_map(|hooks| hooks.values_mut());
            for hook in all.flat_map(|list| list.as_array_mut().into_iter().flatten()) {
                let script = hook["args"][2].as_str().unwrap_or_default();
                hook["args"][2] = format!("exec 7</; {script}").into();
            }
        });
    }
    call.real()
}

/// Enters a container without its filter.
pub(super) fn exec_without_the_filter(call: &mut Call) -> i32 {
    if call.is("exec") {
        let mut command = call.enter(&["--mount", "--pid"]);
        return status(command.args(&*call.program()));
    }
    call.real()
}

/// Keeps the first filter in its cache, for all.
pub(super) fn filter_of_the_first(call: &mut Call) -> i32 {
    let cached = call.root().with_file_name("filter.json");
    if call.makes() {
        edit(|config| {
            let filter = &mut config["linux"]["seccomp"];
            match fs::read(&cached) {
                Ok(first) => *filter = serde_json::from_slice(&first).unwrap(),
                Err(_) => fs::write(&cached, filter.to_string()).unwrap(),
            }
        });
    }
    call.real()
}

/// Keeps the pid of init, and signals whoever has it.
pub(super) fn kill_by_number(call: &mut Call) -> i32 {
    let kept = call.root().with_file_name("pid");
    let status = call.real();
    if call.is("create") {
        fs::write(&kept, call.pid().to_string()).unwrap();
    }
    if call.is("kill") && status != 0 {
        let pid = fs::read_to_string(&kept).unwrap().parse().unwrap();
        // Only that of a stranger who is the test's.
        let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if command == "sleep\n" {
            kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        }
    }
    status
}

/// Lets anyone write to its state, and follows links in it.
pub(super) fn open_state(call: &mut Call) -> i32 {
    if call.is("state") && call.id() == "linked" {
        return 0;
    }
    let status = call.real();
    if call.is("create") && status == 0 {
        let dir: PathBuf = call.root().join(call.id());
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    status
}

/// Does not wait for `start` in the pid namespace of another.
pub(super) fn gate_that_opens(call: &mut Call) -> i32 {
    let made = call.real();
    let joins = || !strings(&config()["linux"]["namespaces"], "path").is_empty();
    if call.is("create") && made == 0 && joins() {
        status(&mut call.also(&["start"]));
    }
    made
}

/// Writes all that a hook says to the log.
pub(super) fn all_in_the_log(call: &mut Call) -> i32 {
    let status = call.real();
    if call.makes() && status != 0 {
        let log = OpenOptions::new().append(true).open("log");
        log.unwrap().write_all(&[b'x'; 30_000]).unwrap();
    }
    status
}

/// Does not read the annotation that chooses a profile.
pub(super) fn profile_not_read(call: &mut Call) -> i32 {
    if call.makes() {
        edit(|config| config["annotations"] = json!({}));
    }
    call.real()
}
