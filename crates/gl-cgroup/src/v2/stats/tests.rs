use super::{add_device, page_size, stall};
use crate::stats::{Blkio, BlkioEntry, Stall};

#[test]
fn io_stat_becomes_entries_of_read_write_and_discard() {
    let mut blkio = Blkio::default();
    let line = "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7";
    add_device(line, &mut blkio).unwrap();
    let entry = |op: &str, value| BlkioEntry {
        major: 8,
        minor: 16,
        op: op.to_owned(),
        value,
    };
    assert_eq!(
        blkio.io_service_bytes_recursive,
        [entry("Read", 1), entry("Write", 2), entry("Discard", 5)]
    );
    assert_eq!(
        blkio.io_serviced_recursive,
        [entry("Read", 3), entry("Write", 4), entry("Discard", 6)]
    );
}

#[test]
fn io_stat_that_is_not_understood_is_told() {
    for line in ["", "x rbytes=1", "8:0 rbytes=x"] {
        assert_eq!(add_device(line, &mut Blkio::default()), None, "{line:?}");
    }
    assert_eq!(add_device("8:0", &mut Blkio::default()), Some(()));
}

#[test]
fn pressure_is_read_by_its_keys() {
    let want = Stall {
        avg10: 0.5,
        avg60: 1.25,
        avg300: 0.0,
        total: 42,
    };
    assert_eq!(
        stall("avg10=0.50 avg60=1.25 avg300=0.00 total=42 new=1"),
        Some(want)
    );
    assert_eq!(stall("avg10=x"), None);
}

#[test]
fn page_sizes_come_from_one_file_each() {
    assert_eq!(page_size("hugetlb.2MB.current").as_deref(), Some("2MB"));
    for other in [
        "hugetlb.2MB.rsvd.current",
        "hugetlb.2MB.max",
        "memory.current",
    ] {
        assert_eq!(page_size(other), None, "{other}");
    }
}
