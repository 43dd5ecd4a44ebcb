//! Signals by number and by name. `signal(7)`.

/// The names, from signal 1 on, in the numbering that x86 and ARM share.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names of the same.
const ALIASES: [(&str, i32); 5] = [
    ("IOT", 6),
    ("CLD", 17),
    ("POLL", 29),
    ("INFO", 30),
    ("UNUSED", 31),
];

/// First and last real-time signal that programs use: libc keeps two for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A signal to send; 0 only asks whether there is somebody to receive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// What `kill` sends when no signal is named.
    pub const TERM: Self = Self(15);

    /// Reads a number or a name, with or without `SIG`, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let number = text.parse().ok()?;
            return (0..=RTMAX).contains(&number).then_some(Self(number));
        }
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        let standard = (1..).zip(NAMES).map(|(number, name)| (name, number));
        standard
            .chain(ALIASES)
            .find(|(known, _)| *known == name)
            .map(|(_, number)| Self(number))
            .or_else(|| real_time(name))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }
}

/// Reads `RTMIN`, `RTMIN+n`, `RTMAX` and `RTMAX-n`.
fn real_time(name: &str) -> Option<Signal> {
    let (base, rest, sign) = if let Some(rest) = name.strip_prefix("RTMIN") {
        (RTMIN, rest, '+')
    } else {
        (RTMAX, name.strip_prefix("RTMAX")?, '-')
    };
    if rest.is_empty() {
        return Some(Signal(base));
    }
    let digits = rest.strip_prefix(sign)?;
    let offset: i32 = digits
        .parse()
        .ok()
        .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
    if offset < 0 {
        return None;
    }
    let number = if sign == '+' {
        base.checked_add(offset)?
    } else {
        base.checked_sub(offset)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(Signal(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_is_read_by_number_and_by_name() {
        for (text, want) in [
            ("0", 0),
            ("9", 9),
            ("64", 64),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("Hup", 1),
            ("SIGSYS", 31),
            ("SIGPOLL", 29),
            ("SIGIOT", 6),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("RTMAX", 64),
            ("RTMIN+30", 64),
        ] {
            assert_eq!(
                Signal::parse(text).map(Signal::number),
                Some(want),
                "{text}"
            );
        }
    }

    #[test]
    fn words_that_are_no_signal_are_refused() {
        for text in [
            "",
            "65",
            "-1",
            "+9",
            "99999999999",
            "SIG",
            "KILLL",
            "SIGRTMIN-1",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN+-1",
            "RTMIN+",
            "9 ",
            "SIGSIGKILL",
        ] {
            assert_eq!(Signal::parse(text), None, "{text:?}");
        }
    }
}
