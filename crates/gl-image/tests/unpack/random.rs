//! Layers of random entries, and layers with random bytes in them: whatever comes of them, it comes inside.

use std::fs;

use gl_image::Ownership;
use gl_spec::{Class, Classify as _};
use tar::EntryType;

use crate::support::{Layer, Layout, Scratch, listing, names, open, options};

/// A generator of numbers that are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }

    fn one<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

const KINDS: [EntryType; 6] = [
    EntryType::Regular,
    EntryType::Regular,
    EntryType::Directory,
    EntryType::Symlink,
    EntryType::Link,
    EntryType::Fifo,
];

fn layer(numbers: &mut Numbers, victim: &str) -> Vec<u8> {
    let below = format!("l{victim}/file");
    let hidden = format!("l{victim}/.wh.file");
    let wide = format!("l{victim}/.wh..wh..opq");
    let up = format!("../../../../../../../..{victim}");
    let names = [
        "a",
        "b",
        "l",
        "a/b",
        "a/b/c",
        "b/a",
        "b/l",
        "l/x",
        "l/file",
        "a/l/y",
        "./a",
        "b//a/",
        ".wh.a",
        ".wh.b",
        "a/.wh.b",
        "l/.wh.file",
        "a/.wh..wh..opq",
        "l/.wh..wh..opq",
        ".wh..wh..opq",
        &below,
        &hidden,
        &wide,
    ];
    let targets = [
        "a", "b", "l", "a/b", "b/l", "/", "..", ".", "l/x", "l/file", victim, &up,
    ];
    let mut layer = Layer::new();
    for _ in 0..numbers.below(12) {
        let kind = KINDS[numbers.below(KINDS.len())];
        let (name, target) = (numbers.one(&names), numbers.one(&targets));
        // A name of a lower layer's link is what attacks begin with: make more of them.
        let (kind, name) = match numbers.below(4) {
            0 => (EntryType::Symlink, numbers.one(&["l", "b/l", "a"])),
            _ => (kind, name),
        };
        let data: &[u8] = if kind == EntryType::Regular {
            b"data"
        } else {
            b""
        };
        let link = match kind {
            EntryType::Symlink | EntryType::Link => target.as_bytes(),
            _ => b"",
        };
        layer = layer.raw(kind, name.as_bytes(), link, data);
    }
    layer.done()
}

/// Unpacks layers; what the tree is then but for times, or the error.
fn tree(scratch: &Scratch, layers: &[Vec<u8>]) -> Result<Vec<String>, String> {
    for name in ["layout", "root"] {
        fs::remove_dir_all(scratch.join(name)).ok();
    }
    Layout::new(layers).write(&scratch.join("layout"));
    let image = open(&scratch.join("layout")).unwrap();
    let options = options(Ownership::of_caller());
    let root = scratch.join("root");
    if let Err(err) = gl_image::unpack_to(&image, &root, &options, &mut |_| {}) {
        assert_eq!(names(scratch.path()), ["layout"], "left behind");
        // The archive is at fault, whatever is wrong with it; and the layer is named.
        let said = gl_spec::chain(&err);
        assert!(
            matches!(err.class(), Class::Invalid | Class::Unsupported),
            "{said}"
        );
        assert!(said.contains("layer"), "{said}");
        return Err(gl_spec::chain(&err));
    }
    let without_time = |line: String| line.split(" time ").next().unwrap_or_default().to_owned();
    Ok(listing(&root).into_iter().map(without_time).collect())
}

#[test]
fn random_layers_stay_inside() {
    let victim = Scratch::new();
    fs::create_dir(victim.join("a")).unwrap();
    for name in ["file", "x", "a/b"] {
        fs::write(victim.join(name), "precious").unwrap();
    }
    let before = listing(victim.path());
    let scratch = Scratch::new();
    let (mut whole, mut refused) = (0, 0);
    for seed in 1..=400 {
        let mut numbers = Numbers::new(seed);
        let path = victim.path().to_str().unwrap();
        let layers: Vec<Vec<u8>> = (0..3).map(|_| layer(&mut numbers, path)).collect();
        let first = tree(&scratch, &layers);
        assert_eq!(listing(victim.path()), before, "seed {seed}: {first:?}");
        // The same image makes the same tree, or fails in the same way.
        let again = tree(&scratch, &layers);
        assert_eq!(first, again, "seed {seed}");
        match first {
            Ok(_) => whole += 1,
            Err(_) => refused += 1,
        }
    }
    // Otherwise the entries would be of too few kinds to show anything.
    assert!(
        whole > 40 && refused > 40,
        "{whole} whole, {refused} refused"
    );
}

#[test]
fn random_bytes_in_a_layer_do_no_harm() {
    let scratch = Scratch::new();
    let good = Layer::new()
        .dir("d/")
        .file("d/file", "text")
        .symlink("d/link", "/etc")
        .pax(&[("path", b"long/name"), ("SCHILY.xattr.user.x", b"y")])
        .file("x", "more")
        .hardlink("hard", "d/file")
        .done();
    let mut refused = 0;
    for seed in 1..=400 {
        let mut numbers = Numbers::new(seed);
        let mut layer = good.clone();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(layer.len() - 1024);
            layer[at] = u8::try_from(numbers.below(256)).unwrap();
        }
        // Half of them have right checksums, so that more than those is tried.
        if seed % 2 == 0 {
            let blocks = layer.as_chunks_mut::<512>().0.iter_mut();
            for block in blocks.filter(|block| block[257..262] == *b"ustar") {
                let mut header = tar::Header::new_old();
                *header.as_mut_bytes() = *block;
                header.set_cksum();
                *block = *header.as_bytes();
            }
        }
        refused += u32::from(tree(&scratch, &[layer]).is_err());
    }
    assert!((20..400).contains(&refused), "{refused} refused");
}
