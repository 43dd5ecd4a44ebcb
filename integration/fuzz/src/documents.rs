//! Documents with some of their values changed.

use serde_json::{Value, json};

use crate::bytes::Bytes;

macro_rules! files {
    ($dir:literal: $($name:literal),* $(,)?) => {
        &[$(include_str!(concat!("../../../", $dir, "/", $name))),*]
    };
}

/// What engines write as config.json.
const CONFIGS: &[&str] = files!("crates/gl-spec/tests/data":
    "ctr.json", "docker-limits.json", "docker-privileged.json", "docker-readonly.json",
    "podman-limits.json", "podman-privileged.json", "podman-userns.json", "podman.json", "runc-spec.json");

/// Every key that config.json has a meaning for but the common ones lack.
pub(crate) const RARE: &str = include_str!("rare.json");

/// A profile with every key.
pub(crate) const EVERY_KEY: &str = include_str!("every_key.json");

/// One of the configs.
pub(crate) fn config(bytes: &mut Bytes<'_>) -> Value {
    let all = [CONFIGS, &[RARE]].concat();
    let text: &&str = bytes.pick(&all);
    serde_json::from_str(text).expect("a document of ours")
}

/// Values that meet borders of types and of meanings.
fn hostile(bytes: &mut Bytes<'_>) -> Value {
    match bytes.below(12) {
        0 => Value::Null,
        1 => bytes
            .pick(&[json!(0), json!(1), json!(-1), json!(7), json!(4096)])
            .clone(),
        2 => bytes
            .pick(&[
                json!(u64::MAX),
                json!(i64::MAX),
                json!(i64::MIN),
                json!(u32::MAX),
                json!(u64::from(u32::MAX) + 1),
                json!(i32::MIN),
                json!(65_536),
                json!(65_534),
            ])
            .clone(),
        3 => json!(bytes.u64()),
        4 => json!(bytes.pick(&[0.5, -0.0, 1e300])),
        5 => json!(bytes.byte() & 1 == 0),
        6 => json!([]),
        7 => json!({}),
        8 => json!(bytes.pick(&WORDS)),
        9 => json!("x".repeat(1 << bytes.below(13))),
        10 => json!([bytes.pick(&WORDS), bytes.pick(&WORDS)]),
        _ => json!(format!("{}{}", bytes.pick(&WORDS), bytes.pick(&WORDS))),
    }
}

const WORDS: [&str; 48] = [
    "",
    "/",
    ".",
    "..",
    "/..",
    "../..",
    "//",
    "/proc",
    "/proc/self/fd/1",
    "/dev",
    "/a/../b",
    "/sys/fs/cgroup",
    "\0",
    "a\0b",
    "\n",
    " ",
    "é",
    "\u{202e}",
    "-",
    ":",
    "a:b:c",
    "a.slice:p:n",
    "=",
    "A=b",
    "=b",
    "root",
    "0",
    "4294967295",
    "-1",
    "99999999999999999999",
    "CAP_SYS_ADMIN",
    "CAP_",
    "RLIMIT_NOFILE",
    "rbind",
    "ro",
    "shared",
    "idmap",
    "mode=",
    "size=1k",
    "tmpcopyup",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_NOTIFY",
    "SCMP_ARCH_X86_64",
    "cgroup2",
    "bind",
    "10s",
    "1GiB",
    "${HOME}",
];

/// Changes some values of a document, where the bytes say so.
pub(crate) fn change(document: &mut Value, bytes: &mut Bytes<'_>) {
    for _ in 0..1 + bytes.below(4) {
        change_one(document, bytes, 0);
    }
}

fn change_one(value: &mut Value, bytes: &mut Bytes<'_>, depth: usize) {
    // The deeper, the likelier that it is here.
    let here = bytes.below(8) < depth;
    match value {
        Value::Object(all) if !here && !all.is_empty() => {
            let at = bytes.below(all.len());
            let key = all.keys().nth(at).cloned().unwrap_or_default();
            match bytes.below(16) {
                0 => drop(all.remove(&key)),
                1 => drop(all.insert((*bytes.pick(&WORDS)).to_owned(), hostile(bytes))),
                _ => all
                    .get_mut(&key)
                    .into_iter()
                    .for_each(|inner| change_one(inner, bytes, depth + 1)),
            }
        }
        Value::Array(all) if !here && !all.is_empty() => {
            let at = bytes.below(all.len());
            match bytes.below(16) {
                0 => drop(all.remove(at)),
                1 => all.push(all[at].clone()),
                2 => all.reverse(),
                _ => change_one(&mut all[at], bytes, depth + 1),
            }
        }
        _ => *value = hostile(bytes),
    }
}
