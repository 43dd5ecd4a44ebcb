use super::*;

/// Asserts the field at the mark `^` of each text, which the text is then read without.
#[track_caller]
fn all_at_mark(rows: &[(&str, &str)]) {
    for (marked, want) in rows {
        let (before, behind) = marked.split_once('^').unwrap();
        let text = format!("{before}{behind}");
        assert_eq!(field_at(&text, before.len()), *want, "{marked}");
    }
}

#[test]
fn a_value_is_named_from_what_precedes_it_to_what_follows() {
    all_at_mark(&[
        (r#"{"a":^ 12 , "b": 3}"#, "a"),
        (r#"{"a": ^12 , "b": 3}"#, "a"),
        (r#"{"a": 1^2 , "b": 3}"#, "a"),
        (r#"{"a": 12^ , "b": 3}"#, "a"),
        (r#"{"a": 12 ^, "b": 3}"#, "a"),
        (r#"{"a": 12 , "b": 3^}"#, "b"),
        (r#"{"a": "x^,y]"}"#, "a"),
        (r#"{"a": "x,y]"^}"#, "a"),
        ("{\"a\":\n\ttrue^\r\n}", "a"),
        ("^7", ""),
        ("7^", ""),
    ]);
}

#[test]
fn names_and_colons_belong_to_their_object() {
    all_at_mark(&[
        (r#"{^"a": 1}"#, ""),
        (r#"{"a"^: 1}"#, ""),
        (r#"{"a" ^: 1}"#, ""),
        (r#"{"o": {"a": 1,^ "b": 2}}"#, "o"),
        (r#"{"o": {"a": 1, "b"^: 2}}"#, "o"),
    ]);
}

#[test]
fn an_object_or_list_is_named_before_it_opens_and_after_it_closes() {
    all_at_mark(&[
        (r#"{"o":^{"a": 1}}"#, "o"),
        (r#"{"o": ^{"a": 1}}"#, "o"),
        (r#"{"o": {"a": 1}^}"#, "o"),
        (r#"{"o": {"a": 1 ^}}"#, "o.a"),
        (r#"{"o": {^}}"#, "o"),
        (r#"{"o": {}^}"#, "o"),
        (r#"{"o": ^[1]}"#, "o"),
        (r#"{"o": [1]^}"#, "o"),
        (r#"{"o": {"a": 1}}^"#, ""),
        (r#"{"o": {"a": 1}} ^ "#, ""),
    ]);
}

#[test]
fn elements_of_lists_are_counted_at_every_depth() {
    all_at_mark(&[
        ("[^1, 2]", "[0]"),
        ("[1, 2^]", "[1]"),
        ("[1,^{}]", "[1]"),
        ("[[1, 2], [3, [4, {}, 5^]]]", "[1][1][2]"),
        (
            r#"{"mounts": [{}, {"options": ["a", "b"]}, {"options": ["c", 5^]}]}"#,
            "mounts[2].options[1]",
        ),
        (r#"[{"a": [{"b": ^[]}]}]"#, "[0].a[0].b"),
    ]);
}

#[test]
fn escapes_are_read_in_names_and_passed_over_in_values() {
    all_at_mark(&[
        (r#"{"r\u006fot": ^1}"#, "root"),
        (r#"{"a\"b": ^1}"#, r#"a"b"#),
        (r#"{"a\\": ^1}"#, r"a\"),
        (r#"{"\ud83d\ude00": ^1}"#, "😀"),
        (r#"{"a": "\"}, {\\", "b": 1^}"#, "b"),
        (r#"{"a": "\\\"", "b": [1^]}"#, "b[0]"),
        (r#"{"": {"": ^1}}"#, ""),
    ]);
}

#[test]
fn text_beyond_ascii_is_counted_in_bytes() {
    all_at_mark(&[
        (r#"{"ключ": {"値": "é😀"^}}"#, "ключ.値"),
        (r#"{"a": "é\é😀", "b": 1^}"#, "b"),
    ]);
    let text = "{\"a\": \"é\",\n \"b\": \"é\"}";
    assert_eq!(offset(text, 2, 10), text.len() - 1);
    for at in 0..=text.len() {
        let want = match at {
            5..=10 => "a",
            17..=22 => "b",
            _ => "",
        };
        assert_eq!(field_at(text, at), want, "{at}");
    }
}

#[test]
fn a_name_that_stands_twice_is_told_apart_by_its_place() {
    all_at_mark(&[
        (r#"{"a": [1], "a": [1, {}^]}"#, "a[1]"),
        (r#"{"a": {"b": 1^}, "a": {"c": 1}}"#, "a.b"),
        (r#"{"a": {"b": 1}, "a": {"c": 1^}}"#, "a.c"),
    ]);
}

#[test]
fn a_text_cut_short_names_what_was_open() {
    all_at_mark(&[
        ("^", ""),
        (" ^", ""),
        (r#"{"a": [1, "x^"#, "a[1]"),
        (r#"{"a": [1, "x\^"#, "a[1]"),
        (r#"{"a": [1,^"#, "a[1]"),
        (r#"{"a": {"b^"#, "a"),
        (r#"{"a": {"b" ^"#, "a"),
        (r#"{"a": {"b":^"#, "a.b"),
        (r#"{"a": nul^"#, "a"),
    ]);
}

#[test]
fn offset_counts_lines_from_one_and_ends_at_the_text() {
    let text = "ab\ncd\n\nef";
    for (line, column, want) in [
        (1, 0, 0),
        (1, 2, 2),
        (2, 0, 3),
        (2, 2, 5),
        (3, 0, 6),
        (4, 1, 8),
        (4, 2, 9),
        (4, 3, 9),
        (5, 0, 9),
        (0, 0, 0),
        (usize::MAX, usize::MAX, 9),
        (1, usize::MAX, 9),
    ] {
        assert_eq!(offset(text, line, column), want, "{line}:{column}");
    }
}

#[test]
fn no_text_and_no_offset_panics() {
    const PIECES: [&str; 14] = [
        "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "\n", "a", "é", "0", "\"k\"",
    ];
    // A generator of numbers, the same ones in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(bound).unwrap()).unwrap()
    };
    let mut named = 0;
    for _ in 0..20_000 {
        let text: String = (0..below(24))
            .map(|_| PIECES[below(PIECES.len())])
            .collect();
        for offset in [
            0,
            below(text.len() + 1),
            text.len(),
            text.len() + 1,
            usize::MAX,
        ] {
            named += usize::from(!field_at(&text, offset).is_empty());
        }
    }
    assert!(named > 10_000, "{named}");
}
