//! What greenlang has stored and reads again: filters, the state document, what profiles added.

use gl_seccomp::Program;
use gl_spec::{Extras, StateDocument};

use crate::bpf::{self, Data};

/// A stored file.
pub fn stored(data: &[u8]) {
    filter(data);
    // The same behind a header that is right.
    let body = data.len() / 8 * 8;
    if let Ok(count) = u16::try_from(body / 8) {
        let mut bytes = b"GLSP".to_vec();
        bytes.extend([1, 0]);
        bytes.extend(count.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&data[..body]);
        filter(&bytes);
    }
    if let Ok(state) = serde_json::from_slice::<StateDocument>(data) {
        let text = serde_json::to_string(&state).expect("strings and numbers");
        let again: StateDocument = serde_json::from_str(&text).expect("what was written");
        assert_eq!(serde_json::to_string(&again).expect("as before"), text);
    }
    if let Ok(extras) = serde_json::from_slice::<Extras>(data) {
        let text = serde_json::to_string(&extras).expect("strings and numbers");
        assert_eq!(
            serde_json::from_str::<Extras>(&text).expect("what was written"),
            extras
        );
    }
}

/// A filter that is read can be run to its end.
fn filter(bytes: &[u8]) {
    let Ok(program) = Program::from_bytes(bytes) else {
        return;
    };
    assert_eq!(program.to_bytes(), bytes);
    for nr in [0, 1, 59, 435, u32::MAX] {
        let args = [0, 1, u64::MAX, 0x8000_0000, 7, 0];
        bpf::run(
            program.insns(),
            &Data {
                nr,
                arch: crate::seccomp::AUDIT,
                args,
            },
        );
    }
}
