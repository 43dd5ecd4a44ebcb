//! Bytes unpacked: forms, frames, limits.

use super::*;

use std::io::Write as _;

fn section(bytes: &[u8]) -> Section {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR).unwrap();
    let mut file = File::from(file);
    file.write_all(bytes).unwrap();
    Section::whole(file).unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let section = section(bytes);
    let mut tell = |_| {};
    let meter = RefCell::new(Meter::new(section.len(), &mut tell));
    let mut out = Vec::new();
    let mut source = unpacked(&section, &meter).unwrap();
    source
        .read_to_end(&mut out)
        .map_err(|err| err.to_string())?;
    Ok(out)
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

#[test]
fn every_form_is_unpacked() {
    let text = b"some text, some text".repeat(20_000);
    let skippable = [&[0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let halves = text.split_at(text.len() / 3);
    for (what, stored) in [
        ("plain", text.clone()),
        ("gzip", gzip(&text)),
        (
            "two gzip members",
            [gzip(halves.0), gzip(halves.1)].concat(),
        ),
        ("zstd", zstd(&text)),
        ("two zstd frames", [zstd(halves.0), zstd(halves.1)].concat()),
        (
            "zstd with skippable frames",
            [
                &skippable[..],
                &zstd(halves.0),
                &skippable,
                &zstd(halves.1),
                &skippable,
            ]
            .concat(),
        ),
    ] {
        assert!(read(&stored).unwrap() == text, "{what} is not the text");
    }
}

#[test]
fn streams_that_end_too_early_are_errors() {
    let text = b"some text, some text".repeat(20_000);
    for (what, whole) in [("gzip", gzip(&text)), ("zstd", zstd(&text))] {
        for missing in [1, 4, whole.len() / 2] {
            let read = read(&whole[..whole.len() - missing]);
            // The checksum at the very end of a frame is not needed: the layer has a digest.
            if what == "zstd" && missing < 5 {
                continue;
            }
            assert!(
                read.is_err(),
                "{what} without its last {missing} bytes: {read:?}"
            );
        }
    }
}

#[test]
fn a_layer_is_cut_off_at_its_bounds() {
    let bounds = Bounds {
        left: 1000,
        limit: 5000,
        bomb: 2000,
        ratio: 7,
    };
    let fault = |bytes: usize, bounds| {
        let source = Bounded::new(io::repeat(0).take(bytes as u64), bounds);
        source
            .finish()
            .map(|(_, bytes)| bytes)
            .map_err(|fault| fault.to_string())
    };
    assert_eq!(fault(1000, bounds), Ok(1000));
    assert_eq!(
        fault(1001, bounds),
        Err("it is over the limit of 5000 bytes unpacked".to_owned())
    );
    assert_eq!(
        fault(
            2001,
            Bounds {
                left: 9999,
                ..bounds
            }
        ),
        Err("it unpacks to more than 7 times its size".to_owned())
    );
}
