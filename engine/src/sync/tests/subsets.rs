//! What commands make of rows that do not belong everywhere.

use std::collections::BTreeSet;

use super::cluster::{Cluster, later};
use super::filters::fail;
use crate::model::ParkedCode;
use crate::sync::load::LoadOptions;
use crate::sync::memory::number;
use crate::sync::plan::{Change, Wish};
use crate::sync::resolve::Remedy;
use crate::sync::verify::{Left, Repair, Verified, Verify};
use crate::sync::why::{Why, WhyState};

const LATEST: &str = "\"latest-wins\"";

/// With such filters at nodes: values with these remainders, divided by 3, belong there.
fn filtered(filters: &[(&str, usize, &[i64])]) -> String {
    let filter = |(name, at, is): &(&str, usize, &[i64])| {
        format!("\n[tables.t.nodes.{name}]\nfilter = {{ plugin = \"remainder\", at = {at}, is = {is:?} }}")
    };
    LATEST.to_owned() + &filters.iter().map(filter).collect::<String>()
}

/// Nodes with these filters and this under the key 1, as it came about without any history.
fn standing(settings: &str, values: &[Option<i64>]) -> Cluster {
    fail(0);
    let cluster = Cluster::new(values.len(), &[]);
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    stand(&cluster, values);
    cluster
}

fn stand(cluster: &Cluster, values: &[Option<i64>]) {
    for (database, value) in cluster.databases.iter().zip(values) {
        database.lock().rows = value.iter().map(|value| (1, *value)).collect();
    }
}

/// What stands under the key 1.
fn values(cluster: &Cluster) -> Vec<Option<i64>> {
    cluster.databases.iter().map(|database| database.lock().rows.get(&1).copied()).collect()
}

/// What one node is to see no other may bring there, also not in place of a row that it has.
#[test]
fn a_load_replaces_no_row_by_one_that_does_not_belong() {
    let settings = filtered(&[("b", 1, &[0])]);
    for (values_before, prefer, after) in [
        ([Some(4), Some(3)], "a", [Some(4), None]),
        ([Some(4), Some(3)], "b", [Some(3), Some(3)]),
        ([Some(3), Some(4)], "b", [Some(4), Some(4)]),
        ([Some(4), Some(4)], "a", [Some(4), Some(4)]),
    ] {
        let cluster = standing(&settings, &values_before);
        let options = LoadOptions { prefer: Some(prefer.to_owned()), ..LoadOptions::default() };
        let loaded = cluster.block(cluster.session(&settings, 10).load(&options, &mut |_| ())).unwrap();
        assert_eq!(values(&cluster), after, "{values_before:?} {prefer}");
        let replaced: Vec<i64> = cluster
            .databases
            .iter()
            .flat_map(|database| database.lock().journal.clone())
            .map(|lost| number(&lost.loser_row.unwrap()[1]))
            .collect();
        let lost = if values_before[0] == values_before[1] {
            Vec::new()
        } else {
            vec![values_before[usize::from(prefer == "a")].unwrap()]
        };
        assert_eq!(replaced, lost);
        let removed: u64 = loaded.tables[0].nodes.iter().map(|node| node.removed).sum();
        assert_eq!(removed, u64::from(after[1].is_none()));
    }
}

/// Rows that belong nowhere, that nobody can judge, that belong elsewhere alone, and that are to be replaced and removed.
#[test]
fn a_dry_run_tells_what_the_load_would_do() {
    let everywhere = [("a", 0, &[0][..]), ("b", 1, &[0, 1])];
    let one = [("b", 1, &[0][..])];
    let cases: [(&[_], _, _, _); 8] = [
        (&everywhere, [Some(5), Some(5)], true, 0),
        (&everywhere, [Some(4), Some(4)], true, 0),
        (&everywhere, [Some(4), None], true, 0),
        (&one, [Some(4), Some(4)], true, 1 << 1),
        (&one, [Some(6), Some(3)], false, 1 << 1),
        (&one, [Some(4), Some(3)], true, 0),
        (&one, [Some(4), Some(3)], false, 0),
        (&one, [None, Some(4)], true, 0),
    ];
    for (filters, before, refilter, failing) in cases {
        let settings = filtered(filters);
        let cluster = standing(if refilter { LATEST } else { &settings }, &before);
        fail(failing);
        let load = |dry_run| {
            let options = LoadOptions { prefer: Some("a".to_owned()), refilter, dry_run, ..LoadOptions::default() };
            let loaded = cluster.block(cluster.session(&settings, 10).load(&options, &mut |_| ())).unwrap();
            let mut nodes = loaded.tables[0].nodes.clone();
            nodes.sort_by(|one, other| one.node.cmp(&other.node));
            (nodes, loaded.tables[0].waiting, loaded.exit_code())
        };
        let foreseen = load(true);
        assert_eq!(values(&cluster), before);
        let done = load(false);
        fail(0);
        assert_eq!(foreseen, done, "{filters:?} {before:?} {refilter}");
    }
    // What is on its way is the sync's.
    let settings = filtered(&one);
    let cluster = standing(LATEST, &[Some(3), Some(3)]);
    write(&cluster, 0, Some(4));
    let options = LoadOptions { refilter: true, dry_run: true, ..LoadOptions::default() };
    let loaded = cluster.block(cluster.session(&settings, 10).load(&options, &mut |_| ())).unwrap();
    let told = &loaded.tables[0];
    assert_eq!((&told.nodes[..], told.undecided, told.on_their_way, loaded.exit_code()), (&[][..], 0, 1, 0));
}

fn verify(cluster: &Cluster, settings: &str, prefer: Option<&str>) -> Verified {
    let how = Verify { repair: Repair::Mend, prefer: prefer.map(str::to_owned), ..Verify::default() };
    cluster.block(cluster.session(settings, 10).verify(&how)).unwrap()
}

/// Also where one of them does not belong where the other stands: that would take the decision away from the rule.
#[test]
fn rows_that_differ_are_mended_by_the_rule_and_then_judged() {
    let settings = filtered(&[("b", 1, &[0])]);
    for (values_before, prefer, after) in [
        ([Some(4), Some(3)], None, [Some(4), Some(3)]),
        ([Some(4), Some(3)], Some("a"), [Some(4), None]),
        ([Some(4), Some(3)], Some("b"), [Some(3), Some(3)]),
        ([Some(3), Some(4)], None, [Some(3), Some(4)]),
        ([Some(3), Some(4)], Some("a"), [Some(3), Some(3)]),
    ] {
        let cluster = standing(&settings, &values_before);
        let verified = verify(&cluster, &settings, prefer);
        let table = &verified.tables[0];
        let told = (table.differences, table.undecided, verified.exit_code());
        assert_eq!(values(&cluster), after, "{values_before:?} {prefer:?}");
        assert_eq!(told, if prefer.is_some() { (1, 0, 0) } else { (1, 1, 1) }, "{values_before:?} {prefer:?}");
        assert_eq!((table.nodes[0].differing, table.nodes[1].differing, table.nodes[1].extra), (1, 1, 0));
        let lost: Vec<_> = cluster.databases.iter().flat_map(|database| database.lock().journal.clone()).collect();
        assert_eq!(lost.len(), usize::from(prefer.is_some()), "{lost:?}");
        assert!(lost.iter().all(|lost| lost.winner_row.is_some()), "{lost:?}");
    }
}

/// What wins goes from where it does not belong once another has it that keeps it, and the last of it goes from nowhere.
#[test]
fn nothing_is_removed_that_nobody_keeps() {
    let settings = filtered(&[("a", 0, &[0]), ("b", 1, &[0, 1]), ("c", 2, &[1])]);
    for (before, prefer, once, twice) in [
        // It belongs at `b` and `c`, and comes to both.
        ([Some(4), Some(3), None], "a", [None, Some(4), Some(4)], [None, Some(4), Some(4)]),
        // It belongs nowhere.
        ([Some(5), Some(3), Some(4)], "a", [Some(5), None, None], [Some(5), None, None]),
        ([Some(3), Some(4), None], "b", [None, Some(4), Some(4)], [None, Some(4), Some(4)]),
        ([Some(3), Some(4), Some(4)], "a", [Some(3), Some(3), None], [Some(3), Some(3), None]),
    ] {
        let cluster = standing(&settings, &before);
        verify(&cluster, &settings, Some(prefer));
        assert_eq!(values(&cluster), once, "{before:?} {prefer}");
        verify(&cluster, &settings, Some(prefer));
        assert_eq!(values(&cluster), twice, "{before:?} {prefer}");
        let verified = verify(&cluster, &settings, None);
        assert_eq!(verified.exit_code(), 0, "{before:?} {prefer}: {verified:?}");
    }
    // It takes one comparison, and is one difference.
    let one = filtered(&[("b", 1, &[0])]);
    let cluster = standing(&one, &[None, Some(4)]);
    let table = &verify(&cluster, &one, None).tables[0];
    assert_eq!(
        (table.differences, table.mended, table.examples.len(), values(&cluster)),
        (1, 1, 1, vec![Some(4), None])
    );
    let told: Vec<_> = table.carried.iter().map(|one| (&one.node[..], one.written, one.deleted)).collect();
    assert_eq!(told, [("a", 1, 0), ("b", 0, 1)]);
    // Rows that are alike need no rule.
    let cluster = standing(&settings, &[Some(4), Some(4), Some(4)]);
    let table = &verify(&cluster, &settings, None).tables[0];
    assert_eq!(table.nodes[0].extra, 1);
    let filters: Vec<_> = table.examples[0].filters.iter().map(|(node, filter)| (&node[..], &filter[..])).collect();
    assert_eq!(filters, [("a", "a remainder")]);
    assert_eq!(values(&cluster), [None, Some(4), Some(4)]);
    assert!(cluster.databases[0].lock().journal.is_empty());
}

/// Whoever wins, nobody knows whether it belongs at `b`.
#[test]
fn what_cannot_be_judged_is_not_mended() {
    let settings = filtered(&[("b", 1, &[0])]);
    let cluster = standing(&settings, &[Some(4), Some(3)]);
    fail(1 << 1);
    let verified = verify(&cluster, &settings, Some("a"));
    fail(0);
    let left = &verified.tables[0].left[0];
    assert_eq!(
        (verified.tables[0].undecided, left.because, values(&cluster)),
        (1, Left::Undecided, vec![Some(4), Some(3)])
    );
    assert!(left.why.contains("it fails for a while"), "{left:?}");
}

/// A difference that nobody looks into is none that is not there.
#[test]
fn where_a_filter_fails_nobody_says_that_nothing_is_missing() {
    let settings = filtered(&[("b", 1, &[0])]);
    for repair in [Repair::Tell, Repair::Mend] {
        let cluster = standing(&settings, &[Some(4), None]);
        fail(1 << 1);
        let how = Verify { repair, ..Verify::default() };
        let verified = cluster.block(cluster.session(&settings, 10).verify(&how)).unwrap();
        fail(0);
        let table = &verified.tables[0];
        assert_eq!((table.undecided, table.nodes[1].missing, verified.exit_code()), (1, 0, 1), "{table:?}");
        assert_eq!(table.examples[0].nodes["b"], "unjudged");
        assert!(
            table.left[0].why.contains("at b: ") && table.left[0].why.contains("it fails for a while"),
            "{table:?}"
        );
        assert_eq!(values(&cluster), [Some(4), None]);
    }
}

/// It waits like a row that cannot be read.
#[test]
fn where_a_filter_fails_a_load_leaves_the_row_to_the_sync() {
    let settings = filtered(&[("b", 1, &[0])]);
    for (before, refilter) in [([Some(6), Some(3)], false), ([Some(4), None], false), ([Some(4), Some(4)], true)] {
        let cluster = standing(if refilter { LATEST } else { &settings }, &before);
        let options = LoadOptions { prefer: Some("a".to_owned()), refilter, ..LoadOptions::default() };
        fail(1 << 1);
        let load = || cluster.block(cluster.session(&settings, 10).load(&options, &mut |_| ())).unwrap();
        let loaded = load();
        assert_eq!((loaded.tables[0].waiting, loaded.exit_code()), (1, 1), "{before:?} {loaded:?}");
        assert_eq!(values(&cluster), before);
        let waits = cluster.databases[1].lock().parked[&1].clone();
        assert!(waits.code == ParkedCode::Filter && waits.message.contains("it fails for a while"), "{waits:?}");
        fail(0);
        cluster.block(cluster.session(&settings, 10).sync()).unwrap();
        assert!(cluster.databases[1].lock().parked.is_empty());
        let after = if before[0] == Some(6) { [Some(6); 2] } else { [Some(4), None] };
        assert_eq!(values(&cluster), after, "{before:?}");
        let lost = cluster.databases[1].lock().journal.iter().filter(|lost| lost.loser_row.is_some()).count();
        assert_eq!(lost, usize::from(before == [Some(6), Some(3)]), "{before:?}");
    }
}

fn sync(cluster: &Cluster, settings: &str) {
    (0..2).for_each(|_| drop(cluster.block(cluster.session(settings, 10).sync()).unwrap()));
}

fn write(cluster: &Cluster, at: usize, value: Option<i64>) {
    assert!(cluster.databases[at].lock().write(1, value, false));
    later();
}

/// A conflict in which the later of two versions has won, between the nodes of these places.
fn decided(
    settings: &str,
    nodes: usize,
    earlier: (usize, Option<i64>),
    last: (usize, Option<i64>),
) -> (Cluster, String) {
    fail(0);
    let cluster = Cluster::new(nodes, &[(1, 3)]);
    cluster.block(cluster.session(settings, 10).install()).unwrap();
    write(&cluster, earlier.0, earlier.1);
    write(&cluster, last.0, last.1);
    sync(&cluster, settings);
    let id = cluster.databases.iter().find_map(|database| Some(database.lock().journal.first()?.id.clone())).unwrap();
    (cluster, id)
}

#[test]
fn a_decision_is_overturned_where_the_row_stands() {
    let settings = filtered(&[("a", 0, &[0])]);
    let (cluster, id) = decided(&settings, 3, (1, Some(4)), (2, Some(5)));
    assert_eq!(values(&cluster), [None, Some(5), Some(5)]);
    let resolve = || cluster.block(cluster.session(&settings, 10).resolve(&id, &Remedy::Undo, false));
    fail(1);
    let error = resolve().unwrap_err().to_string();
    assert!(error.contains("it fails for a while"), "{error}");
    fail(0);
    assert_eq!(resolve().unwrap().node, "b");
    sync(&cluster, &settings);
    assert_eq!(values(&cluster), [None, Some(4), Some(4)]);
    // What was made where it was hidden came after the decision.
    let (cluster, id) = decided(&settings, 3, (1, Some(4)), (2, Some(5)));
    write(&cluster, 0, Some(6));
    let error = cluster.block(cluster.session(&settings, 10).resolve(&id, &Remedy::Undo, false)).unwrap_err();
    assert!(error.to_string().contains("the row was changed since: at `a`"), "{error}");
}

/// It would be a new row that has seen nothing of the delete.
#[test]
fn a_deleted_row_is_not_made_anew_where_others_are_hidden() {
    let settings = filtered(&[("a", 0, &[0]), ("b", 1, &[0])]);
    let (cluster, id) = decided(&settings, 2, (0, Some(6)), (1, None));
    assert_eq!(values(&cluster), [None, None]);
    let error = cluster.block(cluster.session(&settings, 10).resolve(&id, &Remedy::Undo, false)).unwrap_err();
    assert!(error.to_string().contains("insert the row by hand where it belongs"), "{error}");
    let settings = filtered(&[("a", 0, &[0])]);
    let (cluster, id) = decided(&settings, 2, (0, Some(6)), (1, None));
    let resolved = cluster.block(cluster.session(&settings, 10).resolve(&id, &Remedy::Undo, false)).unwrap();
    assert_eq!(resolved.node, "b");
    sync(&cluster, &settings);
    assert_eq!(values(&cluster), [Some(6), Some(6)]);
}

#[test]
fn what_waits_beside_nothing_is_given_up_there_alone() {
    let settings = filtered(&[("b", 1, &[0])]);
    fail(0);
    let cluster = Cluster::new(2, &[]);
    cluster.block(cluster.session(&settings, 10).install()).unwrap();
    cluster.databases[1].lock().refuses = Some(6);
    write(&cluster, 0, Some(6));
    sync(&cluster, &settings);
    assert_eq!(cluster.databases[1].lock().parked.len(), 1);
    assert_eq!(cluster.block(cluster.session(&settings, 10).drop_parked(|_| true)).unwrap().len(), 1);
    sync(&cluster, &settings);
    assert_eq!(values(&cluster), [Some(6), None]);
    {
        let mut state = cluster.databases[1].lock();
        assert!(state.parked.is_empty() && state.journal.iter().any(|lost| lost.id.starts_with("dropped-")));
        state.refuses = None;
    }
    // That it lacks the row is no secret.
    let told = Verify { repair: Repair::Tell, ..Verify::default() };
    let verified = cluster.block(cluster.session(&settings, 10).verify(&told)).unwrap();
    assert_eq!(verified.tables[0].nodes[1].missing, 1, "{verified:?}");
    cluster.block(cluster.session(&settings, 10).load(&LoadOptions::default(), &mut |_| ())).unwrap();
    assert_eq!(values(&cluster), [Some(6); 2]);
}

/// What stands beside it is what a person wants.
#[test]
fn what_waits_beside_a_row_or_a_delete_is_replaced_by_it() {
    let settings = filtered(&[("b", 1, &[0])]).replace(LATEST, "\"park\"");
    for value in [Some(9), None] {
        fail(0);
        let cluster = Cluster::new(2, &[(1, 3)]);
        cluster.block(cluster.session(&settings, 10).install()).unwrap();
        write(&cluster, 0, Some(6));
        write(&cluster, 1, value);
        sync(&cluster, &settings);
        assert_eq!(values(&cluster), [Some(6), value]);
        cluster.block(cluster.session(&settings, 10).drop_parked(|row| row.node == "b")).unwrap();
        sync(&cluster, &settings);
        assert_eq!(values(&cluster), [value; 2]);
    }
}

#[test]
fn the_last_that_waits_is_not_given_up() {
    let settings = filtered(&[("a", 0, &[0]), ("b", 1, &[0])]);
    fail(1 << 1);
    let cluster = Cluster::new(3, &[(1, 3)]);
    cluster.block(cluster.session(&settings, 10).install()).unwrap();
    write(&cluster, 0, Some(4));
    sync(&cluster, &settings);
    cluster.databases[1].lock().rows.remove(&1);
    fail(0);
    cluster.databases[2].lock().up = false;
    sync(&cluster, &settings);
    let drop = || cluster.block(cluster.session(&settings, 10).drop_parked(|row| row.node == "b"));
    let error = drop().unwrap_err();
    assert!(error.to_string().contains("it would be lost; nothing was given up"), "{error}");
    assert_eq!(cluster.databases[1].lock().parked.len(), 1);
    cluster.databases[2].lock().up = true;
    assert_eq!(drop().unwrap().len(), 1);
    sync(&cluster, &settings);
    assert_eq!(values(&cluster), [None, None, Some(4)]);
    assert!(cluster.databases[1].lock().parked.is_empty());
}

fn why(cluster: &Cluster, settings: &str) -> Why {
    cluster.block(cluster.session(settings, 10).why("t", &["1".to_owned()])).unwrap()
}

/// Whichever node comes first in the file.
#[test]
fn why_tells_where_a_row_does_not_belong() {
    use WhyState::{Apart, Current, Differs};
    let one = |name, at| filtered(&[(name, at, &[0][..])]);
    let both = filtered(&[("a", 0, &[0]), ("b", 1, &[0])]);
    for (settings, standing_there, states, words, code) in [
        (one("a", 0), [None, Some(4)], [Apart, Current], "does not belong there", 0),
        (one("b", 1), [Some(4), None], [Current, Apart], "does not belong there", 0),
        (one("a", 0), [None, Some(3)], [Differs, Current], "it is another than at b", 1),
        (one("b", 1), [Some(4), Some(4)], [Current, Differs], "`concord verify --repair` removes it there", 1),
        (one("a", 0), [Some(4), Some(4)], [Differs, Current], "`concord verify --repair` removes it there", 1),
        (both, [Some(4), None], [Current, Apart], "it belongs at no node by their filters", 0),
    ] {
        let cluster = standing(&settings, &standing_there);
        let told = why(&cluster, &settings);
        assert_eq!([told.nodes[0].state, told.nodes[1].state], states, "{settings} {standing_there:?}");
        let reasons: Vec<&str> = told.nodes.iter().filter_map(|node| node.reason.as_deref()).collect();
        assert!(reasons.iter().any(|reason| reason.contains(words)), "{settings} {standing_there:?}: {reasons:?}");
        assert_eq!(told.exit_code(), code);
        assert_eq!(
            told.versions[0].row.as_ref().map(|row| &row["value"]),
            Some(&standing_there[usize::from(standing_there[0].is_none())].unwrap().into())
        );
        if code == 1 {
            verify(&cluster, &settings, None);
            assert_eq!(why(&cluster, &settings).exit_code(), 0);
        }
    }
    // What a change is about is on its way.
    let settings = one("b", 1);
    let cluster = standing(&settings, &[Some(3), Some(3)]);
    write(&cluster, 1, Some(4));
    let told = why(&cluster, &settings);
    assert_eq!([told.nodes[0].state, told.nodes[1].state], [WhyState::OnItsWay, Current]);
    assert!(told.nodes[1].reason.as_ref().is_some_and(|why| why.contains("goes once another node has it")), "{told:?}");
    sync(&cluster, &settings);
    assert_eq!(values(&cluster), [Some(4), None]);
    assert_eq!(why(&cluster, &settings).nodes[1].state, Apart);
}

#[test]
fn a_plan_tells_what_leaves_its_own_node_and_what_a_later_cycle_decides() {
    let settings = filtered(&[("b", 1, &[0])]);
    let plan = |cluster: &Cluster, file| {
        let wish = Wish { table: None, limit: 0, file };
        cluster.block(cluster.session(&settings, 10).plan(&wish)).unwrap().0
    };
    let told = |cluster: &Cluster, file| -> Vec<(String, Change)> {
        plan(cluster, file).rows.into_iter().map(|row| (row.node, row.change)).collect()
    };
    let at = |node: &str, change| (node.to_owned(), change);
    let cluster = standing(&settings, &[Some(3), Some(3)]);
    write(&cluster, 1, Some(4));
    assert_eq!(told(&cluster, false), [at("a", Change::Update), at("b", Change::Delete)]);
    // A file is one cycle's.
    assert_eq!(told(&cluster, true), [at("a", Change::Update)]);
    sync(&cluster, &settings);
    assert_eq!((values(&cluster), told(&cluster, false)), (vec![Some(4), None], Vec::new()));
    write(&cluster, 1, Some(6));
    for file in [false, true] {
        let plan = plan(&cluster, file);
        assert!(plan.counts.iter().all(|counts| counts.wait == 0) && plan.exit_code() == 0, "{file} {plan:?}");
    }
    assert_eq!(told(&cluster, true), [at("a", Change::Later)]);
}

/// What journals keep of rows that lost.
fn lost(cluster: &Cluster) -> BTreeSet<i64> {
    let journals = cluster.databases.iter().flat_map(|database| database.lock().journal.clone());
    journals.filter_map(|lost| Some(number(&lost.loser_row?[1]))).collect()
}

/// Also where a third node has taken the row before the one that holds the hidden one comes back.
#[test]
fn a_row_that_was_hidden_from_a_later_one_is_weighed_against_it() {
    let settings = filtered(&[("a", 0, &[0, 1]), ("c", 2, &[1])]);
    // Before that node comes back, the row went to another, and was changed there.
    for (hidden, came, last) in
        [(Some(5), true, 4), (None, true, 4), (None, false, 4), (Some(5), true, 7), (None, true, 7)]
    {
        fail(0);
        let cluster = Cluster::new(3, &[]);
        if hidden.is_none() {
            cluster.databases[1].lock().rows.insert(1, 5);
        }
        cluster.block(cluster.session(&settings, 10).install()).unwrap();
        if hidden.is_some() {
            // It goes from there to the only node where it belongs.
            write(&cluster, 0, hidden);
            sync(&cluster, &settings);
        }
        assert_eq!(values(&cluster), [None, Some(5), None]);
        write(&cluster, 2, Some(4));
        cluster.databases[1].lock().up = false;
        if came {
            sync(&cluster, &settings);
            assert_eq!(values(&cluster), [Some(4), Some(5), Some(4)]);
        }
        if last != 4 {
            write(&cluster, 0, Some(last));
        }
        cluster.databases[1].lock().up = true;
        (0..3).for_each(|_| sync(&cluster, &settings));
        assert_eq!(values(&cluster), [Some(last); 3]);
        assert_eq!(lost(&cluster), [5].into(), "{hidden:?} {came} {last}");
    }
}

/// Where a row that came and went still waits, that says nothing about one that was hidden from it.
#[test]
fn a_row_that_came_and_went_takes_no_hidden_one_with_it_silently() {
    for (at, first, hidden) in [(0, None, 5), (1, Some(4), 5)] {
        let settings = filtered(&[("a", 0, &[0, 1]), ("c", 2, &[1]), ("d", 3, &[1])]);
        fail(0);
        let cluster = Cluster::new(5, &[]);
        cluster.block(cluster.session(&settings, 10).install()).unwrap();
        // Nothing is purged.
        cluster.databases[4].lock().up = false;
        if first.is_some() {
            write(&cluster, at, first);
            sync(&cluster, &settings);
        }
        write(&cluster, at, Some(hidden));
        sync(&cluster, &settings);
        assert_eq!(values(&cluster), [None, Some(hidden), None, None, None]);
        cluster.databases[1].lock().up = false;
        fail(1 << 3);
        write(&cluster, 2, Some(7));
        sync(&cluster, &settings);
        write(&cluster, 2, None);
        fail(0);
        cluster.databases[1].lock().up = true;
        cluster.databases[4].lock().up = true;
        (0..3).for_each(|_| sync(&cluster, &settings));
        assert!(cluster.databases.iter().all(|database| database.lock().parked.is_empty()));
        let stands = values(&cluster) == [None, Some(hidden), None, None, Some(hidden)];
        assert!(stands || lost(&cluster).contains(&hidden), "{first:?}: {:?}", values(&cluster));
    }
}

/// GIVEN an engine that has read that a row neither stands at a node nor belongs there since it was changed
/// WHEN a load, or a repair, which saw the row as it was before, has copied it there meanwhile
/// THEN the engine does not pass the change by, but takes the row away again.
#[test]
fn what_is_copied_meanwhile_is_not_passed_by() {
    let settings = filtered(&[("b", 1, &[0])]);
    for repairs in [false, true] {
        let cluster = standing(&settings, &[Some(3), None]);
        let seen = cluster.databases[1].lock().clone();
        if repairs {
            verify(&cluster, &settings, None);
        } else {
            cluster.block(cluster.session(&settings, 10).load(&LoadOptions::default(), &mut |_| ())).unwrap();
        }
        assert_eq!(values(&cluster), [Some(3); 2], "{repairs}");
        write(&cluster, 0, Some(4));
        cluster.databases[1].lock().shown.push_back(Some(seen));
        let cycle = cluster.block(cluster.session(&settings, 10).cycle()).unwrap();
        assert!(cycle.overtaken, "{repairs}: {cycle:?}");
        sync(&cluster, &settings);
        assert_eq!(values(&cluster), [Some(4), None], "{repairs}");
        // It goes on by itself: nobody is kept from his end by what was passed on.
        let again = cluster.block(cluster.session(&settings, 10).sync()).unwrap();
        assert_eq!((again.cycles, again.nodes.len()), (1, 0), "{again:?}");
    }
}
