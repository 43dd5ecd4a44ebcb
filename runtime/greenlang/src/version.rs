//! `--version`: three lines that engines take apart.

use gl_spec::OCI_VERSION;

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What it was built from, if the build said so in `GREENLANG_COMMIT`.
const COMMIT: &str = match option_env!("GREENLANG_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The text of `--version`.
pub(crate) fn text() -> String {
    format!("greenlang version {VERSION}\ncommit: {COMMIT}\nspec: {OCI_VERSION}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_three_lines_that_engines_take_apart() {
        let text = text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], format!("greenlang version {VERSION}"));
        assert!(lines[1].starts_with("commit: "), "{text}");
        assert_eq!(lines[2], "spec: 1.3.0");
    }
}
