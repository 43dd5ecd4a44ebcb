//! What every program may count on.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::fs::{FlockOperation, MemfdFlags, inotify};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::files::{read, temp};
use super::{Bait, Seen};

/// Tries a few steps that may fail.
fn tried<T>(steps: impl FnOnce() -> std::io::Result<T>) -> Seen {
    Seen::io(steps())
}

fn same(one: impl AsRef<[u8]>, other: &[u8]) -> std::io::Result<()> {
    match one.as_ref() == other {
        true => Ok(()),
        false => Err(std::io::Error::from(std::io::ErrorKind::InvalidData)),
    }
}

pub(super) fn own_program(_: &Bait) -> Seen {
    tried(|| {
        let mut magic = [0; 4];
        File::open("/proc/self/exe")?.read_exact(&mut magic)?;
        same(magic, b"\x7fELF")
    })
}

pub(super) fn temporary_file(_: &Bait) -> Seen {
    tried(|| {
        let path = temp("file");
        fs::write(&path, b"text")?;
        let text = fs::read(&path);
        fs::remove_file(&path)?;
        same(text?, b"text")
    })
}

pub(super) fn temporary_directory(_: &Bait) -> Seen {
    tried(|| {
        let dir = temp("dir");
        fs::create_dir(&dir)?;
        let made = fs::write(format!("{dir}/one"), b"1")
            .and_then(|()| fs::rename(format!("{dir}/one"), format!("{dir}/two")))
            .and_then(|()| fs::read_dir(&dir).map(Iterator::count));
        fs::remove_dir_all(&dir)?;
        same([u8::try_from(made?).unwrap_or(0)], &[1])
    })
}

pub(super) fn temporary_link(_: &Bait) -> Seen {
    tried(|| {
        let link = temp("symlink");
        std::os::unix::fs::symlink("target", &link)?;
        let target = fs::read_link(&link);
        fs::remove_file(&link)?;
        same(target?.as_os_str().as_encoded_bytes(), b"target")
    })
}

pub(super) fn locked_file(_: &Bait) -> Seen {
    tried(|| {
        let path = temp("lock");
        let file = File::create(&path)?;
        let locked = rustix::fs::flock(&file, FlockOperation::LockExclusive);
        fs::remove_file(&path)?;
        Ok(locked?)
    })
}

pub(super) fn shared_memory(_: &Bait) -> Seen {
    tried(|| {
        let path = format!("/dev/shm/greenlang-probe-{}", std::process::id());
        fs::write(&path, b"text")?;
        fs::remove_file(&path)
    })
}

pub(super) fn null(_: &Bait) -> Seen {
    tried(|| {
        OpenOptions::new()
            .write(true)
            .open("/dev/null")?
            .write_all(b"x")
    })
}

pub(super) fn zero(_: &Bait) -> Seen {
    tried(|| {
        let mut bytes = [1; 8];
        File::open("/dev/zero")?.read_exact(&mut bytes)?;
        same(bytes, &[0; 8])
    })
}

pub(super) fn random_device(_: &Bait) -> Seen {
    read("/dev/urandom")
}

pub(super) fn random(_: &Bait) -> Seen {
    let flags = rustix::rand::GetRandomFlags::empty();
    Seen::of(rustix::rand::getrandom(&mut [0_u8; 16], flags))
}

pub(super) fn own_status(_: &Bait) -> Seen {
    read("/proc/self/status")
}

pub(super) fn cpus(_: &Bait) -> Seen {
    read("/proc/cpuinfo")
}

pub(super) fn memory_figures(_: &Bait) -> Seen {
    read("/proc/meminfo")
}

pub(super) fn accounts(_: &Bait) -> Seen {
    read("/etc/passwd")
}

pub(super) fn working_directory(_: &Bait) -> Seen {
    tried(|| {
        let cwd = std::env::current_dir()?;
        fs::metadata(cwd).map(|_| ())
    })
}

pub(super) fn pipe(_: &Bait) -> Seen {
    tried(|| {
        let (mut read, mut write) = std::io::pipe()?;
        write.write_all(b"x")?;
        let mut byte = [0];
        read.read_exact(&mut byte)?;
        same(byte, b"x")
    })
}

pub(super) fn events(_: &Bait) -> Seen {
    let steps = || {
        let event = eventfd(1, EventfdFlags::CLOEXEC)?;
        let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &queue,
            &event,
            epoll::EventData::new_u64(1),
            epoll::EventFlags::IN,
        )?;
        let mut ready = Vec::with_capacity(1);
        let now = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        epoll::wait(
            &queue,
            rustix::buffer::spare_capacity(&mut ready),
            Some(&now),
        )
    };
    match steps() {
        Ok(1) => Seen::worked(),
        Ok(_) => Seen::Denied("no event".to_owned()),
        Err(errno) => Seen::of(Err::<(), Errno>(errno)),
    }
}

pub(super) fn polled(_: &Bait) -> Seen {
    tried(|| {
        let (read, write) = std::io::pipe()?;
        drop(write);
        let mut all = [PollFd::new(&read, PollFlags::IN)];
        poll(
            &mut all,
            Some(&Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            }),
        )?;
        Ok(())
    })
}

pub(super) fn timer(_: &Bait) -> Seen {
    use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
    Seen::of(timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::CLOEXEC,
    ))
}

pub(super) fn threads(_: &Bait) -> Seen {
    let running: Vec<_> = (0..4_u32)
        .map(|number| thread::Builder::new().spawn(move || number * 2))
        .collect();
    let mut sum = 0;
    for one in running {
        match one {
            Ok(handle) => sum += handle.join().unwrap_or(0),
            Err(err) => return Seen::io(Err::<(), _>(err)),
        }
    }
    Seen::when(sum == 12, "")
}

pub(super) fn memory(_: &Bait) -> Seen {
    let mut bytes: Vec<u8> = Vec::new();
    if bytes.try_reserve_exact(32 << 20).is_err() {
        return Seen::Denied("ENOMEM".to_owned());
    }
    bytes.resize(32 << 20, 1);
    Seen::when(bytes.last() == Some(&1), "32 MiB")
}

pub(super) fn sealed_memory(_: &Bait) -> Seen {
    tried(|| {
        let file = rustix::fs::memfd_create("probe", MemfdFlags::CLOEXEC)?;
        File::from(file).write_all(b"x")
    })
}

pub(super) fn clock(_: &Bait) -> Seen {
    let begun = Instant::now();
    let passed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let is_sane = passed.is_ok_and(|passed| passed > Duration::from_secs(1_500_000_000));
    Seen::when(is_sane && begun.elapsed() < Duration::from_secs(60), "")
}

pub(super) fn sleep(_: &Bait) -> Seen {
    use rustix::thread::{NanosleepRelativeResult, nanosleep};
    let short = Timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    match nanosleep(&short) {
        NanosleepRelativeResult::Ok => Seen::worked(),
        NanosleepRelativeResult::Interrupted(_) => Seen::Unable("interrupted".to_owned()),
        NanosleepRelativeResult::Err(errno) => Seen::of(Err::<(), _>(errno)),
    }
}

pub(super) fn signal_itself(_: &Bait) -> Seen {
    Seen::of(rustix::process::test_kill_process(rustix::process::getpid()))
}

pub(super) fn names(_: &Bait) -> Seen {
    let name = rustix::system::uname();
    let name = name.sysname().to_string_lossy();
    Seen::when(name == "Linux", name)
}

pub(super) fn figures(_: &Bait) -> Seen {
    let memory = rustix::system::sysinfo().totalram;
    Seen::when(memory > 0, "")
}

pub(super) fn lower_limit(_: &Bait) -> Seen {
    let before = getrlimit(Resource::Nofile);
    let lower = Rlimit {
        current: Some(before.current.unwrap_or(64).min(64)),
        maximum: before.maximum,
    };
    Seen::of(setrlimit(Resource::Nofile, lower).and_then(|()| setrlimit(Resource::Nofile, before)))
}

pub(super) fn many_files(bait: &Bait) -> Seen {
    let wanted = bait.files.min(64) / 2;
    let open: Result<Vec<File>, _> = (0..wanted).map(|_| File::open("/dev/null")).collect();
    Seen::io(open)
}

pub(super) fn processors(_: &Bait) -> Seen {
    let set = rustix::thread::sched_getaffinity(None);
    Seen::of(set)
}

pub(super) fn thread_name(_: &Bait) -> Seen {
    Seen::of(rustix::thread::set_name(c"probe"))
}

pub(super) fn watched_files(_: &Bait) -> Seen {
    let made = inotify::init(inotify::CreateFlags::CLOEXEC);
    let dir = std::env::temp_dir();
    Seen::of(made.and_then(|fd| inotify::add_watch(&fd, dir, inotify::WatchFlags::CREATE)))
}
