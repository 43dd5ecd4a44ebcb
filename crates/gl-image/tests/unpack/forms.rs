//! Layouts and archives: how images are found in them, and which one is chosen.

use std::collections::BTreeMap;
use std::fs;

use gl_image::{Digest, Error, Image, Limits, Platform, Reference};
use serde_json::json;
use tar::EntryType;

use crate::support::{
    GZIP, Layer, Layout, MANIFEST, Scratch, chain, config_of, gzip, host, names, open, options,
};

fn rootfs(scratch: &Scratch, image: &Image) -> Vec<String> {
    let root = scratch.join("root");
    fs::remove_dir_all(&root).ok();
    let options = options(gl_image::Ownership::of_caller());
    gl_image::unpack_to(image, &root, &options, &mut |_| {}).unwrap();
    names(&root)
}

fn layers() -> Vec<Vec<u8>> {
    vec![
        Layer::new().file("one", "").done(),
        Layer::new().file("two", "").done(),
    ]
}

/// What `docker save` wrote before version 25, with the second layer as a link to another's.
fn saved(tags: &[&str]) -> Vec<u8> {
    let layers = layers();
    let config = config_of(&host(), &layers).to_string();
    let name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest =
        json!([{"Config": name, "RepoTags": tags, "Layers": ["a/layer.tar", "b/layer.tar"]}]);
    Layer::new()
        .raw(EntryType::Regular, name.as_bytes(), b"", config.as_bytes())
        .dir("a/")
        .raw(EntryType::Regular, b"a/layer.tar", b"", &layers[0])
        .dir("b/")
        .symlink("b/layer.tar", "../c/layer.tar")
        .raw(EntryType::Regular, b"c/layer.tar", b"", &layers[1])
        .raw(
            EntryType::Regular,
            b"manifest.json",
            b"",
            manifest.to_string().as_bytes(),
        )
        .done()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn every_form_holds_the_same_image() {
    let scratch = Scratch::new();
    let layout = Layout::new(&layers());
    layout.write(&scratch.join("directory"));
    fs::write(scratch.join("archive"), layout.archive()).unwrap();
    fs::write(scratch.join("archive.gz"), gzip(&layout.archive())).unwrap();
    fs::write(scratch.join("saved"), saved(&["a:1"])).unwrap();
    fs::write(scratch.join("saved.gz"), gzip(&saved(&["a:1"]))).unwrap();
    fs::write(scratch.join("saved.zst"), zstd(&saved(&["a:1"]))).unwrap();
    let stored: Vec<Vec<u8>> = layers().iter().map(|layer| zstd(layer)).collect();
    let config = config_of(&host(), &layers());
    let media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
    Layout::stored(&stored, &config, media_type).write(&scratch.join("zstd"));
    let media_type = "application/vnd.docker.image.rootfs.diff.tar";
    Layout::stored(&layers(), &config, media_type).write(&scratch.join("plain"));
    for name in [
        "directory",
        "archive",
        "archive.gz",
        "saved",
        "saved.gz",
        "saved.zst",
        "zstd",
        "plain",
    ] {
        let image = open(&scratch.join(name))
            .map_err(|err| chain(&err))
            .unwrap();
        assert_eq!(rootfs(&scratch, &image), ["one", "two"], "{name}");
        let config = image.config();
        assert_eq!(config.env, ["A=b"], "{name}");
        assert_eq!(
            (config.cmd.as_slice(), config.entrypoint.len()),
            (&["sh".to_owned()][..], 0)
        );
        assert_eq!(
            (config.working_dir.as_deref(), &config.user),
            (Some("/work"), &None)
        );
        assert_eq!(
            config.labels,
            BTreeMap::from([("one".to_owned(), "1".to_owned())])
        );
    }
}

#[test]
fn references_have_a_path_and_perhaps_a_name() {
    let scratch = Scratch::new();
    fs::write(scratch.join("a:b"), "").unwrap();
    let path = |name: &str| scratch.join(name).display().to_string();
    let digest = Digest::of(b"");
    let parsed = |text: String| {
        let reference = Reference::parse(&text).unwrap();
        let path = reference
            .path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        (path, reference.tag, reference.digest)
    };
    let is =
        |path: &str, tag: Option<&str>, digest| (path.to_owned(), tag.map(str::to_owned), digest);
    assert_eq!(parsed(path("a:b")), is("a:b", None, None));
    assert_eq!(parsed(path("a:b:1")), is("a:b", Some("1"), None));
    assert_eq!(
        parsed(path("a:b:localhost:5000/c:1")),
        is("a:b", Some("localhost:5000/c:1"), None)
    );
    assert_eq!(
        parsed(format!("{}@{digest}", path("a:b"))),
        is("a:b", None, Some(digest))
    );
    assert_eq!(
        parsed(format!("{}:1@{digest}", path("a:b"))),
        is("a:b", Some("1"), Some(digest))
    );
    let err = Reference::parse(&format!("{}@sha256:12", path("a:b"))).unwrap_err();
    assert_eq!(
        err.to_string(),
        r#"select an image by "sha256:12": it is not sha256: and 64 hexadecimal digits"#
    );
    let err = Reference::parse("/no/such:file").unwrap_err();
    assert_eq!(
        err.to_string(),
        "find an image at /no/such:file: there is no such file or directory"
    );
}

/// A layout with one image for each name, the name a file in it.
fn several(scratch: &Scratch, images: &[&str]) -> Vec<Digest> {
    let mut all: Option<Layout> = None;
    let mut digests = Vec::new();
    for name in images {
        let one = Layout::new(&[Layer::new().file(&name.replace(['/', ':'], "-"), "").done()]);
        digests.push(one.manifest);
        let mut index = one.index();
        index["manifests"][0]["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        let mut files = one.files.clone();
        if let Some(all) = &all {
            let mut manifests = all.index()["manifests"].as_array().unwrap().clone();
            manifests.push(index["manifests"][0].clone());
            index["manifests"] = manifests.into();
            files.extend(all.files.clone());
        }
        let mut merged = Layout {
            files,
            manifest: one.manifest,
        };
        merged.set_index(&index);
        all = Some(merged);
    }
    all.unwrap().write(&scratch.join("several"));
    digests
}

#[test]
fn one_of_several_images_is_chosen_by_name_or_digest() {
    let scratch = Scratch::new();
    let digests = several(
        &scratch,
        &["docker.io/library/a:1", "docker.io/library/a:2", "b"],
    );
    let path = scratch.join("several").display().to_string();
    let choose = |text: String| {
        let reference = Reference::parse(&text)?;
        let image = Image::open(&reference, &Platform::host(), &Limits::default())?;
        Ok::<_, Error>(rootfs(&scratch, &image))
    };
    for (name, want) in [
        (":docker.io/library/a:1", "docker.io-library-a-1"),
        (":a:1", "docker.io-library-a-1"),
        (":2", "docker.io-library-a-2"),
        (":library/a:2", "docker.io-library-a-2"),
        (":b", "b"),
        (&format!("@{}", digests[2]), "b"),
        (&format!(":a:1@{}", digests[0]), "docker.io-library-a-1"),
    ] {
        let found = choose(format!("{path}{name}"))
            .map_err(|err| chain(&err))
            .unwrap();
        assert_eq!(found, [want], "{name}");
    }
    let holds = "it holds docker.io/library/a:1, docker.io/library/a:2, b";
    for (name, want) in [
        ("", format!("choose an image of {path}: {holds}")),
        (":3", format!("find 3 in {path}: {holds}")),
        (":ibrary/a:1", format!("find ibrary/a:1 in {path}: {holds}")),
    ] {
        assert_eq!(
            choose(format!("{path}{name}")).unwrap_err().to_string(),
            want
        );
    }
    let other = Digest::of(b"other");
    let err = choose(format!("{path}:b@{other}")).unwrap_err().to_string();
    assert!(
        err.starts_with(&format!("find b@{other} in {path}: it holds sha256:")),
        "{err}"
    );
}

#[test]
fn saved_images_are_chosen_by_their_tags() {
    let scratch = Scratch::new();
    fs::write(scratch.join("saved"), saved(&["a:1", "localhost:5000/b:2"])).unwrap();
    let path = scratch.join("saved").display().to_string();
    let open = |name: &str| {
        let reference = Reference::parse(&format!("{path}{name}")).unwrap();
        let image = Image::open(&reference, &Platform::host(), &Limits::default());
        image
            .map(|image| image.digest())
            .map_err(|err| err.to_string())
    };
    let digest = open("").unwrap();
    assert_eq!(open(":a:1"), Ok(digest));
    assert_eq!(open(":b:2"), Ok(digest));
    assert_eq!(open(&format!("@{digest}")), Ok(digest));
    let want = format!("find b:1 in {path}: it holds a:1, localhost:5000/b:2");
    assert_eq!(open(":b:1"), Err(want));
}

#[test]
fn the_image_for_this_machine_is_chosen() {
    let scratch = Scratch::new();
    let mut files = BTreeMap::new();
    let mut manifests = Vec::new();
    for architecture in ["s390x", &host(), "unknown"] {
        let layers = [Layer::new().file(architecture, "").done()];
        let stored = [gzip(&layers[0])];
        let one = Layout::stored(&stored, &config_of(architecture, &layers), GZIP);
        let mut manifest = one.index()["manifests"][0].clone();
        let os = if architecture == "unknown" {
            "unknown"
        } else {
            "linux"
        };
        manifest["platform"] = json!({"os": os, "architecture": architecture});
        manifests.push(manifest);
        files.extend(one.files);
    }
    let inner = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    files.insert(
        format!("blobs/sha256/{}", Digest::of(inner.as_bytes()).hex()),
        inner.clone().into_bytes(),
    );
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": Digest::of(inner.as_bytes()), "size": inner.len(),
    }]});
    files.insert("index.json".to_owned(), index.to_string().into_bytes());
    let layout = Layout {
        files,
        manifest: Digest::of(b""),
    };
    layout.write(&scratch.join("layout"));
    let for_platform = |platform: &str| {
        let reference = Reference::new(&scratch.join("layout"));
        let platform = Platform::parse(platform).unwrap();
        Image::open(&reference, &platform, &Limits::default())
    };
    let image = open(&scratch.join("layout"))
        .map_err(|err| chain(&err))
        .unwrap();
    assert_eq!(rootfs(&scratch, &image), [host()]);
    let image = for_platform("linux/s390x").unwrap();
    assert_eq!(rootfs(&scratch, &image), ["s390x"]);
    let path = scratch.join("layout").display().to_string();
    let want = format!(
        "find linux/riscv64 in {path}: it is for linux/s390x, linux/{}, unknown/unknown",
        host()
    );
    assert_eq!(for_platform("riscv64").unwrap_err().to_string(), want);
}

#[test]
fn the_config_says_for_which_machine_an_image_is() {
    let scratch = Scratch::new();
    let layers = layers();
    let stored: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    Layout::stored(&stored, &config_of("s390x", &layers), GZIP).write(&scratch.join("layout"));
    let path = scratch.join("layout");
    let want = format!(
        "find linux/{} in {}: it is for linux/s390x",
        host(),
        path.display()
    );
    assert_eq!(open(&path).unwrap_err().to_string(), want);
}

#[test]
fn what_is_no_image_is_refused() {
    let scratch = Scratch::new();
    let said = |name: &str| {
        let path = scratch.join(name);
        chain(&open(&path).unwrap_err()).replace(path.to_str().unwrap(), "IMAGE")
    };
    fs::create_dir(scratch.join("empty")).unwrap();
    let no_form = "read IMAGE as an image: it has neither oci-layout nor manifest.json";
    assert_eq!(said("empty"), no_form);
    fs::write(
        scratch.join("rootfs.tar"),
        Layer::new().file("bin/sh", "").done(),
    )
    .unwrap();
    assert_eq!(said("rootfs.tar"), no_form);
    fs::write(
        scratch.join("text"),
        "some text that is long enough".repeat(20),
    )
    .unwrap();
    assert_eq!(
        said("text"),
        "read IMAGE as an image: the archive has a broken header: checksum"
    );
    assert_eq!(said("missing"), "read IMAGE: no such file or directory");
    let layout = Layout::new(&[]);
    let mut version = layout.clone();
    version.files.insert(
        "oci-layout".to_owned(),
        br#"{"imageLayoutVersion": "2"}"#.to_vec(),
    );
    version.write(&scratch.join("version"));
    assert_eq!(
        said("version"),
        r#"read IMAGE as an image: image layout version "2" is not known"#
    );
    let config = config_of(&host(), &layers());
    let encrypted = "application/vnd.oci.image.layer.v1.tar+encrypted";
    Layout::stored(&layers(), &config, encrypted).write(&scratch.join("encrypted"));
    let text = said("encrypted");
    assert!(
        text.ends_with(
            r#"media type "application/vnd.oci.image.layer.v1.tar+encrypted" is not supported"#
        ),
        "{text}"
    );
    assert!(text.starts_with("read layer 1 (sha256:"), "{text}");
    assert_eq!(MANIFEST, layout.index()["manifests"][0]["mediaType"]);
}
