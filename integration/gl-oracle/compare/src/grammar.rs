//! Cases from a grammar of the specification: each production chooses among what the runtime-spec allows,
//! and together they make configurations that a container can run with.
//!
//! The same seed gives the same cases on every machine. What the reference refuses for a whole case is
//! left out here and stands in the hand-made corpus, as nothing else of such a case could be compared.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::case::Case;

mod linux;
mod process;

/// The first `count` cases of a seed.
pub(crate) fn cases(seed: u64, count: u32) -> Vec<Case> {
    (0..count)
        .map(|number| {
            let mut choice = Choice::of(seed, number);
            let mut made = case(&mut choice);
            // What the list of differences speaks of stands in the name.
            let lacks = made
                .unset
                .iter()
                .any(|pointer| pointer == "/process/capabilities");
            let without = if lacks { "-without-capabilities" } else { "" };
            made.name = format!("generated-{seed}-{number:04}{without}");
            made
        })
        .collect()
}

fn case(choice: &mut Choice) -> Case {
    let mut made = Case {
        prepare: prepared(),
        paths: vec![
            "/tmp".to_owned(),
            "/etc/passwd".to_owned(),
            "/image".to_owned(),
        ],
        ..Case::default()
    };
    linux::namespaces(choice, &mut made);
    process::user(choice, &mut made.set);
    process::environment(choice, &mut made.set);
    process::capabilities(choice, &mut made);
    process::limits(choice, &mut made.set);
    process::scheduling(choice, &mut made.set);
    root(choice, &mut made.set);
    linux::mounts(choice, &mut made);
    linux::paths(choice, &mut made.set);
    linux::devices(choice, &mut made);
    linux::settings(choice, &mut made);
    linux::resources(choice, &mut made.set);
    linux::seccomp(choice, &mut made.set);
    made
}

/// What every generated case has beside its root.
fn prepared() -> Vec<Vec<String>> {
    let steps: [&[&str]; 8] = [
        &["dir", "volume/inner"],
        &["file", "volume/file", "text"],
        &["dir", "other"],
        &["mode", "other", "0700"],
        &["dir", "rootfs/image"],
        &["file", "rootfs/image/file", "text"],
        &["link", "rootfs/link", "image"],
        &["mode", "rootfs/image", "1777"],
    ];
    steps
        .map(|words| words.iter().map(|&word| word.to_owned()).collect())
        .to_vec()
}

fn root(choice: &mut Choice, set: &mut Map<String, Value>) {
    if choice.percent(30) {
        set.insert("/root/readonly".to_owned(), true.into());
    }
    if choice.percent(20) {
        set.insert(
            "/annotations".to_owned(),
            json!({"org.example.key": "value"}),
        );
    }
}

/// Choices that a seed decides.
#[derive(Debug)]
pub(crate) struct Choice(u64);

impl Choice {
    fn of(seed: u64, number: u32) -> Self {
        Self(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ u64::from(number).wrapping_mul(0xd1b5_4a32_d192_ed03),
        )
    }

    /// The next number: splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of a list, which has some.
    pub(crate) fn one<T: Clone>(&mut self, list: &[T]) -> T {
        let at = self.below(list.len());
        list[at].clone()
    }

    /// Each of a list so many times in a hundred, in the list's order.
    pub(crate) fn some<T: Clone>(&mut self, list: &[T], chance: usize) -> Vec<T> {
        let chosen = list.iter().filter(|_| self.percent(chance));
        chosen.cloned().collect()
    }

    /// The list in another order.
    pub(crate) fn shuffled<T>(&mut self, mut list: Vec<T>) -> Vec<T> {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
        list
    }

    /// Members of an object, each so many times in a hundred.
    pub(crate) fn members(
        &mut self,
        all: &[(&str, Vec<Value>)],
        chance: usize,
    ) -> Map<String, Value> {
        let mut made = BTreeMap::new();
        for (name, values) in all {
            if self.percent(chance) {
                made.insert((*name).to_owned(), self.one(values));
            }
        }
        made.into_iter().collect()
    }
}
