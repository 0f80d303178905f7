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
    let columns = CASE.replace("[\"note\"]", "[\"note\", \"id\"]").replace("ATTACK", "drop");
    let (said, _) = tested(&columns, 1).await;
    assert!(said.contains("columns:\n  answer   note\n  expected id, note\n"), "{said}");
}

#[tokio::test]
async fn laws_of_a_filter_are_tried() {
    let broken = async |fixture: &str, attack: &str| {
        let (said, _) = tested(&fixture.replace("ATTACK", attack), 1).await;
        let laws = said.lines().filter_map(|line| line.split_once(" breaks a law: ").map(|(_, law)| law.to_owned()));
        laws.collect::<Vec<_>>()
    };
    assert_eq!(broken(ONE, "alternating").await, ["an answer is another one when it is asked for again"]);
    assert_eq!(broken(ONE, "first").await, ["an answer depends on the order of the rows"]);
    let beside = "an answer depends on what was asked before or beside it";
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
    let told = "the fixture `case`: `hostile` is a filter and a resolver; `role` has to say for which of them this is";
    assert!(said.contains(told), "{said}");
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
