//! `concord plugin test` for filters.

use super::commands::{ended, folder, put};

/// Cases about the column `note`, of which the second is the one that goes wrong.
const CASE: &str = r#"{
    "table": {"name": "items", "columns": {"id": "integer", "note": "text", "stock": "integer"}, "key": ["id"]},
    "config": {"attack": "ATTACK"},
    "columns": ["note"],
    "rows": [
        {"row": {"id": 1, "note": "good"}, "answer": "keep"},
        {"row": {"id": 2, "note": "poison"}, "answer": "drop"}
    ]
}"#;

/// The first case alone, which is to belong.
const ONE: &str = r#"{
    "table": {"name": "items", "columns": {"id": "integer", "note": "text"}, "key": ["id"]},
    "config": {"attack": "ATTACK"},
    "rows": [{"row": {"id": 1, "note": "good"}, "answer": "keep"}]
}"#;

/// What a test of a plugin with more roles than one says, and what goes to stderr.
async fn tested(fixture: &str, code: i32) -> (String, String) {
    let concord = folder("");
    put(&concord, "hostile");
    concord.write("fixtures/case.json", fixture);
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm"]).await;
    (ended(&said, code).to_owned(), said.stderr)
}

#[tokio::test]
async fn answers_about_rows_are_compared() {
    let (said, _) = tested(&CASE.replace("ATTACK", "drop"), 0).await;
    assert!(said.contains("good"), "{said}");
    let problem = CASE.replace("\"drop\"", r#"{"problem": "bad-note"}"#).replace("ATTACK", "problem");
    let (said, _) = tested(&problem, 0).await;
    assert!(said.contains("good"), "{said}");
    let (said, _) = tested(&CASE.replace("ATTACK", "good"), 1).await;
    let row = r#"row 2, {"id":2,"note":"poison","stock":null}"#;
    assert!(said.contains(&format!("case: {row}:\n  answer   \"keep\"\n  expected \"drop\"\n")), "{said}");
    assert!(!said.contains("law"), "{said}");
    let (said, _) = tested(&CASE.replace("ATTACK", "problem"), 1).await;
    let wrong = "  answer   {\"problem\":\"bad-note\"}\n  expected \"drop\"\n  because: plugin `hostile`, filter of `items`, judge: ";
    assert!(said.contains(wrong), "{said}");
    // What breaks down at a row that nobody foresaw is told, and is no failure.
    let trap = CASE.replace("\"drop\"", r#"{"problem": "trap"}"#).replace("ATTACK", "panic");
    let (said, _) = tested(&trap, 0).await;
    assert!(said.contains("case: note: row 2 with 0 for `stock`: plugin `hostile`, filter of `items`"), "{said}");
    let columns = CASE.replace("[\"note\"]", "[\"note\", \"id\"]").replace("ATTACK", "drop");
    let (said, _) = tested(&columns, 1).await;
    assert!(said.contains("columns:\n  answer   note\n  expected id, note\n"), "{said}");
}

/// The laws that it breaks by what a test of it says.
async fn broken(fixture: &str, attack: &str) -> Vec<String> {
    let (said, _) = tested(&fixture.replace("ATTACK", attack), 1).await;
    let laws = said.lines().filter_map(|line| line.split_once(" breaks a law: ").map(|(_, law)| law.to_owned()));
    laws.collect()
}

#[tokio::test]
async fn laws_of_a_filter_are_tried() {
    assert_eq!(broken(ONE, "alternating").await, ["an answer is another one when it is asked for again"]);
    let beside = "an answer depends on what was asked before or beside it";
    // Of one row, and then of those that it is varied to.
    assert_eq!(broken(ONE, "first").await, ["an answer depends on the order of the rows", beside]);
    assert_eq!(broken(CASE, "beside").await, [beside]);
    assert_eq!(broken(CASE, "first").await, [beside, "an answer depends on the order of the rows"]);
}

#[tokio::test]
async fn a_refusal_says_of_which_role() {
    let refuses = |role: &str| {
        let file = r#"{"table": {"name": "items", "columns": {"id": "integer", "note": "text"}, "key": ["id"]},
            ROLE "config": {"attack": "open-refuse"}, "refuses": "no-thanks"}"#;
        file.replace("ROLE", role)
    };
    let (said, _) = tested(&refuses(r#""role": "filter","#), 0).await;
    assert!(said.contains("good"), "{said}");
    let (said, _) = tested(&refuses(r#""role": "filter","#).replace("open-refuse", "good"), 1).await;
    assert!(said.contains("it was to refuse its configuration as `no-thanks`, and took it"), "{said}");
    let (_, said) = tested(&refuses(""), 2).await;
    let told = "the fixture `case`: `hostile` is a filter and mapping and resolver; `role` has to say for which of them this is";
    assert!(said.contains(told), "{said}");
}

const MAPS: &str = r#"{
    "table": {"name": "items", "columns": {"id": "integer", "note": "text", "stock": "integer"}, "key": ["id"]},
    "config": {"attack": "ATTACK"},
    "shape": {"columns": {"id": "integer", "note": "text", "stock": "integer"}, "key": ["id"]},
    "locals": [{"local": {"id": 1, "note": "poison"}, "answer": {"row": {"id": 1, "note": "poison"}}}],
    "puts": [
        {"shared": {"id": 1, "note": "good"}, "answer": {"row": {"id": 1, "note": "good"}}},
        {"shared": {"id": 2, "note": "poison"}, "answer": {"row": {"id": 2, "note": "poison"}}}
    ]
}"#;

#[tokio::test]
async fn answers_of_a_mapping_are_compared_and_laws_are_tried() {
    let (said, _) = tested(&MAPS.replace("ATTACK", "good"), 0).await;
    assert!(said.contains("good"), "{said}");
    let (said, _) = tested(&MAPS.replace("ATTACK", "local-problem"), 1).await;
    let wrong = "put 2:\n  answer   {\"problem\":\"bad-note\"}\n  expected {\"row\":{\"id\":2,\"note\":\"poison\",\"stock\":null}}";
    assert!(said.contains(wrong), "{said}");
    let (said, _) = tested(&MAPS.replace("ATTACK", "make-twice"), 1).await;
    assert!(said.contains("it makes two columns `NOTE`"), "{said}");
    let other = MAPS.replace("ATTACK", "good").replacen(
        "\"stock\": \"integer\"}, \"key\": [\"id\"]},\n    \"locals",
        "\"stock\": \"text\"}, \"key\": [\"id\"]},\n    \"locals",
        1,
    );
    let (said, _) = tested(&other, 1).await;
    assert!(said.contains("shape:\n  answer   id integer (key), note text, stock integer"), "{said}");
    // Also where rows of the fixture have more columns than the mapping makes.
    let wider = r#"{
        "table": {"name": "items", "columns": {"id": "integer", "note": "text", "stock": "integer"}, "key": ["id"]},
        "config": {"attack": "local-stubborn"},
        "shape": {"columns": {"id": "integer", "note": "text", "stock": "integer", "more": "integer"}, "key": ["id"]},
        "puts": [{"shared": {"id": 1, "more": 5}, "current": {"id": 1, "stock": 2}, "answer": {"row": {"id": 1, "stock": 2}}}]
    }"#;
    let (said, _) = tested(wider, 1).await;
    assert!(said.contains("\n  expected id integer (key), note text, stock integer, more integer\n"), "{said}");
    let (said, _) = tested(&MAPS.replace("ATTACK", "local-lawless"), 1).await;
    let course = "\n  put      {\"id\":2,\"note\":\"poison\",\"stock\":null}\n  becomes  {\"id\":2,\"note\":\"cured\",\"stock\":null}\n  \
                  is got   {\"id\":2,\"note\":\"cured\",\"stock\":null}";
    assert!(said.contains(course), "{said}");
    assert_eq!(
        broken(MAPS, "local-lawless").await,
        ["what was put is not what is got", "putting back what was got changes the row"]
    );
    let alternating = broken(MAPS, "local-alternating").await;
    assert!(
        alternating.iter().any(|law| law == "an answer is another one when it is asked for again"),
        "{alternating:?}"
    );
}

/// Two conflicts, of which the later version is expected.
fn conflicts(attack: &str) -> String {
    let conflict = |id: u32| {
        format!(
            r#"{{"versions": [{{"node": "branch", "time": 1, "row": {{"id": {id}, "note": "a"}}}},
               {{"node": "office", "time": 2, "row": {{"id": {id}, "note": "b"}}}}], "answer": {{"take": "office"}}}}"#
        )
    };
    format!(
        r#"{{"table": {{"name": "items", "columns": {{"id": "integer", "note": "text"}}, "key": ["id"]}},
           "nodes": ["office", "branch"], "config": {{"attack": "{attack}"}}, "conflicts": [{}, {}]}}"#,
        conflict(1),
        conflict(2)
    )
}

/// That of a resolver of which no other case tells: its two conflicts are asked about together, and each alone.
#[tokio::test]
async fn a_resolver_that_looks_beside_a_conflict_is_found_out() {
    assert!(tested(&conflicts("latest"), 0).await.0.contains("good"));
    let laws = broken(&conflicts("beside"), "").await;
    assert!(laws.contains(&"an answer depends on what was asked before or beside it".to_owned()), "{laws:?}");
}

/// A conflict of three, of which the last was written last.
const THREE: &str = r#"{
    "table": {"name": "items", "columns": {"id": "integer", "note": "text", "stock": "integer"}, "key": ["id"]},
    "nodes": ["a", "b", "c"],
    "config": {"attack": "ATTACK"},
    "conflicts": [{
        "versions": [
            {"node": "a", "time": 1, "row": {"id": 1, "note": "x", "stock": 10}},
            {"node": "b", "time": 2, "row": {"id": 1, "note": "y", "stock": 20}},
            {"node": "c", "time": 3, "row": {"id": 1, "note": "z", "stock": 60}}
        ],
        "answer": {"take": "c"}
    }]
}"#;

/// Each by somebody who breaks no other.
#[tokio::test]
async fn laws_of_a_resolver_are_tried() {
    assert!(tested(&THREE.replace("ATTACK", "latest"), 0).await.0.contains("good"));
    // The other way round nothing is amiss.
    assert_eq!(broken(THREE, "middle").await, ["an answer depends on the order of the versions"]);
    // And nothing where all versions are alike.
    let settled = "what was decided is decided otherwise beside the versions that it came from";
    assert_eq!(broken(THREE, "mean").await, [settled]);
}

/// Where a call of several fails each is asked about alone, and so all looks well.
#[tokio::test]
async fn who_answers_one_case_of_several_is_found_out() {
    let law = "cases that are answered alone fail in a call of several";
    let maps = |attack: &str| MAPS.replace("ATTACK", attack);
    let keeps = CASE.replace("\"drop\"", "\"keep\"");
    for (fixture, case, why) in [
        (keeps.replace("ATTACK", "one-answer"), "row 1", "filter of `items`, judge: it gave 1 answers about 4 rows"),
        (ONE.replace("ATTACK", "one-answer"), "row 1", "filter of `items`, judge: it gave 1 answers about 2 rows"),
        (maps("shared-one-answer"), "local 1", "mapping of `items`, to-shared: it gave 1 answers about 2 rows"),
        (maps("local-one-answer"), "put 1", "mapping of `items`, to-local: it gave 1 answers about 4 rows"),
        (conflicts("one-answer"), "conflict 1", "resolver of `items`, resolve: it gave 1 answers to 4 conflicts"),
    ] {
        let (said, _) = tested(&fixture, 1).await;
        let told = format!("case: {case} breaks a law: {law}\n  because: plugin `hostile`, {why} (answer)\n");
        assert!(said.contains(&told), "{told}{said}");
        assert_eq!(said.matches(" breaks a law: ").count(), 1, "{said}");
    }
}

/// Each law by somebody who breaks it and no other, as far as that can be.
#[tokio::test]
async fn each_law_of_a_mapping_is_tried() {
    let alone = "an answer depends on what was asked before or beside it";
    let order = "an answer depends on the order of the rows";
    let again = "an answer is another one when it is asked for again";
    let two = MAPS.replace(
        "\"locals\": [",
        r#""locals": [{"local": {"id": 9, "note": "x"}, "answer": {"row": {"id": 9, "note": "x"}}}, "#,
    );
    let (put, got) = ("what was put is not what is got", "putting back what was got changes the row");
    // Lenses are tried on one row at a time.
    assert_eq!(broken(&two, "shared-beside").await, [alone, put]);
    assert_eq!(broken(MAPS, "local-beside").await, [alone, got]);
    assert_eq!(broken(&two, "shared-first").await, [alone, order]);
    assert_eq!(broken(MAPS, "local-first").await, [alone, order]);
    assert!(broken(MAPS, "shared-alternating").await.contains(&again.to_owned()));
    // What stands there stays, so nothing that is put upon another row is got.
    let upon = MAPS.replace(
        r#"{"shared": {"id": 1, "note": "good"}, "#,
        r#"{"shared": {"id": 1, "note": "good"}, "current": {"id": 1, "note": "other"}, "#,
    );
    assert_eq!(broken(&upon, "local-stubborn").await, [put]);
    // Two rows of the node are one elsewhere, and come back as one of them.
    let loud = MAPS.replace(r#"{"local": {"id": 1, "note": "poison"}, "#, r#"{"local": {"id": 1, "note": "POISON"}, "#);
    assert_eq!(broken(&loud, "shared-lower").await, [got]);
}

#[tokio::test]
async fn the_report_names_the_role() {
    let concord = folder("");
    put(&concord, "hostile");
    concord.write("fixtures/case.json", &CASE.replace("ATTACK", "drop"));
    let said = concord.run(&["plugin", "test", "plugins/hostile.wasm", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 0)).unwrap();
    assert_eq!((&report[0]["role"], &report[0]["rows"]), (&"filter".into(), &2.into()));
    assert_eq!((&report[0]["conflicts"], report[0]["fuel"].as_u64() > Some(0)), (&0.into(), true));
}

/// In bytes and, for people, in KiB: the most that was in use, which is more where rows are large.
#[tokio::test]
async fn the_report_tells_how_much_memory_a_plugin_takes() {
    let concord = folder("");
    put(&concord, "hostile");
    let memory = async |note: &str| {
        let case = CASE.replace("ATTACK", "drop").replace("\"good\"", &format!("\"{note}\""));
        concord.write("fixtures/case.json", &case);
        let said = concord.run(&["plugin", "test", "plugins/hostile.wasm", "--json"]).await;
        let report: serde_json::Value = serde_json::from_str(ended(&said, 0)).unwrap();
        let bytes = report[0]["memory"].as_u64().unwrap_or_default();
        let said = concord.run(&["plugin", "test", "plugins/hostile.wasm"]).await;
        let line = ended(&said, 0).lines().find(|line| line.starts_with("case ")).unwrap_or_default();
        let kib = (bytes >> 10).to_string();
        assert_eq!(line.split_whitespace().nth(3), Some(kib.as_str()), "{bytes} bytes: {}", said.stdout);
        bytes
    };
    let (small, large) = (memory("good").await, memory(&"x".repeat(2 << 20)).await);
    // An instance has more than a page from the beginning.
    assert!(small > 1 << 16 && large > small + (1 << 20), "{small} bytes, and then {large}");
}
