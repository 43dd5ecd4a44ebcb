//! A picture of a table: horizontal bars in SVG, one group a row, the longest of each group as long as the others'.
//!
//! It needs no fonts or styles of its own, and shows on light and dark pages alike.

use std::fmt::Write;

/// One bar.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    /// Whose it is.
    pub(crate) name: String,
    /// Its length, in the unit of its group.
    pub(crate) value: u64,
    /// What stands beside it.
    pub(crate) text: String,
}

/// The bars of one row.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The row's title; empty where the picture's says it all.
    pub(crate) title: String,
    /// In the order of the table.
    pub(crate) bars: Vec<Bar>,
}

const WIDTH: u64 = 860;
const NAMES: u64 = 240;
const LONGEST: u64 = 440;
const LINE: u64 = 18;
const TITLE: u64 = 26;
const MARGIN: u64 = 12;

/// Bars whose name begins so are the ones that it is about.
const OWN: [&str; 2] = ["greenlang", "gl run"];

/// Draws the groups below each other.
pub(crate) fn svg(title: &str, groups: &[Group]) -> String {
    let mut body = String::new();
    let mut top = MARGIN + LINE;
    text(&mut body, MARGIN, top, "bold 14px", &plain(title));
    top += MARGIN;
    for group in groups {
        if !group.title.is_empty() {
            top += TITLE;
            text(
                &mut body,
                MARGIN,
                top - 8,
                "bold 12px",
                &plain(&group.title),
            );
        }
        let longest = group.bars.iter().map(|bar| bar.value).max();
        for bar in &group.bars {
            let length = (bar.value * LONGEST).div_ceil(longest.unwrap_or_default().max(1));
            line(&mut body, top, length, bar);
            top += LINE;
        }
    }
    let height = top + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\">\n<rect width=\"{WIDTH}\" height=\"{height}\" \
         fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn line(body: &mut String, top: u64, length: u64, bar: &Bar) {
    let colour = match OWN.iter().any(|own| bar.name.starts_with(own)) {
        true => "#2e8b57",
        false => "#a8b0b8",
    };
    let baseline = top + LINE - 5;
    text(body, MARGIN * 2, baseline, "12px", &plain(&bar.name));
    let height = LINE - 5;
    push(
        body,
        format_args!(
            "<rect x=\"{NAMES}\" y=\"{}\" width=\"{length}\" height=\"{height}\" fill=\"{colour}\"/>\n",
            top + 2
        ),
    );
    let right = NAMES + length + 6;
    text(body, right, baseline, "12px", &plain(&bar.text));
}

fn text(body: &mut String, left: u64, baseline: u64, font: &str, words: &str) {
    push(
        body,
        format_args!(
            "<text x=\"{left}\" y=\"{baseline}\" style=\"font:{font} sans-serif\" fill=\"#24292f\">{words}</text>\n"
        ),
    );
}

/// Words as XML has them, without the marks of Markdown.
fn plain(words: &str) -> String {
    let words = words.replace('`', "");
    words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn push(body: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    body.write_fmt(arguments).expect("String write");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, value: u64) -> Bar {
        Bar {
            name: name.to_owned(),
            value,
            text: format!("{value} ms"),
        }
    }

    #[test]
    fn longest_bar_of_a_group_has_the_whole_length() {
        let group = Group {
            title: "run `true`".to_owned(),
            bars: vec![bar("greenlang 1", 10), bar("a<b", 40)],
        };
        let picture = svg("Time", &[group]);
        for part in [
            "width=\"110\" height=\"13\" fill=\"#2e8b57\"",
            "width=\"440\" height=\"13\" fill=\"#a8b0b8\"",
            ">run true<",
            ">a&lt;b<",
            ">40 ms<",
        ] {
            assert!(picture.contains(part), "{part} is not in {picture}");
        }
    }

    #[test]
    fn group_of_zeros_has_no_bars() {
        let group = Group {
            title: String::new(),
            bars: vec![bar("x", 0)],
        };
        assert!(svg("", &[group]).contains("width=\"0\""));
    }
}
