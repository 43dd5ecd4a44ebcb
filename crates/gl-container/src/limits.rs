//! Whether a container needs a cgroup, where none can be made.

use gl_spec::oci::Spec;
use serde_json::Value;

/// Whether the container can do without a cgroup: in a user namespace, with no limit asked for.
///
/// The list of devices is none there: nodes cannot be made, and the host's are bound one by one.
pub(crate) fn dispensable(spec: &Spec) -> bool {
    gl_launch::in_user_namespace() && !asks_limits(spec)
}

fn asks_limits(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let Some(mut resources) = linux.and_then(|linux| linux.resources().clone()) else {
        return false;
    };
    resources.set_devices(None);
    // What cannot be read as a document is taken to ask for something.
    serde_json::to_value(&resources).map_or(true, |value| asks(&value))
}

/// Whether there is a value in it that limits something: 0 and less are the words for "none".
fn asks(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64().is_none_or(|number| number > 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => list.iter().any(asks),
        Value::Object(map) => map
            .iter()
            .any(|(key, value)| asks(value) || key == "swappiness" && !value.is_null()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_limit_something_ask_for_a_cgroup() {
        for (resources, want) in [
            (r#"{}"#, false),
            (r#"{"devices":[{"allow":false,"access":"rwm"}]}"#, false),
            (r#"{"pids":{"limit":0},"memory":{"limit":-1}}"#, false),
            (r#"{"memory":{"disableOOMKiller":false}}"#, false),
            (r#"{"pids":{"limit":5}}"#, true),
            (r#"{"memory":{"swappiness":0}}"#, true),
            (r#"{"cpu":{"cpus":"0"}}"#, true),
            (r#"{"unified":{"memory.max":"0"}}"#, true),
        ] {
            let text = format!(
                r#"{{"ociVersion":"1.0.0","root":{{"path":"r"}},"linux":{{"resources":{resources}}}}}"#
            );
            let spec = gl_spec::load(text.as_bytes()).unwrap().spec;
            assert_eq!(asks_limits(&spec), want, "{resources}");
        }
    }
}
