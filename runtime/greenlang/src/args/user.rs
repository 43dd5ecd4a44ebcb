//! The user of an `exec`: `UID` or `UID:GID`, in digits.

/// Ids of a process; the group is the container's own when none is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    /// The user id.
    pub(crate) uid: u32,
    /// The group id, if one is given.
    pub(crate) gid: Option<u32>,
}

impl User {
    /// Reads exactly what is written, or nothing: a part that is not a number is never taken as 0.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (uid, gid) = match text.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (text, None),
        };
        Some(Self {
            uid: id(uid)?,
            gid: match gid {
                Some(gid) => Some(id(gid)?),
                None => None,
            },
        })
    }
}

/// An id from 0 to 4294967294. One more means "unchanged" to system calls.
pub(super) fn id(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_taken_exactly_or_not_at_all() {
        for (text, want) in [
            ("0", Some((0, None))),
            ("1", Some((1, None))),
            ("1:2", Some((1, Some(2)))),
            ("4294967294:0", Some((4_294_967_294, Some(0)))),
            ("", None),
            (":", None),
            ("1:", None),
            (":2", None),
            ("1x", None),
            ("-1", None),
            ("+0", None),
            (" 1", None),
            ("1:2:3", None),
            ("root", None),
            ("4294967295", None),
            ("4294967296", None),
            ("0:4294967295", None),
        ] {
            let got = User::parse(text).map(|user| (user.uid, user.gid));
            assert_eq!(got, want, "{text:?}");
        }
    }
}
