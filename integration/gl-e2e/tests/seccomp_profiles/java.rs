//! The JVM: what it does before `main`, and what programs in it ask of the kernel.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking with what was seen"
)]

use std::fs;
use std::process::Command;

use gl_e2e::Outcome;
use gl_e2e::bundle::Bundle;
use gl_e2e::bundle::process::finish;
use serde_json::json;

use super::{ALL, CLIENTS, PROCESSES, PYTHON, need, prints, server, under};

const JAVA: &str = "/usr/bin/java";

/// Compiles a Java program on the host and runs it in each of the containers.
#[track_caller]
fn java(bundles: Vec<(&str, Bundle)>, source: &str, text: &str) {
    let source = format!(
        "import java.io.*; import java.net.*; import java.nio.file.*; import java.util.stream.*;
         public class Main {{ public static void main(String[] a) throws Exception {{ {source} }} }}"
    );
    let (_, first) = &bundles[0];
    let mut compiler = Command::new("/usr/bin/javac");
    compiler.arg("-d").arg(first.rootfs().join("job"));
    finish(compiler.arg(first.file("job/Main.java", &source))).ok();
    let class = fs::read(first.rootfs().join("job/Main.class")).unwrap();
    for (profile, bundle) in bundles {
        fs::write(bundle.rootfs().join("job/Main.class"), &class).unwrap();
        let bundle = bundle.args(&[JAVA, "-Xmx256m", "-cp", "/job", "Main"]);
        prints(profile, &bundle.run(), text);
    }
}

fn need_java() -> Outcome {
    need(JAVA)?;
    need("/usr/bin/javac")
}

fn filtered(profiles: &[&'static str]) -> Vec<(&'static str, Bundle)> {
    profiles
        .iter()
        .map(|profile| (*profile, under(profile)))
        .collect()
}

pub(crate) fn java_computes() -> Outcome {
    need_java()?;
    let source = r#"
        try (FileWriter file = new FileWriter("/tmp/java")) { file.write("x".repeat(1000)); }
        System.gc();
        long sum = IntStream.range(0, 1000).parallel().asLongStream().map(n -> n * n).sum();
        System.out.println(sum + " " + new File("/tmp/java").length());"#;
    java(filtered(&ALL), source, "332833500 1000");
    Ok(())
}

pub(crate) fn java_opens_channels_where_it_may_have_pairs() -> Outcome {
    need_java()?;
    let source = r#"
        Files.writeString(Path.of("/tmp/java"), "text");
        System.out.println(Files.readString(Path.of("/tmp/java")));"#;
    java(filtered(PROCESSES), source, "text");
    Ok(())
}

pub(crate) fn java_starts_processes() -> Outcome {
    need_java()?;
    let source = r#"
        Process child = new ProcessBuilder("/bin/sh", "-c", "echo child; exit 3").start();
        System.out.print(new String(child.getInputStream().readAllBytes()));
        System.out.println(child.waitFor());"#;
    java(filtered(PROCESSES), source, "child\n3");
    Ok(())
}

pub(crate) fn java_connects() -> Outcome {
    need_java()?;
    need(PYTHON)?;
    let server = server();
    let network = json!({"type": "network", "path": format!("/proc/{}/ns/net", server.pid())});
    let beside = |(profile, bundle): (&'static str, Bundle)| {
        (profile, bundle.namespace("network", Some(network.clone())))
    };
    let source = r#"
        InputStream answer = new URI("http://127.0.0.1:8000/hello").toURL().openStream();
        System.out.print(new String(answer.readAllBytes()));"#;
    java(
        filtered(CLIENTS).into_iter().map(beside).collect(),
        source,
        "hello",
    );
    Ok(())
}
