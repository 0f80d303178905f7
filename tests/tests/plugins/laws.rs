//! Laws that are broken, by plugins made for it: the smallest case that shows it becomes a fixture.

use concord_tests::Concord;
use serde_json::{Value, json};

use super::commands::{ended, folder, put};

/// Tests the hostile plugin with a fixture: what is said, and the smallest case that was written for a law.
async fn broken(attack: &str, law: &str, fixture: &Value) -> (Concord, String, Value) {
    let concord = folder("");
    put(&concord, "hostile");
    let mut fixture = fixture.clone();
    fixture["config"] = json!({"attack": attack});
    concord.write("fixtures/case.json", &fixture.to_string());
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm"]).await;
    let told = ended(&said, 1).to_owned();
    let file = format!("fixtures/broken/case-{law}.json");
    assert!(told.contains(&format!("case: the smallest case that breaks it is {file}\n")), "{told}");
    let written = std::fs::read_to_string(concord.path(&file)).unwrap_or_else(|why| panic!("{file}: {why}: {told}"));
    (concord, told, serde_json::from_str(&written).expect("JSON"))
}

/// The laws that are broken by what was written.
async fn again(concord: &Concord) -> Vec<String> {
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm", "--fixtures", "fixtures/broken"]).await;
    let laws = ended(&said, 1).lines().filter_map(|line| Some(line.split_once(" breaks a law: ")?.1.to_owned()));
    laws.collect()
}

fn table() -> Value {
    json!({"name": "items", "columns": {"id": "integer", "note": "text", "stock": "integer", "place": "text"}, "key": ["id"]})
}

/// A conflict of three, in which the first wrote last.
fn conflict(id: i64, notes: [&str; 3]) -> Value {
    let version = |at: usize| {
        let row = json!({"id": id, "note": notes[at], "stock": 100 + at, "place": "somewhere"});
        let node = ["a", "b", "c"][at];
        json!({"node": node, "time": 9 - at, "row": row})
    };
    json!({"versions": [version(0), version(1), version(2)], "answer": {"take": "a"}})
}

#[tokio::test]
async fn of_a_conflict_only_what_matters_is_left() {
    let conflicts = [
        conflict(1, ["one thing", "another", "a third"]),
        conflict(2, ["a rather long text", "a question, in the midst of others", "something else"]),
        conflict(3, ["x", "y", "z"]),
    ];
    let fixture = json!({"table": table(), "nodes": ["a", "b", "c"], "conflicts": conflicts});
    let (concord, told, smallest) = broken("odd-order", "order", &fixture).await;
    assert!(told.contains("conflict 2 breaks a law: an answer depends on the order of the versions"), "{told}");
    let versions = smallest["conflicts"][0]["versions"].as_array().expect("versions");
    assert_eq!((smallest["conflicts"].as_array().map(Vec::len), versions.len()), (Some(1), 3), "{smallest}");
    assert_eq!(smallest["table"]["columns"].as_object().map(|columns| columns.len()), Some(2), "{smallest}");
    let mut notes: Vec<String> = versions.iter().map(|version| version["row"]["note"].to_string()).collect();
    notes.sort();
    notes.dedup();
    // A version with the letter, and one that is another.
    assert!(notes.contains(&"\"q\"".to_owned()) && notes.iter().all(|note| note.len() <= 4), "{smallest}");
    assert!(smallest["about"].as_str().is_some_and(|about| about.contains("of the fixture `case`")), "{smallest}");
    assert_eq!(again(&concord).await, ["an answer depends on the order of the versions"]);
}

#[tokio::test]
async fn an_integer_that_becomes_a_float_is_noticed_though_no_case_has_one() {
    let same = |mut conflict: Value| {
        conflict["answer"] = json!({"merged": conflict["versions"][0]["row"]});
        conflict
    };
    let conflicts = [same(conflict(1, ["a", "b", "c"])), same(conflict(2, ["a", "b", "c"]))];
    let fixture = json!({"table": table(), "nodes": ["a", "b", "c"], "conflicts": conflicts});
    let (concord, told, smallest) = broken("rounding", "exact", &fixture).await;
    let law = "an integer beyond 2^53 is rounded, as where integers are floats";
    assert!(told.contains(&format!("conflict 1 breaks a law: {law}")), "{told}");
    assert_eq!(smallest["table"]["columns"], json!({"id": "integer", "stock": "integer"}), "{smallest}");
    assert_eq!(again(&concord).await, [law]);
}

#[tokio::test]
async fn a_mapping_that_rounds_is_noticed() {
    let row = |id: i64| json!({"id": id, "note": "good", "stock": 5, "place": "here"});
    let shape = json!({"columns": table()["columns"], "key": ["id"]});
    let locals =
        [json!({"local": row(1), "answer": {"row": row(1)}}), json!({"local": row(2), "answer": {"row": row(2)}})];
    let puts = [json!({"shared": row(3), "current": row(3), "answer": {"row": row(3)}})];
    let fixture = json!({"table": table(), "shape": shape, "locals": locals, "puts": puts});
    let (concord, told, smallest) = broken("local-rounding", "exact", &fixture).await;
    assert!(told.contains("local 1 breaks a law: an integer beyond 2^53 is rounded"), "{told}");
    let count = |cases: &str| smallest[cases].as_array().map_or(0, Vec::len);
    assert_eq!(count("locals") + count("puts"), 1, "{smallest}");
    assert_eq!(again(&concord).await, ["an integer beyond 2^53 is rounded, as where integers are floats"]);
}

#[tokio::test]
async fn of_rows_that_are_judged_by_their_neighbours_two_are_left() {
    let case = |id: i64| json!({"row": {"id": id, "note": "a note", "stock": id}, "answer": "keep"});
    let rows: Vec<Value> = (1..=9).map(case).collect();
    let fixture = json!({"table": table(), "columns": ["note"], "rows": rows});
    let (concord, told, smallest) = broken("beside", "alone", &fixture).await;
    assert!(told.contains("row 1 breaks a law: an answer depends on what was asked before or beside it"), "{told}");
    assert_eq!(smallest["rows"].as_array().map(Vec::len), Some(2), "{smallest}");
    assert_eq!(smallest["columns"], json!(["note"]), "{smallest}");
    assert!(again(&concord).await.contains(&"an answer depends on what was asked before or beside it".to_owned()));
}

#[tokio::test]
async fn of_rows_that_fail_in_one_call_one_is_left_which_is_asked_about_twice() {
    let case = |id: i64| json!({"row": {"id": id, "note": "a note", "stock": id}, "answer": "keep"});
    let rows: Vec<Value> = (1..=5).map(case).collect();
    let fixture = json!({"table": table(), "columns": ["note"], "rows": rows});
    let (concord, _, smallest) = broken("one-answer", "together", &fixture).await;
    assert_eq!(smallest["rows"].as_array().map(Vec::len), Some(1), "{smallest}");
    assert_eq!(again(&concord).await, ["cases that are answered alone fail in a call of several"]);
}

/// Of each law that nothing else here is about, by who breaks it.
#[tokio::test]
async fn of_cases_that_break_a_law_one_is_left() {
    let row = |id: i64, note: &str| json!({"id": id, "note": note, "stock": 5, "place": "here"});
    let mut conflicts = [conflict(1, ["x", "y", "z"]), conflict(2, ["one thing", "another", "a third"])];
    for conflict in &mut conflicts {
        conflict["versions"][2]["row"]["stock"] = json!(900);
    }
    let resolver = json!({"table": table(), "nodes": ["a", "b", "c"], "conflicts": conflicts});
    let judged = [1, 2, 3].map(|id| json!({"row": row(id, "a note"), "answer": "keep"}));
    let filter = json!({"table": table(), "columns": ["note"], "rows": judged});
    let local = |id: i64, note: &str| json!({"local": row(id, note), "answer": {"row": row(id, note)}});
    let put = |id: i64| json!({"shared": row(id, "new"), "current": row(id, "old"), "answer": {"row": row(id, "new")}});
    let shape = json!({"columns": table()["columns"], "key": ["id"]});
    let (locals, puts) = ([local(1, "soft"), local(2, "LOUD")], [put(3), put(4)]);
    let mapping = json!({"table": table(), "shape": shape, "locals": locals, "puts": puts});
    for (attack, law, fixture, cases, words) in [
        ("growing", "rest", &resolver, "conflicts", "decided otherwise when it is asked about again"),
        ("mean", "settled", &resolver, "conflicts", "decided otherwise beside the versions that it came from"),
        ("first", "rows", &filter, "rows", "an answer depends on the order of the rows"),
        ("alternating", "again", &filter, "rows", "an answer is another one when it is asked for again"),
        ("local-stubborn", "put", &mapping, "puts", "what was put is not what is got"),
        ("shared-lower", "got", &mapping, "locals", "putting back what was got changes the row"),
    ] {
        let (concord, told, smallest) = broken(attack, law, fixture).await;
        assert!(told.contains(words), "{told}");
        let count = |cases: &str| smallest[cases].as_array().map_or(0, Vec::len);
        let all = ["conflicts", "rows", "locals", "puts"].map(count);
        assert_eq!((count(cases), all.iter().sum::<usize>()), (1, 1), "{law}: {smallest}");
        let laws = again(&concord).await;
        assert!(laws.iter().any(|law| law.contains(words)), "{laws:?}: {smallest}");
    }
}

/// Nobody finds a case in a fixture that was made up on the way to the smallest.
#[tokio::test]
async fn what_a_plugin_logs_about_cases_that_are_made_up_is_not_told() {
    let concord = folder("");
    put(&concord, "hostile");
    let conflicts = [1, 2, 3].map(|id| conflict(id, ["x", "y", "z"]));
    let fixture = |attack: &str, conflicts: &[Value]| {
        json!({"config": {"attack": attack}, "table": table(), "nodes": ["a", "b", "c"], "conflicts": conflicts})
            .to_string()
    };
    concord.write("fixtures/case.json", &fixture("third-call", &conflicts));
    let test = async || concord.run(&["plugin", "test", "plugins/hostile.wasm"]).await;
    let said = test().await;
    let told = ended(&said, 1);
    assert!(told.contains(" breaks a law: an answer depends on what was asked before or beside it"), "{told}");
    assert!(!said.stderr.contains("ERROR"), "{}", said.stderr);
    // Unless somebody wants to hear more.
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm", "-v"]).await;
    ended(&said, 1);
    assert!(said.stderr.contains("ERROR"), "{}", said.stderr);
    // What stands there and breaks it is told, once.
    concord.write(
        "fixtures/case.json",
        &fixture("panic", &[conflict(1, ["poison", "y", "z"]), conflict(2, ["poison", "", ""])]),
    );
    let said = test().await;
    assert!(ended(&said, 1).contains("a panic on purpose"), "{}", said.stdout);
    assert_eq!(said.stderr.matches("ERROR").count(), 1, "{}", said.stderr);
}

/// What was done in each change is told as well, and goes with what is varied.
#[tokio::test]
async fn conflicts_of_which_changes_are_told_are_varied_too() {
    let row = |stock: i64, note: &str| json!({"id": 1, "note": note, "stock": stock, "place": "here"});
    let change = |node: &str, time: i64, after: i64| {
        let (before, after) = (json!({"stock": 100}), json!({"stock": after}));
        json!({"node": node, "time": time, "before": before, "after": after, "seen_by": [node]})
    };
    let conflict = json!({
        "versions": [
            {"node": "a", "time": 8, "row": row(101, "one")},
            {"node": "b", "time": 9, "row": row(90, "other")},
        ],
        "changes": [change("a", 8, 101), change("b", 9, 90)],
        "answer": {"take": "b"},
    });
    let fixture = json!({"table": table(), "nodes": ["a", "b"], "conflicts": [conflict]});
    for (attack, varied) in [
        ("odd-names", "its nodes the other way round"),
        ("odd-times", "the same time in all versions and changes"),
        ("odd-nulls", "no `stock` to begin with"),
    ] {
        let (concord, told, smallest) = broken(attack, "order", &fixture).await;
        let law = "an answer depends on the order of the versions";
        assert!(told.contains(&format!("conflict 1 with {varied} breaks a law: {law}\n")), "{told}");
        assert_eq!(smallest["conflicts"][0]["changes"].as_array().map(Vec::len), Some(2), "{smallest}");
        assert_eq!(again(&concord).await, [law]);
    }
}

#[tokio::test]
async fn it_is_written_where_it_is_wanted() {
    let concord = folder("");
    put(&concord, "hostile");
    let fixture = json!({
        "table": table(), "nodes": ["a", "b", "c"], "config": {"attack": "odd-order"},
        "conflicts": [conflict(1, ["q", "b", "c"])],
    });
    concord.write("fixtures/case.json", &fixture.to_string());
    let test = ["plugin", "test", "plugins/hostile.wasm", "--broken", "elsewhere", "--json"];
    let said = concord.run(&test).await;
    let report: Value = serde_json::from_str(ended(&said, 1)).expect("JSON");
    assert_eq!(report[0]["broken"], json!(["elsewhere/case-order.json"]));
    assert!(concord.path("elsewhere/case-order.json").exists() && !concord.path("fixtures/broken").exists());
    // Where nothing can be written it is said.
    concord.write("a-file", "");
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm", "--broken", "a-file"]).await;
    ended(&said, 2);
    assert!(
        said.stderr.contains("case-order.json cannot be written") && said.stderr.contains("--broken"),
        "{}",
        said.stderr
    );
}
