//! The profiles that a profile extends.

use gl_profile::{Error, Format, Layer, Profile, Source, SourceText};

use crate::{Files, file, message, one};

#[test]
fn profile_that_extends_itself_is_refused_with_the_chain() {
    let files = Files::new(&[
        ("p", "extends = [\"a\"]"),
        ("a", "extends = [\"default\", \"b\"]"),
        ("b", "extends = [\"a\"]"),
    ]);
    assert_eq!(
        message(Profile::resolve("p", &files)),
        "resolve b.toml:3: extends: a profile extends itself: a -> b -> a"
    );
    assert_eq!(
        message(one("extends = [\"p\"]")),
        "resolve p.toml:3: extends: a profile extends itself: p -> p"
    );
}

#[test]
fn profiles_extend_one_another_sixteen_deep() {
    let names: Vec<String> = (0..17).map(|number| format!("p{number}")).collect();
    let bodies: Vec<String> = (1..17)
        .map(|number| format!("extends = [\"p{number}\"]"))
        .collect();
    let bodies = bodies.iter().map(String::as_str).chain([""]);
    let files: Vec<_> = names.iter().map(String::as_str).zip(bodies).collect();
    let files = Files::new(&files);
    assert_eq!(Profile::resolve("p1", &files).unwrap().sources.len(), 17);
    let error = Profile::resolve("p0", &files).unwrap_err();
    let Error::TooDeep {
        place,
        limit,
        chain,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(
        (place.to_string(), limit),
        ("p15.toml:3: extends".to_owned(), 16)
    );
    assert_eq!(chain, names.join(" -> "));
}

#[test]
fn profile_that_is_nowhere_is_refused_with_the_nearest() {
    let files = Files::new(&[
        ("p", "extends = [\n\"default\",\n\"compute-olny\"]"),
        ("mine", "extends = [\"mien\"]"),
    ]);
    for (name, want) in [
        (
            "p",
            "find profile \"compute-olny\" for p.toml:5: extends: there is none; did you mean \"compute_only\"?",
        ),
        (
            "mine",
            "find profile \"mien\" for mine.toml:3: extends: there is none; did you mean \"mine\"?",
        ),
        ("zzzzzz", "find profile \"zzzzzz\": there is none"),
        (
            "strikt",
            "find profile \"strikt\": there is none; did you mean \"strict\"?",
        ),
        ("../p", "find profile \"../p\": there is none"),
        (
            &"a".repeat(1000),
            &format!("find profile {:?}...: there is none", "a".repeat(77)),
        ),
        ("a\nb", "find profile \"a\\nb\": there is none"),
    ] {
        assert_eq!(message(Profile::resolve(name, &files)), want, "{name}");
    }
}

#[test]
fn source_is_never_asked_for_what_can_be_no_name() {
    struct Panics;
    impl Source for Panics {
        fn find(&self, name: &str) -> Result<Option<SourceText>, Error> {
            panic!("asked for {name:?}");
        }
        fn names(&self) -> Result<Vec<String>, Error> {
            Ok(Vec::new())
        }
    }
    for name in ["../../etc/passwd", "", "A", "a/b", "default"] {
        let got =
            Profile::resolve(name, &Panics).map(|profile| profile.name.value.as_str().to_owned());
        assert_eq!(
            got.ok().as_deref(),
            (name == "default").then_some("default"),
            "{name}"
        );
    }
}

#[test]
fn file_with_the_name_of_another_profile_is_refused() {
    let mut files = Files::new(&[]);
    files.0.insert("p".to_owned(), file("q", ""));
    assert_eq!(
        message(Profile::resolve("p", &files)),
        "read p.toml:2: name: expected \"p\", the name that the profile is found by, found \"q\""
    );
    for name in ["default", "strict", "high"] {
        let layer = Layer::parse("x.toml", &file(name, ""), Format::Toml).unwrap();
        assert_eq!(
            message(Profile::resolve(layer, &())),
            format!(
                "read x.toml:2: name: \"{name}\" is built in; give the profile a name of its own"
            )
        );
    }
}
