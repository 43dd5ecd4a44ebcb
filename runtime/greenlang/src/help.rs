//! `--help`: made from the same tables that the arguments are read by.

use std::fmt::Write as _;

use crate::args::{FLAGS, Flag, Takes};
use crate::command::Verb;

/// Where the explanation of an option begins.
const INDENT: usize = 32;
/// Where lines are broken.
const WIDTH: usize = 100;

/// The text of `greenlang --help`.
pub(crate) fn program() -> String {
    let mut text = String::from(
        "greenlang - run containers from OCI bundles\n\n\
         Usage: greenlang [OPTION]... COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n",
    );
    for verb in Verb::ALL {
        let page = verb.page();
        // Writing to a String cannot fail.
        writeln!(text, "  {:<12}{}", page.name, page.about).expect("String write");
    }
    text.push_str("\nOptions:\n");
    options(&mut text, FLAGS);
    text.push_str(
        "\nOptions can be written with one dash or two, and their values behind a space or `=`.\n\
         `greenlang COMMAND --help` explains one command.\n",
    );
    text
}

/// The text of `greenlang VERB --help`.
pub(crate) fn verb(verb: Verb) -> String {
    let page = verb.page();
    let mut text = format!(
        "greenlang {} - {}\n\nUsage: greenlang {}",
        page.name, page.about, page.name
    );
    if !page.flags.is_empty() {
        text.push_str(" [OPTION]...");
    }
    if !page.operands.is_empty() {
        text.push(' ');
        text.push_str(page.operands);
    }
    text.push('\n');
    if !page.detail.is_empty() {
        text.push('\n');
        paragraph(&mut text, page.detail, 0);
    }
    text.push_str("\nOptions:\n");
    options(&mut text, page.flags);
    text
}

fn options(text: &mut String, flags: &[Flag]) {
    for flag in flags {
        option(text, flag);
    }
    option(
        text,
        &crate::args::switch(&["help", "h"], "print this text and exit"),
    );
}

fn option(text: &mut String, flag: &Flag) {
    let mut left = String::from("  ");
    for (i, name) in flag.names.iter().enumerate() {
        if i > 0 {
            left.push_str(", ");
        }
        left.push_str(if name.len() == 1 { "-" } else { "--" });
        left.push_str(name);
    }
    if let Takes::Value(placeholder) = flag.takes {
        left.push(' ');
        left.push_str(placeholder);
    }
    text.push_str(&left);
    if left.len() + 2 > INDENT {
        text.push('\n');
        text.push_str(&" ".repeat(INDENT));
    } else {
        text.push_str(&" ".repeat(INDENT - left.len()));
    }
    paragraph(text, flag.help, INDENT);
}

/// Breaks lines between words; the first line continues the one begun.
fn paragraph(text: &mut String, words: &str, indent: usize) {
    let mut column = indent;
    for (i, word) in words.split_whitespace().enumerate() {
        if i > 0 && column + 1 + word.len() > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
        } else if i > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_verb_and_every_option_once() {
        let text = program();
        for verb in Verb::ALL {
            let name = verb.page().name;
            assert!(text.contains(&format!("\n  {name} ")), "{name} in {text}");
        }
        for flag in FLAGS {
            assert!(text.contains(&format!("  --{}", flag.names[0])), "{text}");
        }
        for each in Verb::ALL {
            let text = verb(each);
            for flag in each.page().flags {
                let names = text.matches(&format!("  --{}", flag.names[0])).count();
                assert!(names >= 1, "{} in {text}", flag.names[0]);
            }
            assert!(text.contains("--help, -h"), "{text}");
        }
    }

    #[test]
    fn help_fits_its_width_and_explains_everything() {
        let texts = Verb::ALL.into_iter().map(verb).chain([program()]);
        for line in texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert_eq!(line.trim_end(), line);
        }
        for flag in Verb::ALL
            .iter()
            .flat_map(|verb| verb.page().flags)
            .chain(FLAGS)
        {
            assert!(flag.help.len() > 10, "{:?}", flag.names);
        }
    }

    #[test]
    fn option_names_are_unique_within_a_verb() {
        for verb in Verb::ALL {
            let mut names: Vec<&str> = verb
                .page()
                .flags
                .iter()
                .flat_map(|flag| flag.names.iter().copied())
                .chain(["help", "h"])
                .collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{}: {names:?}", verb.page().name);
        }
    }
}
