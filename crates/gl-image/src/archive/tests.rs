//! Headers that are read, and headers that are refused.

use super::*;

impl Stream for &[u8] {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        *self = self.get(bytes..).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}

fn header(kind: u8, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_path("name").unwrap();
    header.set_mode(0o644);
    header.set_uid(1);
    header.set_gid(2);
    header.set_mtime(3);
    header.set_size(size);
    header.as_old_mut().linkflag = [kind];
    header.set_cksum();
    header
}

fn member(header: &Header, data: &[u8]) -> Vec<u8> {
    let padding = data.len().wrapping_neg() % 512;
    [&header.as_bytes()[..], data, &vec![0; padding]].concat()
}

fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (1..5)
        .map(|digits| digits + rest)
        .find(|len| len.to_string().len() + rest == *len);
    let record = [format!("{} {key}=", len.unwrap()).as_bytes(), value, b"\n"].concat();
    member(&header(b'x', record.len() as u64), &record)
}

fn first(archive: &[u8]) -> Result<Option<Entry>, String> {
    Archive::new(archive)
        .next()
        .map_err(|fault| fault.to_string())
}

#[test]
fn records_before_a_header_take_its_place() {
    let long = "l".repeat(300);
    let archive = [
        pax("path", "né".as_bytes()),
        pax("uid", b"70000"),
        pax("mtime", b"-1.25"),
        pax("SCHILY.xattr.user.a", b"one\ntwo\0"),
        member(&header(b'K', 300), long.as_bytes()),
        member(&header(b'2', 0), b""),
    ]
    .concat();
    let entry = first(&archive).unwrap().unwrap();
    assert_eq!(entry.name, "né".as_bytes());
    assert_eq!(entry.link, long.as_bytes());
    assert_eq!((entry.uid, entry.gid, entry.mode), (70_000, 2, 0o644));
    assert_eq!(entry.mtime, (-2, 750_000_000));
    assert_eq!(entry.xattrs, [(b"user.a".to_vec(), b"one\ntwo\0".to_vec())]);
    assert_eq!(entry.kind, Kind::Symlink);
}

#[test]
fn data_is_read_and_passed_over() {
    let archive = [
        member(&header(b'0', 700), &[7; 700]),
        member(&header(b'5', 0), b""),
        member(&header(0, 3), b"abc"),
        vec![0; 1024],
        b"whatever".to_vec(),
    ]
    .concat();
    let mut archive = Archive::new(&archive[..]);
    assert_eq!(archive.next().unwrap().unwrap().kind, Kind::File);
    assert_eq!(archive.next().unwrap().unwrap().kind, Kind::Directory);
    assert_eq!(archive.next().unwrap().unwrap().kind, Kind::File);
    let mut data = Vec::new();
    archive.read_to_end(&mut data).unwrap();
    assert_eq!(data, b"abc");
    assert_eq!(archive.next().unwrap(), None);
}

#[test]
fn broken_archives_are_refused() {
    let mut bad_sum = header(b'0', 0);
    bad_sum.as_old_mut().mode = *b"0000777\0";
    let mut negative = header(b'0', 0);
    negative.as_old_mut().size = [0xff; 12];
    negative.set_cksum();
    let mut letters = header(b'0', 0);
    letters.as_old_mut().size = *b"00000000xyz\0";
    letters.set_cksum();
    let mut root = header(b'0', 0);
    root.as_old_mut().uid = [0x80, 0, 0, 0, 255, 255, 255, 255];
    root.set_cksum();
    for (what, archive, want) in [
        (
            "checksum",
            member(&bad_sum, b""),
            "the archive has a broken header: checksum",
        ),
        (
            "negative",
            member(&negative, b""),
            "the archive has a broken header: size",
        ),
        (
            "letters",
            member(&letters, b""),
            "the archive has a broken header: size",
        ),
        ("uid", member(&root, b""), "id 4294967295 is not valid"),
        (
            "short",
            member(&header(b'0', 0), b"")[..511].to_vec(),
            "the archive ends too early",
        ),
        (
            "long name",
            member(&header(b'L', 2 << 20), b""),
            "it is over the limit of 1048576 bytes in one extended header",
        ),
        (
            "only a name",
            member(&header(b'L', 3), b"abc"),
            "the archive ends too early",
        ),
        (
            "socket",
            member(&header(b'z', 0), b""),
            "entries of type 'z' are not supported",
        ),
        (
            "pax",
            pax("size", b"1x"),
            "the archive has a broken header: size",
        ),
        (
            "pax length",
            member(&header(b'x', 6), b"9 a=b\n"),
            "the archive has a broken header: pax record",
        ),
        (
            "pax sparse",
            [pax("GNU.sparse.major", b"1"), member(&header(b'0', 0), b"")].concat(),
            "entries of type 'S' are not supported",
        ),
        (
            "one zero block",
            [vec![0; 512], member(&header(b'0', 0), b"")].concat(),
            "the archive has a broken header: end",
        ),
    ] {
        assert_eq!(first(&archive).unwrap_err(), want, "{what}");
    }
}

#[test]
fn data_that_is_not_there_is_missed() {
    let mut huge = header(b'0', 0);
    huge.as_old_mut().size = [0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255];
    huge.set_cksum();
    let huge = member(&huge, b"");
    let mut archive = Archive::new(&huge[..]);
    assert_eq!(archive.next().unwrap().unwrap().size, 0x7fff_ffff_ffff_ffff);
    assert_eq!(
        archive.next().unwrap_err().to_string(),
        "the archive ends too early"
    );
}

#[test]
fn sparse_files_have_their_parts() {
    let mut sparse = header(b'S', 5);
    let gnu = sparse.as_gnu_mut().unwrap();
    gnu.sparse[0].set_offset(0);
    gnu.sparse[0].set_length(2);
    gnu.sparse[1].set_offset(4096);
    gnu.sparse[1].set_length(3);
    gnu.set_real_size(1 << 20);
    sparse.set_cksum();
    let entry = first(&member(&sparse, b"abcde")).unwrap().unwrap();
    assert_eq!(entry.kind, Kind::Sparse(vec![(0, 2), (4096, 3)]));
    assert_eq!(entry.size, 1 << 20);
    for (what, real_size, second) in [
        ("beyond the end", 4098, 4096),
        ("one over another", 1 << 20, 1),
    ] {
        let mut broken = sparse.clone();
        let gnu = broken.as_gnu_mut().unwrap();
        gnu.set_real_size(real_size);
        gnu.sparse[1].set_offset(second);
        broken.set_cksum();
        let err = first(&member(&broken, b"abcde")).unwrap_err();
        assert_eq!(err, "the archive has a broken header: sparse map", "{what}");
    }
}

#[test]
fn no_bytes_stop_the_reader_from_ending() {
    // Every byte of a header set to a few values: an entry, an end or a fault, and never a panic.
    let archive = [
        pax("path", b"some/name"),
        member(&header(b'0', 4), b"data"),
        member(&header(b'S', 4), b"data"),
    ]
    .concat();
    for at in 0..archive.len() {
        for value in [0, 0x20, 0x2f, 0x39, 0x80, 0xff] {
            let mut changed = archive.clone();
            changed[at] = value;
            // Where it is in a header, the checksum follows, so that more than that is tried.
            let blocks = changed.as_chunks_mut::<512>().0.iter_mut();
            for block in blocks.filter(|block| block[257..262] == *b"ustar") {
                let mut header = Header::new_old();
                *header.as_mut_bytes() = *block;
                header.set_cksum();
                *block = *header.as_bytes();
            }
            let mut archive = Archive::new(&changed[..]);
            let mut entries = 0;
            while let Ok(Some(_)) = archive.next() {
                entries += 1;
            }
            assert!(entries <= 3, "byte {at} as {value}: {entries} entries");
        }
    }
}
