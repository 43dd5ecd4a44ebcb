//! Ids that a user without root owns: `subuid(5)`, the map made of them, and a config's mappings as
//! seen from within that map.

use std::ops::Range;

use crate::model::IdRange;

/// Most lines of an id map (`UID_GID_MAP_MAX_EXTENTS`).
const LINES_MAX: usize = 340;

/// Reads the ranges of one user from the text of `/etc/subuid` or `/etc/subgid`, in its order.
///
/// A line counts if it begins with the user's name or number; one that cannot be read counts as
/// none, as for the tools that read it.
#[must_use]
pub fn subordinate(text: &str, name: &str, uid: u32) -> Vec<Range<u32>> {
    let number = uid.to_string();
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?, fields.next()?);
        let ours = owner == number || (!name.is_empty() && owner == name);
        let (first, count): (u32, u32) = (first.parse().ok()?, count.parse().ok()?);
        let end = first.checked_add(count)?;
        (ours && fields.next().is_none() && first < end).then_some(first..end)
    });
    lines.collect()
}

/// The map of a user's own namespace: 0 is the user, and 1 and up are the ranges, in order. What is
/// in two of them, or is the user's own id, is taken once.
#[must_use]
pub fn own_map(own: u32, ranges: &[Range<u32>]) -> Vec<IdRange> {
    let mut map = vec![IdRange {
        container: 0,
        host: own,
        size: 1,
    }];
    let mut next = 1_u32;
    for range in ranges {
        for piece in without(range.clone(), &map) {
            let size = piece.end.saturating_sub(piece.start);
            let Some(after) = next.checked_add(size) else {
                return map;
            };
            if map.len() == LINES_MAX {
                return map;
            }
            map.push(IdRange {
                container: next,
                host: piece.start,
                size,
            });
            next = after;
        }
    }
    map
}

/// The parts of `range` that are no host ids of `map`.
fn without(range: Range<u32>, map: &[IdRange]) -> Vec<Range<u32>> {
    let mut pieces = vec![range];
    for taken in map {
        let end = taken.host.saturating_add(taken.size);
        pieces = pieces
            .into_iter()
            .flat_map(|piece| {
                let before = piece.start..piece.end.min(taken.host);
                let after = piece.start.max(end)..piece.end;
                [before, after]
            })
            .filter(|piece| !piece.is_empty())
            .collect();
    }
    pieces
}

/// Says one range of host ids in ids of a namespace with the map `own`: in more than one piece where
/// it crosses lines of that.
///
/// # Errors
///
/// The first host id that the namespace does not have.
pub fn within(own: &[IdRange], range: IdRange) -> Result<Vec<IdRange>, u32> {
    let mut pieces = Vec::new();
    let mut done = 0_u32;
    while done < range.size {
        let host = range.host.saturating_add(done);
        let line = own.iter().find_map(|line| {
            let offset = host.checked_sub(line.host)?;
            let left = line.size.checked_sub(offset)?;
            (left > 0).then_some((line.container.saturating_add(offset), left))
        });
        let (inside, left) = line.ok_or(host)?;
        let size = left.min(range.size.saturating_sub(done));
        pieces.push(IdRange {
            container: range.container.saturating_add(done),
            host: inside,
            size,
        });
        done = done.saturating_add(size);
    }
    Ok(pieces)
}

/// Reads the text of `/proc/PID/uid_map` or `gid_map`.
#[must_use]
pub fn parse_map(text: &str) -> Vec<IdRange> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().map(str::parse);
        Some(IdRange {
            container: fields.next()?.ok()?,
            host: fields.next()?.ok()?,
            size: fields.next()?.ok()?,
        })
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(container: u32, host: u32, size: u32) -> IdRange {
        IdRange {
            container,
            host,
            size,
        }
    }

    #[test]
    fn subordinate_ranges_are_those_of_the_name_and_of_the_number() {
        let text = "a:100:10\nbob:200:10\n7:300:5\nbobby:400:1\nbob:x:1\nbob:9\n bob:500:2 \n";
        assert_eq!(subordinate(text, "bob", 7), [200..210, 300..305, 500..502]);
        assert_eq!(subordinate(text, "", 7).first(), Some(&(300..305)));
        assert_eq!(subordinate(text, "", 7).len(), 1);
        assert_eq!(subordinate(text, "eve", 8), []);
        let odd = "e:4294967295:2\ne:5:0\ne:1:1:1\ne:-1:5\n";
        assert_eq!(subordinate(odd, "e", 8), []);
    }

    #[test]
    fn own_map_begins_with_the_user_and_takes_no_id_twice() {
        for (ranges, want) in [
            (vec![], vec![line(0, 1000, 1)]),
            (
                vec![100_000..165_536, 7..7],
                vec![line(0, 1000, 1), line(1, 100_000, 65_536)],
            ),
            (
                vec![990..1010, 1005..1015],
                vec![
                    line(0, 1000, 1),
                    line(1, 990, 10),
                    line(11, 1001, 9),
                    line(20, 1010, 5),
                ],
            ),
        ] {
            assert_eq!(own_map(1000, &ranges), want, "{ranges:?}");
        }
    }

    #[test]
    fn own_map_has_no_more_lines_than_the_kernel_takes() {
        let many: Vec<_> = (0..500).map(|n| n * 10..n * 10 + 1).collect();
        assert_eq!(own_map(1, &many).len(), LINES_MAX);
    }

    #[test]
    fn range_is_said_in_the_ids_of_the_namespace() {
        let own = [line(0, 1000, 1), line(1, 100_000, 10), line(11, 500, 5)];
        for (range, want) in [
            (line(0, 1000, 1), Ok(vec![line(0, 0, 1)])),
            (line(5, 100_002, 3), Ok(vec![line(5, 3, 3)])),
            (line(0, 504, 1), Ok(vec![line(0, 15, 1)])),
            (line(0, 999, 2), Err(999)),
            (line(0, 100_005, 6), Err(100_010)),
        ] {
            assert_eq!(within(&own, range), want, "{range:?}");
        }
        let halves = [line(0, 10, 5), line(50, 15, 5)];
        assert_eq!(
            within(&halves, line(1, 13, 4)),
            Ok(vec![line(1, 3, 2), line(3, 50, 2)])
        );
    }

    #[test]
    fn map_of_the_kernel_is_read() {
        let text = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(
            parse_map(text),
            [line(0, 1000, 1), line(1, 100_000, 65_536)]
        );
    }
}
