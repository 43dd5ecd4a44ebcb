//! What contradicts itself, what nobody can run, and images that are not what they say.

use std::fs;

use gl_e2e::bundle::{self, Bundle};
use gl_e2e::gl::{assert_nothing_left, command as gl, run};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use crate::made::{Made, cache, entries};

pub(crate) const TESTS: &[Test] = tests![
    options_that_contradict_are_refused_by_their_names,
    run_without_a_program_is_refused,
    image_that_is_none_is_refused,
    hostile_image_is_refused_and_leaves_nothing,
    paths_of_the_host_are_not_shown_in_an_image,
];

fn options_that_contradict_are_refused_by_their_names() -> Outcome {
    cache();
    gl(&[])?;
    let made = Made::new();
    let (image, _) = made.archive(&json!({"Cmd": ["true"]}));
    let box_ = Bundle::new();
    box_.write_config();
    let (dir, rootfs) = (box_.dir().to_str().unwrap(), box_.rootfs());
    let rootfs = rootfs.to_str().unwrap();
    let image = ["--image", &image];
    let bundle = ["--bundle", dir];
    let rootfs = ["--rootfs", rootfs];
    for (options, want) in [
        ([rootfs, image].concat(), ["--rootfs", "--image"]),
        ([image, bundle].concat(), ["--image", "--bundle"]),
        ([rootfs, bundle].concat(), ["--rootfs", "--bundle"]),
        (
            [&["--tier", "basic"][..], &image].concat(),
            ["--tier basic", "--image"],
        ),
        (
            [&["--allow", "--tier", "namespace"][..], &image].concat(),
            ["--tier namespace", "--image"],
        ),
        (
            [&["--tier", "chroot"][..], &rootfs].concat(),
            ["--tier chroot", "--rootfs"],
        ),
        (
            [&["--tier", "namespace"][..], &bundle].concat(),
            ["--tier namespace", "--bundle"],
        ),
        (vec!["--tier", "container"], ["--tier container", "--image"]),
        (vec!["--tier", "gvisor"], ["--tier gvisor", "--bundle"]),
    ] {
        let output = run(&[&options[..], &["--", "true"]].concat())?;
        assert_eq!(output.status, 125, "{output}");
        for want in want {
            assert!(output.stderr.contains(want), "{want:?} in {output}");
        }
    }
    Ok(())
}

fn run_without_a_program_is_refused() -> Outcome {
    cache();
    gl(&[])?;
    let made = Made::new();
    let (image, _) = made.archive(&json!({"Env": ["PATH=/bin"]}));
    let box_ = Bundle::new().set("/process/args", json!([]));
    box_.write_config();
    let dir = box_.dir().to_str().unwrap();
    for (options, want) in [
        (&[][..], "-- PROGRAM"),
        (&["--image", &image], "--image has none in its config"),
        (&["--bundle", dir], "--bundle has none in process.args"),
    ] {
        let output = run(options)?;
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(want), "{want:?} in {output}");
    }
    Ok(())
}

fn image_that_is_none_is_refused() -> Outcome {
    cache();
    gl(&[])?;
    let made = Made::new();
    made.write("text", "no image\n");
    let (image, _) = made.archive(&json!({"Cmd": ["true"]}));
    let (text, none) = (made.arg("text"), made.arg("none"));
    let tagged = format!("{image}:other");
    for (reference, want) in [
        (text.as_str(), "text"),
        (&none, "there is no such file or directory"),
        (&tagged, "other"),
    ] {
        let output = run(&["--image", reference])?;
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(want), "{want:?} in {output}");
    }
    Ok(())
}

fn hostile_image_is_refused_and_leaves_nothing() -> Outcome {
    cache();
    gl(&[])?;
    let before = entries();
    let name = format!("{}hostile", bundle::tag());
    // A name that leads out of the tree.
    let escaping = Made::new();
    escaping.sh("echo x >f; tar -P --transform 's,^f,../../escaped,' -cf layer.tar f");
    let (out, _) = escaping.archive(&json!({"Cmd": ["true"]}));
    // A layer that was changed after its digest was taken.
    let changed = Made::new();
    let (layout, _) = changed.layout(&json!({"Cmd": ["true"]}));
    let layer = changed.sh("ls -S layout/blobs/sha256 | head -1");
    let layer = changed.path("layout/blobs/sha256").join(layer.trim_end());
    let mut bytes = fs::read(&layer).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&layer, bytes).unwrap();
    for (image, want) in [
        (out, "the name has .. in it"),
        (layout, "its digest is sha256:"),
    ] {
        let output = run(&["--name", &name, "--image", &image])?;
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(want), "{want:?} in {output}");
        assert_eq!(entries(), before, "{image}");
        assert_nothing_left(&name);
    }
    let escaped = cache().join("escaped").symlink_metadata();
    assert!(escaped.is_err(), "{escaped:?}");
    Ok(())
}

fn paths_of_the_host_are_not_shown_in_an_image() -> Outcome {
    cache();
    let made = Made::new();
    let (image, _) = made.archive(&json!({"Cmd": ["true"], "Env": ["PATH=/bin"]}));
    for option in [["--ro", "/srv"], ["--rw", "/srv"], ["--bind", "/srv:/x"]] {
        let args = [&["--allow", "--image", &image][..], &option].concat();
        let output = run(&args)?;
        assert_eq!(output.status, 125, "{output}");
        assert!(output.stderr.contains(option[0]), "{option:?} in {output}");
    }
    Ok(())
}
