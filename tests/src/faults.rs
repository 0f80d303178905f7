//! The points of a cycle at which the engine can be stopped, killed or cut off.

/// Every point of a cycle, in the order in which it is passed.
pub const POINTS: [&str; 14] = [
    "open",
    "read",
    "fetch",
    "read-done",
    "apply-begin",
    "apply-claimed",
    "apply-attempt",
    "apply-written",
    "apply-before-commit",
    "apply-after-commit",
    "applied",
    "purge",
    "purged",
    "cycle-done",
];

/// Points that stand for the engine as a whole rather than for one connection.
const ENGINE_ONLY: [&str; 3] = ["read-done", "applied", "cycle-done"];

/// The points at which a connection may break.
pub fn breaking_points() -> impl Iterator<Item = &'static str> {
    POINTS.into_iter().filter(|point| !ENGINE_ONLY.contains(point))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Points of other commands than those that run cycles, of one kind of database, of deletes, and of many rows.
    const ELSEWHERE: [&str; 30] = [
        "mark-entries",
        "apply-delete",
        "early-begin",
        "early-write",
        "purge-begun",
        "purged-early",
        "compare-open",
        "install-node",
        "install-table",
        "install-commit",
        "uninstall-switched",
        "uninstall-trigger",
        "uninstall-commit",
        "drop-chosen",
        "remove-node",
        "bundle-half-told",
        "bundle-plugins-written",
        "lock-write",
        "load-compare",
        "load-part",
        "load-remembered",
        "refilter-noted",
        "rejoin-forgotten",
        "rejoin-renew",
        "rejoin-renewed",
        "plan-checked",
        "resolve-checked",
        "verify-look",
        "verify-mend",
        "verify-pass",
    ];

    fn passed(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("the engine's source") {
            let path = entry.expect("a file").path();
            if path.is_dir() {
                passed(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("fault.rs") {
                let text = std::fs::read_to_string(&path).expect("source is text");
                let calls = ["fault::point(\"", "fault::blocking_point(\""]
                    .into_iter()
                    .flat_map(|call| text.split(call).skip(1));
                found.extend(calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_point_is_listed() {
        let mut found = BTreeSet::new();
        passed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src"), &mut found);
        let elsewhere = |point: &str| ELSEWHERE.contains(&point);
        let cycle: BTreeSet<&str> = found.iter().map(String::as_str).filter(|point| !elsewhere(point)).collect();
        assert_eq!(cycle, POINTS.into_iter().collect());
    }
}
