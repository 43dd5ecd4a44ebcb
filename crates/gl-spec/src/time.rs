//! Points in time as RFC 3339 writes them, in UTC: state files and log lines.
//!
//! No clock is read here: the caller brings the time.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::Error;

const DAY: u64 = 86_400;

/// A point in time since 1970, with nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The same point cut down to whole seconds, as log lines have it.
    #[must_use]
    pub fn whole_seconds(self) -> Self {
        Self(Duration::from_secs(self.0.as_secs()))
    }
}

impl From<SystemTime> for Timestamp {
    /// A clock before 1970 counts as 1970.
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.as_secs() / DAY);
        let second = self.0.as_secs() % DAY;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        )?;
        let nanos = self.0.subsec_nanos();
        if nanos != 0 {
            let digits = format!("{nanos:09}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// Year, month and day of the day that many days after 1970-01-01.
///
/// Counts from 0000-03-01 in cycles of 400 years, so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, month, day)
}

/// Days from 1970-01-01 to a date; `None` for a date before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let month = (month + 9) % 12;
    let (era, year) = (year / 400, year % 400);
    let day = (153 * month + 2) / 5 + day - 1 + 365 * year + year / 4 - year / 100;
    (era * 146_097 + day).checked_sub(719_468)
}

impl FromStr for Timestamp {
    type Err = Error;

    /// Reads what [`fmt::Display`] writes: UTC with `Z`, up to nine digits after the point.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| Error::Time {
            seen: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(number);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && (1..=9).contains(&fraction.len());
    if !fits {
        return None;
    }
    let nanos = u32::try_from(number(&format!("{fraction:0<9}"))?).ok()?;
    let secs = days(year, month, day)? * DAY + hour * 3600 + minute * 60 + second;
    Some(Timestamp(Duration::new(secs, nanos)))
}

/// Reads digits only: no sign, no space.
fn number(digits: &str) -> Option<u64> {
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

impl TryFrom<String> for Timestamp {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64, nanos: u32) -> Timestamp {
        Timestamp::from(UNIX_EPOCH + Duration::new(secs, nanos))
    }

    #[test]
    fn time_is_written_and_read_back() {
        for (time, want) in [
            (at(0, 0), "1970-01-01T00:00:00Z"),
            (at(951_782_400, 0), "2000-02-29T00:00:00Z"),
            (at(1_709_251_199, 500_000_000), "2024-02-29T23:59:59.5Z"),
            (at(1_735_689_599, 1), "2024-12-31T23:59:59.000000001Z"),
            (at(4_102_444_800, 0), "2100-01-01T00:00:00Z"),
            (at(4_107_542_400, 0), "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(time.to_string(), want);
            assert_eq!(want.parse::<Timestamp>().unwrap(), time, "{want}");
        }
    }

    #[test]
    fn every_day_of_two_centuries_is_read_back() {
        for day in 0..80_000 {
            let time = at(day * DAY, 0);
            assert_eq!(
                time.to_string().parse::<Timestamp>().unwrap(),
                time,
                "{time}"
            );
        }
    }

    #[test]
    fn text_that_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2024-02-29",
            "2024-02-29T00:00:00",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "1969-01-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567890Z",
            "+024-01-01T00:00:00Z",
            "99999999999999999999-01-01T00:00:00Z",
        ] {
            let err = text.parse::<Timestamp>().unwrap_err();
            assert_eq!(err.to_string(), format!("read time {text:?}"));
        }
    }
}
