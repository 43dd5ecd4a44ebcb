use super::{blkio_entry, numbers, page_size, ranges, usage_all};
use crate::stats::{BlkioEntry, Stats};

#[test]
fn ranges_list_every_member() {
    for (text, want) in [
        ("", Some(vec![])),
        ("0", Some(vec![0])),
        ("0-3,6", Some(vec![0, 1, 2, 3, 6])),
        ("0-x", None),
        ("1,-2", None),
    ] {
        assert_eq!(ranges(text), want, "{text:?}");
    }
}

#[test]
fn usage_all_splits_its_columns() {
    assert_eq!(
        usage_all("cpu user system\n0 10 1\n1 20 2\n"),
        Ok((vec![10, 20], vec![1, 2]))
    );
    assert_eq!(usage_all("cpu user system\n0 10\n"), Err("0 10"));
    assert_eq!(usage_all(""), Ok((vec![], vec![])));
}

#[test]
fn numbers_return_the_word_that_is_none() {
    assert_eq!(numbers("1 2 \n"), Ok(vec![1, 2]));
    assert_eq!(numbers("1 b"), Err("b"));
}

#[test]
fn blkio_entries_have_an_operation_or_none() {
    let entry = |op: &str, value| {
        Some(BlkioEntry {
            major: 8,
            minor: 16,
            op: op.to_owned(),
            value,
        })
    };
    for (line, want) in [
        ("8:16 Read 4096", entry("Read", 4096)),
        ("8:16 4096", entry("", 4096)),
        ("8:16", None),
        ("sda Read 4096", None),
    ] {
        assert_eq!(blkio_entry(line), want, "{line}");
    }
}

#[test]
fn page_sizes_come_from_one_file_each() {
    for (file, want) in [
        ("hugetlb.2MB.limit_in_bytes", Some("2MB")),
        ("hugetlb.2MB.rsvd.limit_in_bytes", None),
        ("hugetlb.1GB.usage_in_bytes", None),
        ("cgroup.procs", None),
    ] {
        assert_eq!(page_size(file).as_deref(), want, "{file}");
    }
}

#[test]
fn stats_of_nothing_keep_the_objects_that_engines_expect() {
    let json = serde_json::to_value(Stats::default()).unwrap();
    let entry = serde_json::json!({"limit": 0, "failcnt": 0});
    let want = serde_json::json!({
        "cpu": {"usage": {"kernel": 0, "user": 0}, "throttling": {}},
        "cpuset": {
            "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0,
            "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0,
            "sched_load_balance": 0, "sched_relax_domain_level": 0
        },
        "memory": {"usage": entry, "swap": entry, "kernel": entry, "kernelTCP": entry},
        "pids": {},
        "blkio": {},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": null
    });
    assert_eq!(json, want, "{json:#}");
}
