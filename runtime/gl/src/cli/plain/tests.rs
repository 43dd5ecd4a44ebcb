//! Clap judges: what is read here is what it reads, option by option and over generated arguments.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use super::super::OnlyRun;
use super::{Field, Reading, Run, long_of, read};

/// Clap's reading of arguments. The command is built once: to build it takes longer than to read with it.
struct Clap(Command);

impl Clap {
    fn new() -> Self {
        Self(OnlyRun::command())
    }

    fn read<S: AsRef<OsStr>>(&mut self, args: &[S]) -> Option<Run> {
        let words = [OsStr::new("run")]
            .into_iter()
            .chain(args.iter().map(AsRef::as_ref));
        let matches = self.0.try_get_matches_from_mut(words).ok()?;
        OnlyRun::from_arg_matches(&matches)
            .ok()
            .map(|only| only.run)
    }
}

fn plainly<S: AsRef<OsStr>>(args: &[S]) -> Option<Run> {
    read(args.iter().map(|arg| arg.as_ref().to_owned()))
}

/// The options that clap knows, without the help that it adds by itself.
fn options() -> Vec<Arg> {
    OnlyRun::command()
        .get_arguments()
        .filter(|arg| !arg.is_positional())
        .cloned()
        .collect()
}

fn long(arg: &Arg) -> &str {
    arg.get_long().expect("each option has a long name")
}

/// A value that is right for an option.
fn right_value(arg: &Arg) -> String {
    arg.get_possible_values()
        .last()
        .map_or("a=b,c".to_owned(), |value| value.get_name().to_owned())
}

#[test]
fn every_option_has_a_field_of_its_kind() {
    for arg in options() {
        let mut reading = Reading::new();
        let field = reading
            .field(long(&arg))
            .unwrap_or_else(|| panic!("--{} is not in plain.rs", long(&arg)));

        let action = match field {
            Field::Flag(_) => ArgAction::SetTrue,
            Field::Text(_) | Field::Path(_) | Field::Tty(_) => ArgAction::Set,
            Field::Texts(_) | Field::Paths(_) => ArgAction::Append,
        };
        assert_eq!(
            format!("{:?}", arg.get_action()),
            format!("{action:?}"),
            "--{}",
            long(&arg)
        );
    }
}

#[test]
fn every_short_name_is_that_of_the_same_option() {
    let options = options();
    for short in ' '..='~' {
        let of_clap = options.iter().find(|arg| arg.get_short() == Some(short));
        assert_eq!(long_of(&format!("-{short}")), of_clap.map(long), "-{short}");
    }
}

#[test]
fn every_option_is_read_in_all_its_forms_as_clap_does() {
    let mut clap = Clap::new();
    for arg in options() {
        let long = format!("--{}", long(&arg));
        let short = arg.get_short().map(|short| format!("-{short}"));
        let value = right_value(&arg);
        let names = [Some(long.clone()), short];
        let forms: Vec<Vec<String>> = if arg.get_action().takes_values() {
            let separate = names.into_iter().flatten();
            separate
                .map(|name| vec![name, value.clone()])
                .chain([vec![format!("{long}={value}")]])
                .collect()
        } else {
            names.into_iter().flatten().map(|name| vec![name]).collect()
        };
        for form in forms {
            let read = plainly(&form);
            assert!(read.is_some(), "{form:?}");
            assert_eq!(read, clap.read(&form), "{form:?}");
        }
    }
}

#[test]
fn usual_arguments_are_read_as_clap_does() {
    let mut clap = Clap::new();
    let rows: &[&[&str]] = &[
        &[],
        &["--"],
        &["true"],
        &["--", "true"],
        &["--", "--", "true"],
        &["--", "--memory", "1"],
        &["--", "-x"],
        &["sh", "-c", "exit 1"],
        &["sh", "--help"],
        &["sh", "--", "x"],
        &["sh", "--allow", "--allow"],
        &["sh", ""],
        &["", "sh"],
        &["-"],
        &["-", "--allow"],
        &["help"],
        &["run"],
        &["=", "x"],
        &["--report", "-", "true"],
        &["--report", "-", "--", "true"],
        &["--report=-", "true"],
        &["--report=--", "true"],
        &["--report=text", "--", "true"],
        &["--rootfs", "-"],
        &["--name", "", "true"],
        &["--name=", "true"],
        &["--name=-x", "true"],
        &["--name==", "true"],
        &["-e", "A=B", "--env=C=D", "--env", "E", "-e", "", "env"],
        &["--env-file", "a", "--env-file=b", "env"],
        &[
            "--ro", "/a", "--ro", "/a", "--rw=/b", "--bind", "/c:/d:rw", "--hide", "/e",
        ],
        &[
            "-p", "build", "-C", "/tmp", "-d", "--rm", "--", "make", "-j", "2",
        ],
        &["--profile", "default", "--tty", "auto", "true"],
        &["--tty=always", "true"],
        &[
            "--memory",
            "1GiB",
            "--cpus=0.5",
            "--timeout",
            "5m",
            "--pids",
            "9",
            "--net",
            "on",
        ],
    ];
    for row in rows {
        let read = plainly(row);
        assert!(read.is_some(), "{row:?}");
        assert_eq!(read, clap.read(row), "{row:?}");
    }
}

#[test]
fn what_is_wrong_or_a_question_is_left_to_clap() {
    let rows: &[&[&str]] = &[
        &["--help"],
        &["-h"],
        &["--version"],
        &["-V"],
        &["--no-such"],
        &["--prof", "x"],
        &["---"],
        &["--=x"],
        &["-x"],
        &["-1"],
        &["--memory"],
        &["--memory", "--", "true"],
        &["--memory", "-1", "true"],
        &["--memory", "--allow", "true"],
        &["--memory", "1", "--memory", "1"],
        &["--profile", "default", "-p", "default"],
        &["--tty", "auto", "--tty", "auto"],
        &["--tty", "Auto"],
        &["--tty", ""],
        &["--tty="],
        &["--allow", "--allow"],
        &["--allow=true"],
        &["--allow="],
        &["-d", "--detach"],
        &["--rootfs", ""],
        &["--rootfs="],
        &["--env-file="],
    ];
    for row in rows {
        assert_eq!(plainly(row), None, "{row:?}");
    }
}

#[test]
fn clusters_are_left_to_clap_which_reads_them() {
    let mut clap = Clap::new();
    let rows: &[&[&str]] = &[&["-pbuild"], &["-p=build"], &["-dp", "build"]];
    for row in rows {
        assert_eq!(plainly(row), None, "{row:?}");
        assert!(clap.read(row).is_some(), "{row:?}");
    }
}

#[test]
fn what_is_not_utf8_is_left_to_clap() {
    let odd = OsStr::from_bytes(b"\xff");
    let rows: &[&[&OsStr]] = &[
        &[odd],
        &["true".as_ref(), odd],
        &["--".as_ref(), odd],
        &["--rootfs".as_ref(), odd],
        &[OsStr::from_bytes(b"--rootfs=\xff")],
    ];
    for row in rows {
        assert_eq!(plainly(row), None, "{row:?}");
    }
}

/// Numbers that look drawn, the same in each run: Knuth's generator.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The low bits of such a generator repeat soon.
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn of<'a, T>(&mut self, choice: &'a [T]) -> &'a T {
        &choice[self.below(choice.len())]
    }
}

const VALUES: &[&str] = &[
    "a", "a,b", "0", "-", "", "/x:/y", "A=B", "auto", "never", "é",
];
const WORDS: &[&str] = &[
    "-", "--", "---", "", "sh", "help", "run", "-x", "-h", "--help", "--x", "--=", "-pd", "-dd",
    "-d=", "=", "-1",
];

/// One option as it should be, or now and then any word.
fn push_piece(args: &mut Vec<String>, numbers: &mut Numbers, options: &[Arg]) {
    let arg = numbers.of(options);
    let value = *numbers.of(VALUES);
    let name = match arg.get_short() {
        Some(short) if numbers.below(2) == 0 => format!("-{short}"),
        _ => format!("--{}", long(arg)),
    };
    match numbers.below(16) {
        0 => args.push(name),
        1 => args.push(format!("{name}={value}")),
        2 => args.push((*numbers.of(WORDS)).to_owned()),
        3 => args.extend([name, (*numbers.of(WORDS)).to_owned()]),
        _ if !arg.get_action().takes_values() => args.push(name),
        4..8 => args.push(format!("--{}={value}", long(arg))),
        _ => args.extend([name, value.to_owned()]),
    }
}

fn generate(numbers: &mut Numbers, options: &[Arg]) -> Vec<String> {
    let mut args = Vec::new();
    for _ in 0..numbers.below(6) {
        push_piece(&mut args, numbers, options);
    }
    match numbers.below(4) {
        0 => {}
        1 => args.push("--".to_owned()),
        _ => args.push("sh".to_owned()),
    }
    for _ in 0..numbers.below(3) {
        push_piece(&mut args, numbers, options);
    }
    args
}

#[test]
fn generated_arguments_are_read_as_clap_does_or_left_to_it() {
    const LISTS: usize = 4000;
    let (mut clap, options, mut numbers) = (Clap::new(), options(), Numbers(1));
    let (mut read_here, mut read_by_clap) = (0, 0);

    for _ in 0..LISTS {
        let args = generate(&mut numbers, &options);
        let by_clap = clap.read(&args);
        read_by_clap += usize::from(by_clap.is_some());
        if let Some(run) = plainly(&args) {
            read_here += 1;
            assert_eq!(Some(run), by_clap, "{args:?}");
        }
    }

    let told = format!("{read_here} of {LISTS} read here, {read_by_clap} by clap");
    assert!(read_here > LISTS / 2, "{told}");
    assert!(read_by_clap < LISTS * 9 / 10, "{told}");
    assert!(read_here * 10 > read_by_clap * 9, "{told}");
}
