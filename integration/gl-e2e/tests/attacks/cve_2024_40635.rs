//! CVE-2024-40635, CVE-2026-46680: user ids over 2^31 wrap to others.

use gl_e2e::bundle::{Bundle, known_elsewhere};
use gl_e2e::{Outcome, Test, tests};
use serde_json::json;

use super::ground::harmless;

pub(crate) const TESTS: &[Test] = tests![
    cve_2024_40635_user_ids_do_not_wrap,
    cve_2024_40635_id_that_means_unchanged_is_refused,
    cve_2026_46680_ids_of_maps_do_not_wrap,
];

fn cve_2024_40635_user_ids_do_not_wrap() -> Outcome {
    for id in [4_294_967_296_u64, 4_294_967_297, 1 << 63, u64::MAX] {
        for key in ["uid", "gid"] {
            let box_ = Bundle::new()
                .args(&["id"])
                .set(&format!("/process/user/{key}"), json!(id));
            let out = harmless(&box_, &[], &id.to_string());
            assert!(out.code > 0, "{key} {id}: {out:?}");
        }
        let box_ = Bundle::new()
            .args(&["id"])
            .set("/process/user/additionalGids", json!([id]));
        harmless(&box_, &[], &id.to_string()).failed();
    }
    known_elsewhere("takes ids below 2^31 only", || {
        // Over 2^31 and still an id: itself, not negative and not another.
        let user = json!({"uid": 2_147_483_648_u64, "gid": 4_294_967_294_u64});
        let box_ = Bundle::sh("id -u; id -g").set("/process/user", user);
        box_.run().ok().prints("2147483648\n4294967294");
    })
}

fn cve_2024_40635_id_that_means_unchanged_is_refused() -> Outcome {
    known_elsewhere("gives it to the kernel", || {
        for key in ["uid", "gid"] {
            let box_ = Bundle::new()
                .args(&["id"])
                .set(&format!("/process/user/{key}"), json!(4_294_967_295_u64));
            harmless(&box_, &[], key).failed().says("4294967295");
        }
    })
}

fn cve_2026_46680_ids_of_maps_do_not_wrap() -> Outcome {
    for (container, host, size) in [
        (0_u64, 4_294_967_290_u64, 10_u64),
        (4_294_967_290, 100_000, 10),
        (0, 4_294_967_296, 10),
        (0, 0, 4_294_967_296),
        (0, 0, 0),
    ] {
        let map = json!([{"containerID": container, "hostID": host, "size": size}]);
        let box_ = Bundle::new()
            .args(&["id"])
            .namespace("user", Some(json!({"type": "user"})))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map);
        harmless(&box_, &[], "id maps at the edge").failed();
    }
    Ok(())
}
