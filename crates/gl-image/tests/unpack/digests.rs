//! Images that are not what their digests say, or can be read in two ways.

use gl_image::{Cache, Digest, Ownership};

use crate::support::{
    GZIP, Layer, Layout, Scratch, chain, config_of, gzip, host, names, open, options,
};

#[test]
fn content_is_what_its_digests_say() {
    let layer = Layer::new().file("f", "text").done();
    let stored = gzip(&layer);
    let other = Layer::new().file("f", "texT").done();
    let good = Layout::new(std::slice::from_ref(&layer));
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let said = |what: &str, layout: &Layout| {
        let scratch = Scratch::new();
        layout.write(&scratch.join("layout"));
        let cache = Cache::open(&scratch.join("cache")).unwrap();
        let opened = open(&scratch.join("layout"));
        let done = opened.and_then(|image| {
            cache
                .unpack(&image, &options(Ownership::of_caller()), &mut |_| {})
                .map(drop)
        });
        let left = names(&scratch.join("cache"));
        let only_locks = left.iter().all(|name| name.ends_with(".lock"));
        assert!(only_locks, "{what} leaves {left:?}");
        let text = chain(&done.expect_err(what));
        text.rsplit_once(": ").unwrap().1.to_owned()
    };
    let mut changed = good.clone();
    let mut flipped = stored.clone();
    *flipped.last_mut().unwrap() ^= 1;
    changed.files.insert(blob(&stored), flipped.clone());
    assert_eq!(
        said("layer", &changed),
        format!(
            "its digest is {}, not {}",
            Digest::of(&flipped),
            Digest::of(&stored)
        )
    );
    let mut short = good.clone();
    short
        .files
        .insert(blob(&stored), stored[..stored.len() - 1].to_vec());
    assert_eq!(
        said("short layer", &short),
        format!("it has {} bytes, not {}", stored.len() - 1, stored.len())
    );
    let mut missing = good.clone();
    missing.files.remove(&blob(&stored));
    assert_eq!(said("missing layer", &missing), "it is missing");
    for (what, name) in good
        .files
        .keys()
        .filter(|name| **name != blob(&stored))
        .filter(|name| name.starts_with("blobs"))
        .map(|name| ("document", name))
    {
        let mut changed = good.clone();
        changed.files.get_mut(name).unwrap()[0] = b'[';
        let said = said(what, &changed);
        assert!(said.starts_with("its digest is sha256:"), "{said}");
    }
    // The layer is the one that the manifest names, but not what the config promises.
    let config = config_of(&host(), &[other]);
    let crossed = Layout::stored(std::slice::from_ref(&stored), &config, GZIP);
    assert!(said("diff_id", &crossed).starts_with("its digest is sha256:"));
    // Cut off, and vouched for by the manifest all the same.
    let cut = stored[..stored.len() - 20].to_vec();
    let config = config_of(&host(), &[layer]);
    let cut = Layout::stored(&[cut], &config, GZIP);
    assert_eq!(said("truncated gzip", &cut), "the archive ends too early");
    let config = config_of(&host(), &[]);
    let fewer = Layout::stored(&[stored], &config, GZIP);
    assert_eq!(
        said("layers", &fewer),
        "the manifest has 1 layers, the config 0"
    );
}

#[test]
fn documents_that_can_be_read_in_two_ways_are_refused() {
    let good = Layout::new(&[Layer::new().file("f", "").done()]);
    let scratch = Scratch::new();
    let said = |index: &serde_json::Value| {
        let mut layout = good.clone();
        layout.set_index(index);
        let dir = scratch.join("layout");
        layout.write(&dir);
        chain(&open(&dir).unwrap_err()).replace(dir.to_str().unwrap(), "IMAGE")
    };
    let mut both = good.index();
    both["layers"] = serde_json::json!([]);
    assert_eq!(
        said(&both),
        "read index.json of IMAGE: it is a manifest and an index at once"
    );
    let mut named = good.index();
    let index = "application/vnd.docker.distribution.manifest.v2+json";
    named["manifests"][0]["mediaType"] = index.into();
    let text = said(&named);
    let end = ": it was named as application/vnd.docker.distribution.manifest.v2+json but calls \
               itself application/vnd.oci.image.manifest.v1+json";
    assert!(text.ends_with(end), "{text}");
    let mut traversal = good.index();
    traversal["manifests"][0]["digest"] = "sha256:../../../../etc/passwd".into();
    let text = said(&traversal);
    assert!(text.starts_with("read index.json of IMAGE: "), "{text}");
}
