//! Amounts of memory: `67108864`, `64m`, `1.5GiB`, and -1 for "no limit".

/// Reads an amount in bytes. Units are powers of 1024: `k`, `m`, `g`, `t`, `p`, each also with `b`
/// or `ib`, in any case.
pub(crate) fn parse_size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.to_ascii_lowercase();
    let prefix = unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let shift = match prefix {
        "" if unit == "ib" => return None,
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || fraction.len() > 9 {
        return None;
    }
    let unit = 1_i64 << shift;
    let whole = whole.parse::<i64>().ok()?.checked_mul(unit)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<i128>().ok()? * i128::from(unit) / scale;
    whole.checked_add(i64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_read_in_powers_of_1024() {
        for (text, want) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("1000", Some(1000)),
            ("7b", Some(7)),
            ("64m", Some(64 << 20)),
            ("64M", Some(64 << 20)),
            ("64MB", Some(64 << 20)),
            ("64MiB", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("2T", Some(2 << 40)),
            ("1p", Some(1 << 50)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("9007199254740992k", None),
            ("-2", None),
            ("", None),
            ("m", None),
            ("1x", None),
            ("1 m", None),
            ("1.2.3m", None),
            (".5m", None),
            ("1mm", None),
            ("+1", None),
            ("1ib", None),
            ("1bb", None),
            ("1kbb", None),
        ] {
            assert_eq!(parse_size(text), want, "{text:?}");
        }
    }
}
