//! The seccomp filters of the built-in profiles: programs that people use run under those meant for
//! them, and what each must stop is tried from inside and stopped.
//!
//! The root is a fresh one with the host's `/usr` and `/etc`, read-only, so the programs are the
//! host's.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

mod calls;
mod java;
mod probe;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use gl_e2e::bundle::process::{Output, finish};
use gl_e2e::bundle::{self, Bundle};
use gl_e2e::{Outcome, Skip, tests};
use java::{
    java_computes, java_connects, java_opens_channels_where_it_may_have_pairs,
    java_starts_processes,
};
use serde_json::{Value, json};

fn main() -> ExitCode {
    bundle::main(tests![
        python_computes,
        numpy_computes,
        numpy_computes_under_the_whole_profile,
        python_starts_no_process_where_it_may_not,
        python_starts_processes,
        python_connects,
        python_serves,
        node_computes,
        node_starts_processes,
        node_connects,
        node_serves,
        java_computes,
        java_opens_channels_where_it_may_have_pairs,
        java_starts_processes,
        java_connects,
        static_busybox_computes,
        shell_pipes,
        compiler_compiles,
        git_clones_a_directory,
        git_clones_from_a_server,
        curl_fetches,
        go_computes,
        musl_computes,
        compute_only_stops,
        data_processing_stops,
        network_client_stops,
        default_stops,
        blocked_dangerous_stops,
        other_abis_are_shut,
    ])
}

const ALL: [&str; 5] = [
    "compute_only",
    "data_processing",
    "network_client",
    "default",
    "blocked_dangerous",
];
/// Those that let a program start others.
const PROCESSES: &[&str] = &[
    "data_processing",
    "network_client",
    "default",
    "blocked_dangerous",
];
/// Those that let a program connect.
const CLIENTS: &[&str] = &["network_client", "default", "blocked_dangerous"];
/// Those that let a program serve.
const SERVERS: &[&str] = &["default", "blocked_dangerous"];

/// The seccomp section of a built-in profile, as `gl` beside the runtime exports it.
#[track_caller]
fn section(profile: &str) -> Value {
    let gl = bundle::runtime().with_file_name("gl");
    let mut command = Command::new(gl);
    let section = finish(command.args(["profile", "export", "--seccomp", profile]))
        .ok()
        .json();
    assert!(section["syscalls"].is_array(), "{profile}: {section}");
    section
}

/// A container that has the programs of the host, and no filter.
fn with_programs() -> Bundle {
    let bundle = Bundle::new();
    for dir in ["lib", "lib64", "sbin"] {
        bundle.link(dir, &format!("usr/{dir}"));
    }
    bundle.dir_in("job");
    bundle
        .mount("bind", "/usr", "/usr", &["bind", "ro"])
        .mount("bind", "/etc", "/etc", &["bind", "ro"])
        .set(
            "/process/env",
            json!([
                "PATH=/usr/local/bin:/usr/bin:/bin",
                "HOME=/job",
                "LC_ALL=C.UTF-8"
            ]),
        )
        .set("/process/cwd", json!("/job"))
}

/// The same under the filter of a profile.
fn under(profile: &str) -> Bundle {
    with_programs().set("/linux/seccomp", section(profile))
}

/// Skips where a program of the host is missing; `path` is where it has to be for the container.
fn need(path: &str) -> Outcome {
    if Path::new(path).metadata().is_ok() {
        return Ok(());
    }
    Err(Skip(format!("{path} is not there")))
}

/// Runs a command line under each of the profiles and expects it to print `text`.
#[track_caller]
fn each(profiles: &[&str], args: &[&str], text: &str) {
    for profile in profiles {
        prints(profile, &under(profile).args(args).run(), text);
    }
}

#[track_caller]
fn prints(profile: &str, out: &Output, text: &str) {
    assert_eq!(
        (out.code, out.stdout.trim_end()),
        (0, text),
        "{profile}: {out:?}"
    );
}

const PYTHON: &str = "/usr/bin/python3";

fn python_computes() -> Outcome {
    need(PYTHON)?;
    // Threads and their locks, files in the temp root, mappings, randomness.
    let script = r#"
import concurrent.futures, decimal, hashlib, json, mmap, os, random, sqlite3, tempfile, threading, time
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    squares = list(pool.map(lambda n: n * n, range(100)))
lock = threading.Condition()
threading.Timer(0.01, lambda: (lock.acquire(), lock.notify(), lock.release())).start()
with lock: assert lock.wait(20)
with tempfile.TemporaryFile() as file:
    file.write(b"x" * 4096); file.flush(); os.fsync(file.fileno())
    assert mmap.mmap(file.fileno(), 4096)[0] == 120
db = sqlite3.connect(tempfile.mktemp()); db.execute("create table t (n)")
db.executemany("insert into t values (?)", [(n,) for n in squares]); db.commit()
total = db.execute("select sum(n) from t").fetchone()[0]
random.seed(os.urandom(8)); hashlib.scrypt(b"a", salt=b"b", n=16, r=1, p=1); time.sleep(0.001)
print(json.dumps({"total": total, "pi": str(decimal.Decimal(22) / 7)[:4]}))
"#;
    each(
        &ALL,
        &[PYTHON, "-c", script],
        r#"{"total": 328350, "pi": "3.14"}"#,
    );
    Ok(())
}

/// A product and an inverse by `OpenBLAS` and its threads, a spectrum, randomness, an array in a file.
const NUMPY: &str = r#"
import os, numpy as np
a = np.random.default_rng().random((300, 300)) + 300 * np.eye(300)
print(np.allclose(a @ np.linalg.inv(a), np.eye(300)))
print(len(os.listdir("/proc/self/task")) == min(4, len(os.sched_getaffinity(0))))
wave = np.sin(2 * np.pi * 5 * np.arange(256) / 256)
print(np.argmax(np.abs(np.fft.rfft(wave))))
np.save("/tmp/wave.npy", wave)
print(np.load("/tmp/wave.npy", mmap_mode="r").shape)
"#;

/// Skips where Python has no numpy; `OpenBLAS` starts a thread for each processor.
fn need_numpy() -> Outcome {
    need(PYTHON)?;
    need("/usr/lib/python3/dist-packages/numpy")
}

fn with_threads(bundle: Bundle) -> Bundle {
    let environment = json!(["PATH=/usr/bin", "OPENBLAS_NUM_THREADS=4"]);
    bundle
        .set("/process/env", environment)
        .args(&[PYTHON, "-c", NUMPY])
}

const NUMPY_PRINTS: &str = "True\nTrue\n5\n(256,)";

fn numpy_computes() -> Outcome {
    need_numpy()?;
    for profile in ALL {
        prints(profile, &with_threads(under(profile)).run(), NUMPY_PRINTS);
    }
    Ok(())
}

fn numpy_computes_under_the_whole_profile() -> Outcome {
    need_numpy()?;
    for profile in ["compute_only", "data_processing", "default"] {
        let choice = json!({"dev.greenlang.profile": profile});
        let bundle = with_threads(with_programs()).set("/annotations", choice);
        prints(profile, &bundle.run(), NUMPY_PRINTS);
    }
    Ok(())
}

fn python_starts_no_process_where_it_may_not() -> Outcome {
    need(PYTHON)?;
    let script = r#"
import os, socket, subprocess
for name, act in [("fork", os.fork), ("run", lambda: subprocess.run(["/bin/true"])),
                  ("socket", socket.socket), ("pair", socket.socketpair)]:
    try: act(); print(name, "was not stopped")
    except PermissionError as error: print(name, error.errno)
"#;
    let want = "fork 1\nrun 1\nsocket 1\npair 1";
    each(&["compute_only"], &[PYTHON, "-c", script], want);
    Ok(())
}

fn python_starts_processes() -> Outcome {
    need(PYTHON)?;
    let script = r#"
import asyncio, multiprocessing, os, subprocess
def work(n): return n * n
async def shell():
    process = await asyncio.create_subprocess_exec("/bin/echo", "async", stdout=-1)
    return (await process.communicate())[0].decode().strip()
if __name__ == "__main__":
    print(subprocess.run(["/bin/echo", "run"], capture_output=True, text=True).stdout.strip())
    print(subprocess.check_output("echo a b | tr a-z A-Z", shell=True, text=True).strip())
    print(asyncio.run(shell()))
    for method in "fork", "spawn":
        with multiprocessing.get_context(method).Pool(2) as pool: print(sum(pool.map(work, range(10))))
    print(os.waitstatus_to_exitcode(os.system("exit 3")))
"#;
    for profile in PROCESSES {
        let bundle = under(profile).args(&[PYTHON, "/job/script.py"]);
        bundle.file("job/script.py", script);
        prints(profile, &bundle.run(), "run\nA B\nasync\n285\n285\n3");
    }
    Ok(())
}

/// A server in a container without a filter, whose network others can join.
fn server() -> Bundle {
    let bundle = with_programs().args(&["/bin/sh", "-c", "sh /job/serve"]);
    bundle.file("job/www/hello", "hello\n");
    // Readiness is a connection that was taken.
    let ready = "import socket,time\nfor _ in range(300):\n try: socket.create_connection(('127.0.0.1', 8000)); \
                 break\n except OSError: time.sleep(0.1)\nprint('ready', flush=True)";
    bundle.file("job/ready.py", ready);
    bundle.file(
        "job/serve",
        "git init -q -b main repo && cd repo && git config user.email a@b && git config user.name a &&
         echo text >file && git add file && git commit -qm first && cd .. &&
         git clone -q --bare repo www/repo.git && git -C www/repo.git update-server-info
         python3 -m http.server --bind 127.0.0.1 --directory www 8000 2>/dev/null &
         python3 ready.py; wait\n",
    );
    bundle.ready()
}

/// Runs a command line under each profile beside the server.
#[track_caller]
fn each_beside_server(args: &[&str], text: &str) {
    let server = server();
    let network = json!({"type": "network", "path": format!("/proc/{}/ns/net", server.pid())});
    for profile in CLIENTS {
        let bundle = under(profile).namespace("network", Some(network.clone()));
        prints(profile, &bundle.args(args).run(), text);
    }
}

fn python_connects() -> Outcome {
    need(PYTHON)?;
    let script = "import urllib.request as r; print(r.urlopen('http://localhost:8000/hello').read().decode())";
    each_beside_server(&[PYTHON, "-c", script], "hello");
    Ok(())
}

fn python_serves() -> Outcome {
    need(PYTHON)?;
    let script = r#"
import http.server, socket, threading, urllib.request
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(urllib.request.urlopen("http://127.0.0.1:%d/" % server.server_port).status)
unix = socket.socket(socket.AF_UNIX); unix.bind("/job/unix"); unix.listen()
client = socket.socket(socket.AF_UNIX); client.connect("/job/unix"); print(unix.accept()[1] == "")
"#;
    each(SERVERS, &[PYTHON, "-c", script], "200\nTrue");
    let refused = "import socket\ns = socket.socket()\ntry: s.bind(('127.0.0.1', 80))\nexcept PermissionError \
                   as e: print(e.errno)";
    each(&["network_client"], &[PYTHON, "-c", refused], "1");
    Ok(())
}

const NODE: &str = "/usr/bin/node";

fn node_computes() -> Outcome {
    need(NODE)?;
    let script = r#"
const { Worker } = require('worker_threads'), fs = require('fs'), crypto = require('crypto'), zlib = require('zlib');
fs.writeFileSync('/tmp/node', zlib.gzipSync('x'.repeat(100000)));
const size = zlib.gunzipSync(fs.readFileSync('/tmp/node')).length;
new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", { eval: true }).on('message', (n) =>
  crypto.pbkdf2('a', 'b', 1000, 8, 'sha256', () => fs.promises.readFile('/tmp/node').then(() =>
    console.log(JSON.stringify({ n, size })))));
"#;
    each(&ALL, &[NODE, "-e", script], r#"{"n":42,"size":100000}"#);
    Ok(())
}

fn node_starts_processes() -> Outcome {
    need(NODE)?;
    let script = r#"
const { execSync, spawn } = require('child_process');
console.log(execSync('echo a | tr a b').toString().trim());
spawn('/bin/sh', ['-c', 'cat; exit 3'], { stdio: ['pipe', 'inherit', 'pipe'] })
  .on('exit', (code) => console.log(code)).stdin.end('piped\n');
"#;
    each(PROCESSES, &[NODE, "-e", script], "b\npiped\n3");
    Ok(())
}

fn node_connects() -> Outcome {
    need(NODE)?;
    need(PYTHON)?;
    let script =
        "fetch('http://127.0.0.1:8000/hello').then(r => r.text()).then(t => console.log(t))";
    each_beside_server(&[NODE, "-e", script], "hello");
    Ok(())
}

fn node_serves() -> Outcome {
    need(NODE)?;
    let script = r#"
const server = require('http').createServer((_, out) => out.end('served')).listen(0, '127.0.0.1', async () => {
  console.log(await (await fetch('http://127.0.0.1:' + server.address().port)).text()); process.exit();
});
"#;
    each(SERVERS, &[NODE, "-e", script], "served");
    Ok(())
}

fn static_busybox_computes() -> Outcome {
    let script =
        "i=0; while [ $i -lt 100 ]; do i=$((i + 1)); done; echo $i; cd /tmp; echo b >b; exec ls";
    each(&ALL, &["/bin/busybox", "sh", "-c", script], "100\nb");
    Ok(())
}

fn shell_pipes() -> Outcome {
    need("/usr/bin/dash")?;
    let script = "seq 1 1000 | sort -rn | head -n 1; (echo sub) & wait; mkdir d; touch d/f; chmod 700 d/f; \
                  find d -name f -exec basename {} \\; ; tar -cf - d | tar -tf - | wc -l; rm -r d; kill -0 $$; \
                  timeout 20 cat </dev/null && echo done";
    each(
        PROCESSES,
        &["/usr/bin/dash", "-c", script],
        "1000\nsub\nf\n2\ndone",
    );
    Ok(())
}

fn compiler_compiles() -> Outcome {
    need("/usr/bin/cc")?;
    let script = "printf '#include <stdio.h>\\nint main(void) { puts(\"built\"); }' >a.c && cc -O2 -o a a.c && ./a";
    each(PROCESSES, &["/bin/sh", "-c", script], "built");
    Ok(())
}

/// The host's git, which may be in either place.
fn need_git() -> Outcome {
    need("/usr/bin/git").or_else(|_| need("/usr/local/bin/git"))
}

fn git_clones_a_directory() -> Outcome {
    need_git()?;
    let script = "git init -q -b main a && cd a && git config user.email a@b && git config user.name a &&
         seq 1 2000 >file && git add . && git commit -qm first && cd .. && git clone -q a b &&
         git clone -q --no-local a c && cd c && git gc -q && git log --format=%s && git status --short && wc -l <file";
    each(PROCESSES, &["/bin/sh", "-c", script], "first\n2000");
    Ok(())
}

fn git_clones_from_a_server() -> Outcome {
    need_git()?;
    need(PYTHON)?;
    let script = "git clone -q http://127.0.0.1:8000/repo.git && cat repo/file";
    each_beside_server(&["/bin/sh", "-c", script], "text");
    Ok(())
}

fn curl_fetches() -> Outcome {
    need("/usr/bin/curl")?;
    need(PYTHON)?;
    each_beside_server(
        &["/usr/bin/curl", "-sS", "http://localhost:8000/hello"],
        "hello",
    );
    Ok(())
}

fn go_computes() -> Outcome {
    let which = Command::new("sh")
        .args(["-c", "command -v go"])
        .output()
        .unwrap();
    if !which.status.success() {
        return Err(Skip("there is no go".to_owned()));
    }
    let dir = std::env::temp_dir().join(format!("{}go", bundle::tag()));
    fs::create_dir(&dir).unwrap();
    let source = "package main\nimport (\"fmt\"; \"runtime\"; \"sync\")\nfunc main() {\n var all sync.WaitGroup\n \
         sums := make(chan int, 64)\n for i := 0; i < 64; i++ { all.Add(1); go func(n int) { defer all.Done(); \
         sums <- n }(i) }\n all.Wait(); close(sums); runtime.GC()\n total := 0\n for n := range sums { total += n }\n \
         fmt.Println(total)\n}\n";
    fs::write(dir.join("main.go"), source).unwrap();
    let built = Command::new("go")
        .args(["build", "-o", "main", "main.go"])
        .env("CGO_ENABLED", "0")
        .current_dir(&dir)
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    for profile in ALL {
        let bundle = under(profile);
        fs::copy(dir.join("main"), bundle.rootfs().join("job/main")).unwrap();
        prints(profile, &bundle.args(&["/job/main"]).run(), "2016");
    }
    fs::remove_dir_all(&dir).unwrap();
    Ok(())
}

/// Threads, a file, time and much memory, as musl asks the kernel for them.
const MUSL: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static void *work(void *sum) { char *many = malloc(1 << 22); memset(many, 1, 1 << 22); *(long *)sum = many[99]; free(many); return 0; }
int main(void) {
    pthread_t threads[8];
    long sums[8], total = 0;
    for (int i = 0; i < 8; i++) if (pthread_create(&threads[i], 0, work, &sums[i])) return 2;
    for (int i = 0; i < 8; i++) { pthread_join(threads[i], 0); total += sums[i]; }
    struct timespec now, moment = {0, 1000};
    if (clock_gettime(CLOCK_MONOTONIC, &now) || nanosleep(&moment, 0)) return 3;
    FILE *file = fopen("/job/file", "w+");
    if (!file || fprintf(file, "%ld", total) < 0 || fseek(file, 0, SEEK_SET)) return 4;
    char text[8] = "";
    if (!fgets(text, sizeof text, file) || fclose(file)) return 5;
    puts(text);
    return 0;
}
"#;

fn musl_computes() -> Outcome {
    need("/usr/bin/musl-gcc")?;
    let dir = std::env::temp_dir().join(format!("{}musl", bundle::tag()));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("main.c"), MUSL).unwrap();
    for (name, options) in [("static", &["-static"][..]), ("dynamic", &[])] {
        let mut command = Command::new("musl-gcc");
        command.args(options).args(["-O1", "-o", name, "main.c"]);
        drop(finish(command.current_dir(&dir)).ok());
    }
    for profile in ALL {
        for name in ["static", "dynamic"] {
            let bundle = under(profile);
            fs::copy(dir.join(name), bundle.rootfs().join("job/main")).unwrap();
            prints(profile, &bundle.args(&["/job/main"]).run(), "8");
        }
    }
    fs::remove_dir_all(&dir).unwrap();
    Ok(())
}

fn compute_only_stops() -> Outcome {
    probe::check("compute_only")
}

fn data_processing_stops() -> Outcome {
    probe::check("data_processing")
}

fn network_client_stops() -> Outcome {
    probe::check("network_client")
}

fn default_stops() -> Outcome {
    probe::check("default")
}

fn blocked_dangerous_stops() -> Outcome {
    probe::check("blocked_dangerous")
}

fn other_abis_are_shut() -> Outcome {
    probe::other_abis()
}
