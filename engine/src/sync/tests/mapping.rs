//! Nodes where a plugin maps: everybody ends with the same shared rows, and nothing of a node's own is lost.

use std::sync::Arc;

use super::cluster::{Cluster, later};
use crate::model::{KeyRule, ParkedCode, Row, Value};
use crate::plugin::{Failure, Put, Shape};
use crate::sync::load::LoadOptions;
use crate::sync::mapped::Reshape;
use crate::sync::memory::number;
use crate::sync::verify::{Repair, Verify};
use crate::sync::{Change, Wish};

/// At the node a row holds so many times as much, and what is left of it is the node's own affair.
#[derive(Debug)]
struct Times {
    shape: Shape,
    by: i64,
}

/// What is left of rows that cannot be mapped.
const ODD: i64 = 99;

/// Values that cannot be put, and that come back as others.
pub const UNLUCKY: i64 = 13;
const LAWLESS: i64 = 66;

impl Times {
    fn fails(&self, message: &str) -> Failure {
        Failure::new("times", "times", message.to_owned())
    }
}

impl Reshape for Times {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn key(&self) -> &[(usize, usize)] {
        &[(0, 0)]
    }

    fn rules(&self) -> &[Option<KeyRule>] {
        &[None]
    }

    fn copies(&self) -> &[(usize, usize)] {
        &[]
    }

    fn to_shared(&self, locals: &[&Row]) -> Vec<Result<Row, Failure>> {
        let shared = |local: &&Row| match number(&local[1]).rem_euclid(self.by) {
            ODD => Err(self.fails("it is odd")),
            _ => Ok(vec![local[0].clone(), Value::Int(number(&local[1]).div_euclid(self.by))].into()),
        };
        locals.iter().map(shared).collect()
    }

    fn to_local(&self, puts: &[Put<'_>]) -> Vec<Result<Row, Failure>> {
        let local = |put: &Put<'_>| {
            let own = put.current.map_or(0, |current| number(&current[1]).rem_euclid(self.by));
            let value = match number(&put.shared[1]) {
                UNLUCKY => return Err(self.fails("it is unlucky")),
                LAWLESS => LAWLESS + 1,
                value => value,
            };
            Ok(vec![put.shared[0].clone(), Value::Int(value * self.by + own)].into())
        };
        puts.iter().map(local).collect()
    }

    fn told(&self) -> String {
        "a multiplication".to_owned()
    }
}

pub fn times(shape: Shape, config: &str) -> Arc<dyn Reshape> {
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    Arc::new(Times { shape, by: config["by"].as_i64().unwrap() })
}

const MAPPED: &str = "\"latest-wins\"\n[tables.t.nodes.b]\nmapping = { plugin = \"times\", by = 100 }";

fn installed(count: usize, settings: &str) -> Cluster {
    let cluster = Cluster::new(count, &[]);
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    cluster
}

/// A user writes at a node, by its place.
fn write(cluster: &Cluster, at: usize, id: i64, value: i64) {
    later();
    assert!(cluster.databases[at].lock().write(id, Some(value), false));
}

fn sync(cluster: &Cluster, settings: &str) {
    (0..2).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync()).unwrap()));
}

/// What waits at a node for a key, and why.
fn waits(cluster: &Cluster, at: usize, id: i64) -> (ParkedCode, String) {
    let parked = cluster.databases[at].lock().parked.get(&id).cloned().expect("something waits");
    (parked.code, parked.message)
}

#[test]
fn rows_are_mapped_both_ways() {
    for nodes in [2, 3] {
        let cluster = installed(nodes, MAPPED);
        write(&cluster, 0, 1, 5);
        write(&cluster, 1, 2, 742);
        sync(&cluster, MAPPED);
        for at in (0..nodes).filter(|at| *at != 1) {
            assert_eq!(cluster.rows()[at], [(1, 5), (2, 7)]);
        }
        assert_eq!(cluster.rows()[1], [(1, 500), (2, 742)]);
        // What nobody else knows of stays what it is.
        write(&cluster, 0, 2, 8);
        sync(&cluster, MAPPED);
        assert_eq!(cluster.rows()[1], [(1, 500), (2, 842)]);
        assert!(cluster.databases[1].lock().write(1, None, false));
        sync(&cluster, MAPPED);
        assert_eq!(cluster.rows()[0], [(2, 8)]);
        let before = cluster.databases[1].lock().writes;
        sync(&cluster, MAPPED);
        assert_eq!(cluster.databases[1].lock().writes, before);
    }
}

/// Where a row is not to be written anyhow, that it cannot be mapped is in nobody's way.
#[test]
fn what_is_not_carried_is_not_mapped() {
    let settings = |more: &str| MAPPED.replacen('\n', &format!("\n{more}\n"), 1);
    let inserts = settings("operations = [\"insert\"]");
    let cluster = installed(2, &inserts);
    write(&cluster, 0, 1, 5);
    sync(&cluster, &inserts);
    write(&cluster, 0, 1, UNLUCKY);
    sync(&cluster, &inserts);
    assert_eq!(cluster.rows()[1], [(1, 500)]);
    assert!(cluster.databases[1].lock().parked.is_empty());
    let updates = settings("from = \"a\"\noperations = [\"update\"]");
    let cluster = installed(2, &updates);
    write(&cluster, 0, 1, UNLUCKY);
    sync(&cluster, &updates);
    assert_eq!(cluster.rows()[1], []);
    assert!(cluster.databases[1].lock().parked.is_empty());
}

#[test]
fn conflicts_are_of_shared_rows() {
    let cluster = installed(3, MAPPED);
    write(&cluster, 0, 1, 5);
    sync(&cluster, MAPPED);
    write(&cluster, 0, 1, 6);
    write(&cluster, 1, 1, 742);
    sync(&cluster, MAPPED);
    assert_eq!(cluster.rows(), [vec![(1, 7)], vec![(1, 742)], vec![(1, 7)]]);
    write(&cluster, 1, 1, 811);
    write(&cluster, 2, 1, 9);
    sync(&cluster, MAPPED);
    assert_eq!(cluster.rows(), [vec![(1, 9)], vec![(1, 911)], vec![(1, 9)]]);
    let journal = cluster.databases[0].lock().journal.clone();
    let lost = |value: i64| {
        let told = |row: &Row| number(&row[1]) == value;
        journal.iter().any(|lost| lost.loser_row.as_deref().is_some_and(told))
    };
    assert!(lost(6) && lost(8), "{journal:?}");
}

#[test]
fn what_has_no_shared_form_waits_like_what_cannot_be_read() {
    let cluster = installed(3, MAPPED);
    write(&cluster, 1, 1, 500 + ODD);
    write(&cluster, 1, 2, 700);
    sync(&cluster, MAPPED);
    for at in [0, 2] {
        assert_eq!(cluster.rows()[at], [(2, 7)]);
        let (code, why) = waits(&cluster, at, 1);
        assert_eq!(code, ParkedCode::Unreadable);
        assert!(why.contains("plugin `times`") && why.contains("it is odd"), "{why}");
    }
    write(&cluster, 1, 1, 500);
    sync(&cluster, MAPPED);
    assert_eq!(cluster.rows()[0], [(1, 5), (2, 7)]);
    assert!(cluster.databases.iter().all(|database| database.lock().parked.is_empty()));
}

#[test]
fn what_cannot_be_put_waits_at_its_node() {
    for (value, told) in [(UNLUCKY, "it is unlucky"), (LAWLESS, "`value` would be another")] {
        let cluster = installed(3, MAPPED);
        write(&cluster, 1, 1, 542);
        sync(&cluster, MAPPED);
        write(&cluster, 0, 1, value);
        write(&cluster, 0, 2, 7);
        sync(&cluster, MAPPED);
        assert_eq!(cluster.rows(), [vec![(1, value), (2, 7)], vec![(1, 542), (2, 700)], vec![(1, value), (2, 7)]]);
        let (code, why) = waits(&cluster, 1, 1);
        assert!(code == ParkedCode::Mapping && why.contains(told), "{why}");
        // What waits is a version like any other.
        write(&cluster, 1, 1, 642);
        sync(&cluster, MAPPED);
        assert_eq!(cluster.rows()[0], [(1, 6), (2, 7)]);
        assert!(cluster.databases.iter().all(|database| database.lock().parked.is_empty()));
    }
}

/// The row that the mapping saw is not the one that it would be written over.
#[test]
fn a_users_write_during_the_mapping_is_not_lost() {
    let one_way = format!("\"latest-wins\"\nfrom = \"a\"{}", MAPPED.trim_start_matches("\"latest-wins\""));
    for settings in [MAPPED, &one_way] {
        let cluster = installed(2, settings);
        write(&cluster, 0, 1, 5);
        sync(&cluster, settings);
        let before = cluster.databases[1].lock().clone();
        write(&cluster, 1, 1, 542);
        write(&cluster, 0, 1, 6);
        cluster.databases[1].lock().shown = [Some(before)].into();
        let cycle = cluster.block(cluster.session(settings, 10).cycle()).unwrap();
        assert_eq!((cycle.busy, cluster.rows()[1].as_slice()), (1, &[(1, 542)][..]), "{settings}");
        sync(&cluster, settings);
        assert_eq!(cluster.rows(), [[(1, 6)], [(1, 642)]], "{settings}");
    }
}

/// The same where none stood.
#[test]
fn a_row_that_a_user_makes_during_the_mapping_is_not_lost() {
    let settings = format!("\"latest-wins\"\nfrom = \"a\"{}", MAPPED.trim_start_matches("\"latest-wins\""));
    let cluster = installed(2, &settings);
    let before = cluster.databases[1].lock().clone();
    cluster.databases[1].lock().rows.insert(1, 542);
    write(&cluster, 0, 1, 6);
    cluster.databases[1].lock().shown = [Some(before)].into();
    let cycle = cluster.block(cluster.session(&settings, 10).cycle()).unwrap();
    assert_eq!((cycle.busy, cluster.rows()[1].as_slice()), (1, &[(1, 542)][..]));
    sync(&cluster, &settings);
    assert_eq!(cluster.rows()[1], [(1, 642)]);
}

#[test]
fn loads_and_comparisons_are_of_shared_rows() {
    let cluster = installed(3, MAPPED);
    for (at, rows) in [(0, [(1, 5), (2, 6)]), (1, [(1, 542), (3, 711)]), (2, [(1, 5), (2, 6)])] {
        cluster.databases[at].lock().rows = rows.into();
    }
    let load = |prefer: Option<&str>| {
        let options = LoadOptions { prefer: prefer.map(str::to_owned), ..LoadOptions::default() };
        cluster.block(cluster.session(MAPPED, 10).load(&options, &mut |_| ())).unwrap()
    };
    load(None);
    assert_eq!(cluster.rows()[0], [(1, 5), (2, 6), (3, 7)]);
    assert_eq!(cluster.rows()[1], [(1, 542), (2, 600), (3, 711)]);
    let verify = |repair: Repair| {
        let how = Verify { repair, prefer: Some("a".to_owned()), ..Verify::default() };
        cluster.block(cluster.session(MAPPED, 10).verify(&how)).unwrap()
    };
    assert_eq!(verify(Repair::Tell).exit_code(), 0);
    // Some that differ without anybody having told, one of which cannot be put, and one only as a shared row; and one that has none.
    cluster.databases[0].lock().rows.extend([(1, 8), (2, UNLUCKY), (3, 711), (4, 4)]);
    cluster.databases[1].lock().rows.extend([(4, 400 + ODD)]);
    let told = verify(Repair::Tell);
    assert_eq!(told.tables[0].differences, 4, "{told:?}");
    let mended = verify(Repair::Mend);
    let left = format!("{:?}", mended.tables[0]);
    assert!(left.contains("it is unlucky") && left.contains("it is odd"), "{left}");
    assert_eq!(cluster.rows()[1], [(1, 842), (2, 600), (3, 71_111), (4, 400 + ODD)]);
    cluster.databases[1].lock().rows.insert(1, 955);
    load(Some("a"));
    assert_eq!(cluster.databases[1].lock().rows[&1], 855);
}

#[test]
fn another_mapping_stands_still_until_rows_are_gone_through() {
    let cluster = installed(2, "\"latest-wins\"");
    write(&cluster, 0, 1, 500);
    sync(&cluster, "\"latest-wins\"");
    let mut told = Vec::new();
    let ten = MAPPED.replace("100", "10");
    for settings in [MAPPED, &ten, "\"latest-wins\""] {
        cluster.block(cluster.session(settings, 10).install()).unwrap();
        let summary = cluster.block(cluster.session(settings, 10).sync()).unwrap();
        told.push(summary.stopped[0].why.clone());
        let options = LoadOptions { refilter: true, prefer: Some("b".to_owned()), ..LoadOptions::default() };
        let loaded = cluster.block(cluster.session(settings, 10).load(&options, &mut |_| ())).unwrap();
        assert_eq!(loaded.stopped, [], "{settings}");
        assert_eq!(cluster.block(cluster.session(settings, 10).sync()).unwrap().stopped, [], "{settings}");
        let shared = cluster.databases[0].lock().rows[&1];
        assert_eq!(shared, [5, 50, 500][told.len() - 1]);
        assert_eq!(cluster.databases[1].lock().rows[&1], 500);
    }
    for (told, what) in told.iter().zip(["without one", "is another in this file", "through one"]) {
        assert!(
            told.contains(what) && told.ends_with("run `concord load --refilter --table t --prefer NODE`"),
            "{told}"
        );
    }
}

/// What waits is the sync's, which knows nothing of another mapping.
#[test]
fn rows_that_wait_are_not_passed_over_in_silence() {
    let cluster = installed(3, MAPPED);
    write(&cluster, 1, 1, 500);
    sync(&cluster, MAPPED);
    write(&cluster, 0, 1, UNLUCKY);
    write(&cluster, 0, 2, 7);
    sync(&cluster, MAPPED);
    assert_eq!(waits(&cluster, 1, 1).0, ParkedCode::Mapping);
    let ten = MAPPED.replace("100", "10");
    let options = LoadOptions { refilter: true, prefer: Some("b".to_owned()), ..LoadOptions::default() };
    // Another mapping, and none any more.
    for (settings, shared) in [(ten.as_str(), 70), ("\"latest-wins\"", 700)] {
        cluster.databases[1].lock().refuses = Some(UNLUCKY);
        let loaded = cluster.block(cluster.session(settings, 10).load(&options, &mut |_| ())).unwrap();
        assert_eq!((loaded.tables[0].passed_over, loaded.exit_code()), (1, crate::error::ATTENTION), "{settings}");
        assert_eq!(cluster.rows()[0], [(1, UNLUCKY), (2, shared)]);
    }
}

/// Rows that wait are neither copied nor replaced, and others are; nor has lost what they are to replace.
#[test]
fn a_load_tells_what_it_wrote_where_rows_cannot_be_put() {
    let cluster = installed(2, MAPPED);
    cluster.databases[0].lock().rows = [(1, 5), (2, UNLUCKY), (3, 6), (4, 7)].into();
    cluster.databases[1].lock().rows = [(1, 400), (2, 300)].into();
    for dry_run in [true, false] {
        let options = LoadOptions { dry_run, prefer: Some("a".to_owned()), ..LoadOptions::default() };
        let loaded = cluster.block(cluster.session(MAPPED, 10).load(&options, &mut |_| ())).unwrap();
        let told = &loaded.tables[0];
        let nodes: Vec<_> = told.nodes.iter().map(|node| (node.node.as_str(), node.copied, node.replaced)).collect();
        assert_eq!((nodes, told.waiting), (vec![("b", 2, 1)], 1), "dry: {dry_run}");
    }
    assert_eq!(cluster.rows()[1], [(1, 500), (2, 300), (3, 600), (4, 700)]);
    let journal = cluster.databases[1].lock().journal.clone();
    let told = |id: i64| journal.iter().find(|lost| number(&lost.key[0]) == id).map(|lost| lost.reason.as_str());
    assert_eq!(told(1), Some("load: --prefer a"));
    assert_eq!(told(2), Some("load: --prefer a; it stays until the other row can be written here"));
}

/// Nobody gives up a row for a node whose mapping will not take it.
#[test]
fn a_plan_lets_nothing_go_for_what_cannot_be_put() {
    let settings = format!("{MAPPED}\n[tables.t.nodes.a]\nfilter = {{ plugin = \"remainder\", at = 1, is = [0] }}");
    let cluster = installed(2, &settings);
    write(&cluster, 0, 1, 6);
    sync(&cluster, &settings);
    write(&cluster, 0, 1, UNLUCKY);
    let wish = Wish { table: None, limit: 0, file: false };
    let (plan, _) = cluster.block(cluster.session(&settings, 10).plan(&wish)).unwrap();
    let told: Vec<_> = plan.rows.iter().map(|row| (row.node.as_str(), row.change)).collect();
    assert_eq!(told, [("b", Change::Wait)]);
    sync(&cluster, &settings);
    assert_eq!(cluster.rows()[0], [(1, UNLUCKY)]);
}

#[test]
fn a_plan_tells_shared_rows_and_what_cannot_be_put() {
    let cluster = installed(2, MAPPED);
    write(&cluster, 0, 1, 5);
    write(&cluster, 0, 2, UNLUCKY);
    let wish = Wish { table: None, limit: 0, file: false };
    let (plan, _) = cluster.block(cluster.session(MAPPED, 10).plan(&wish)).unwrap();
    let told = serde_json::to_string(&plan).unwrap();
    assert!(told.contains(r#""after":{"id":1,"value":5}"#) && told.contains("it is unlucky"), "{told}");
    // Whoever carries one out later relies on entries.
    let one_way = format!("\"latest-wins\"\nfrom = \"a\"{}", MAPPED.trim_start_matches("\"latest-wins\""));
    for (settings, refused) in [(MAPPED, false), (&one_way, true)] {
        let cluster = installed(2, settings);
        write(&cluster, 0, 1, 5);
        let wish = Wish { file: true, ..wish.clone() };
        let planned = cluster.block(cluster.session(settings, 10).plan(&wish));
        assert_eq!(planned.is_err_and(|why| why.to_string().contains("records no changes")), refused);
    }
}
