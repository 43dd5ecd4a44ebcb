//! The words of the environment, as a layer that explicit settings win over.

use std::sync::Arc;
use std::time::Duration;

use crate::decode::Reader;
use crate::error::Error;
use crate::layer::Layer;
use crate::node::{Kind, Node};
use crate::value::{Bytes, Count, Level, OnMissing, Setting, SourceKind};

/// The words that are read, in the order of `profiles/README.md`.
pub const WORDS: &[&str] = &[
    "GL_FORCE_OS_SANDBOX",
    "GL_SECURITY_LEVEL",
    "GL_ISOLATION_TYPE",
    "GL_MEMORY_LIMIT_MB",
    "GL_CPU_LIMIT_SECONDS",
    "GL_EXECUTION_TIMEOUT",
];

/// Reads the words out of an environment; every other variable is left alone.
///
/// `GL_FORCE_OS_SANDBOX=1` refuses a run that the host cannot protect; `0` leaves that to the level.
/// `GL_MEMORY_LIMIT_MB` counts in MiB. The layer is for [`Profile::resolve_over`](crate::Profile).
///
/// # Errors
///
/// [`Error::Value`] with the name of the word for a value that does not fit.
pub fn environment<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Layer, Error> {
    let file: Arc<str> = Arc::from("environment");
    let reader = Reader {
        file: &file,
        kind: SourceKind::Environment,
    };
    let mut layer = Layer::named(reader.value("name", &node("environment"))?);
    for (word, value) in variables {
        let Some(word) = WORDS.iter().copied().find(|known| *known == word) else {
            continue;
        };
        take(&mut layer, &reader, word, &node(value))?;
    }
    Ok(layer)
}

/// A value as a file would have it: digits are a number.
pub(crate) fn node(text: &str) -> Node {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let kind = match text.parse() {
        Ok(number) if digits => Kind::Integer(number),
        _ => Kind::Text(text.to_owned()),
    };
    Node { line: 0, kind }
}

fn take(
    layer: &mut Layer,
    reader: &Reader<'_>,
    word: &'static str,
    node: &Node,
) -> Result<(), Error> {
    match word {
        "GL_FORCE_OS_SANDBOX" => match node.kind {
            Kind::Integer(1) => {
                layer.general.on_missing = Some(Setting {
                    value: OnMissing::Refuse,
                    origin: reader.origin(0, word.into()),
                });
            }
            Kind::Integer(0) => {}
            _ => return Err(reader.mismatch(word, node, "1 or 0")),
        },
        "GL_SECURITY_LEVEL" => layer.general.level = Some(reader.value::<Level>(word, node)?),
        "GL_ISOLATION_TYPE" => layer.general.isolation = Some(reader.value(word, node)?),
        "GL_MEMORY_LIMIT_MB" => {
            let count: Setting<Count> = reader.value(word, node)?;
            layer.limits.memory_limit_bytes = Some(Setting {
                value: Bytes(u64::from(count.value.0) << 20),
                origin: count.origin,
            });
        }
        "GL_CPU_LIMIT_SECONDS" => {
            layer.limits.cpu_time_limit_seconds = Some(reader.value::<Duration>(word, node)?);
        }
        _ => layer.general.execution_timeout = Some(reader.value::<Duration>(word, node)?),
    }
    Ok(())
}
