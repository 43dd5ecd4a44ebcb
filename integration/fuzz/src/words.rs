//! Small texts that people and files give: ids, signals, times, references, maps.

use gl_image::{Digest, Platform, Reference};
use gl_spec::{ContainerId, Signal, Status, Timestamp};

/// A text.
pub fn words(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(id) = text.parse::<ContainerId>() {
        let id = id.to_string();
        assert!(
            !id.contains('/') && id != "." && id != ".." && !id.contains('\0'),
            "{id:?}"
        );
        assert!(id.len() <= 255, "{id:?}");
    }
    if let Some(signal) = Signal::parse(&text) {
        assert!(!format!("{signal:?}").is_empty());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        let shown = time.to_string();
        let again: Timestamp = shown.parse().expect("what was written");
        assert_eq!(again, time, "{shown}");
    }
    if let Ok(status) = text.parse::<Status>() {
        assert_eq!(status.to_string(), text);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert!(
            !text.contains("..") && text.matches('/').count() == 0,
            "{text:?}"
        );
    }
    drop(Reference::parse(&text));
    if let Some(platform) = Platform::parse(&text) {
        assert!(!platform.architecture.is_empty(), "{text:?}");
    }
    let map = gl_plan::ids::parse_map(&text);
    for range in &map {
        if let Ok(pieces) = gl_plan::ids::within(&map, *range) {
            let size: u64 = pieces.iter().map(|piece| u64::from(piece.size)).sum();
            assert_eq!(size, u64::from(range.size), "{range:?} in {map:?}");
        }
    }
    // Another separator, and nothing else.
    assert_eq!(gl_spec::sysctl_name(&text).len(), text.len());
}
