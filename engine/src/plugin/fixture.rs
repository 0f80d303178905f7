//! Fixtures: cases with the answers that a plugin has to give in one of its roles, as files of JSON beside it.

mod file;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Document};

use self::file::{File, FileRow, row, shape_of};
use super::failure::{Failure, Role};
use super::load::Plugin;
use super::named_once::NamedOnce;
use super::resolver::{Change, Dispute, Resolution, Side};
use super::shape::{Facts, Shape};
use crate::model::{Key, Row, Value, row_to_json};

/// One file: a table, what the plugin is told about it, and conflicts or rows with their answers. For a mapping the table is the
/// node's own.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The file's name without its ending.
    pub name: String,
    pub shape: Shape,
    pub facts: Facts,
    /// What the file says to the plugin, as a JSON object.
    pub config: String,
    /// The code with which it refuses to be opened, if it has to.
    pub refuses: Option<String>,
    /// The names of the columns that a filter has to ask for, if it matters.
    pub columns: Option<Vec<String>>,
    pub conflicts: Vec<Conflict>,
    pub rows: Vec<Judged>,
    /// What a mapping has to make of the table.
    pub made: Option<Shape>,
    pub locals: Vec<Mapped>,
    pub puts: Vec<Mapped>,
    role: Option<Role>,
}

/// A row that a mapping is asked about, and what it makes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    pub row: Row,
    /// What stands at the node where the row is put, if any row does.
    pub current: Option<Row>,
    /// The row, or the code of a failure.
    pub answer: Result<Row, String>,
}

/// A row, and whether it belongs.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub row: Row,
    pub answer: Verdict,
}

/// What a fixture expects of a filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Keep,
    Drop,
    /// A failure with this code.
    Problem(String),
}

/// A conflict, and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    pub key: Key,
    /// In the order of the nodes' names.
    pub versions: Vec<Version>,
    pub latest: usize,
    pub start: usize,
    /// In the order of their times.
    pub changes: Vec<Recorded>,
    pub answer: Answer,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub node: String,
    pub time: i64,
    pub row: Option<Row>,
}

/// A change of the recorded columns. The places of `before` and `after` are those of the whole row.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub node: String,
    pub time: i64,
    pub before: Option<Row>,
    pub after: Option<Row>,
    pub seen_by: Vec<usize>,
}

/// What a fixture expects of a resolver.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Resolution(Resolution),
    /// A failure with this code.
    Problem(String),
}

impl Fixture {
    /// Reads all fixtures of a folder, in the order of their names; or in words what is wrong with one.
    pub fn all(folder: &Path) -> Result<Vec<Fixture>, String> {
        let shown = folder.display();
        let entries = std::fs::read_dir(folder).map_err(|why| match why.kind() {
            std::io::ErrorKind::NotADirectory => format!("{shown} is no folder; fixtures are the files of a folder"),
            _ => format!("{shown} cannot be read: {why}"),
        })?;
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        let read = |path: &std::path::PathBuf| {
            let text =
                std::fs::read_to_string(path).map_err(|why| format!("{} cannot be read: {why}", path.display()))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            Fixture::parse(&name, &text).map_err(|why| format!("{}: {why}", path.display()))
        };
        files.iter().map(read).collect()
    }

    pub fn parse(name: &str, text: &str) -> Result<Fixture, String> {
        serde_json::from_str::<NamedOnce>(text).map_err(|why| why.to_string())?;
        if !text.trim_start().starts_with('{') {
            return Err("a fixture is a JSON object, which docs/src/plugins.md describes".to_owned());
        }
        let file: File = serde_json::from_str(text).map_err(|why| why.to_string())?;
        let role = file.role()?;
        file.tests_something()?;
        let name_of_table = file.table.name.clone();
        let shape = shape_of(file.table.name, file.table.columns, &file.table.key)?;
        let made = file.shape.map(|made| shape_of(name_of_table, made.columns, &made.key)).transpose()?;
        let mut conflicts = Vec::new();
        for (at, conflict) in file.conflicts.into_iter().enumerate() {
            conflicts.push(conflict.read(&shape, &file.nodes).map_err(|why| format!("conflict {}: {why}", at + 1))?);
        }
        let mut rows = Vec::new();
        for (at, FileRow { row: members, answer }) in file.rows.into_iter().enumerate() {
            let row = row(&shape, &members).map_err(|why| format!("row {}: {why}", at + 1))?;
            rows.push(Judged { row, answer });
        }
        let (mut locals, mut puts) = (Vec::new(), Vec::new());
        if let Some(made) = &made {
            for (at, one) in file.locals.into_iter().enumerate() {
                locals.push(one.read(&shape, made).map_err(|why| format!("local {}: {why}", at + 1))?);
            }
            for (at, one) in file.puts.into_iter().enumerate() {
                puts.push(one.read(&shape, made).map_err(|why| format!("put {}: {why}", at + 1))?);
            }
        } else if !file.locals.is_empty() || !file.puts.is_empty() {
            return Err("`shape` has to say what the mapping makes of the table".to_owned());
        }
        if let Some(unknown) = file.columns.iter().flatten().find(|name| shape.place(name).is_none()) {
            return Err(format!("there is no column `{unknown}` to ask for"));
        }
        Ok(Fixture {
            name: name.to_owned(),
            shape,
            facts: Facts { sync: "fixture".to_owned(), nodes: file.nodes },
            config: Document::Object(file.config).to_string(),
            refuses: file.refuses,
            columns: file.columns,
            conflicts,
            rows,
            made,
            locals,
            puts,
            role,
        })
    }

    /// The role in which a plugin is asked; or in words why that cannot be known.
    pub fn role(&self, plugin: &Plugin) -> Result<Role, String> {
        match (self.role, &plugin.roles[..]) {
            (Some(role), _) | (None, &[role]) => Ok(role),
            (None, roles) => {
                let all = roles.iter().map(Role::as_str).collect::<Vec<_>>();
                let which = format!("`role` has to say for which of them this is: {}", all.join(", "));
                Err(format!("`{}` is a {}; {which}", plugin.name, all.join(" and ")))
            }
        }
    }
}

/// The places of the version that was written last, and of the last one with a row. At equal times the node that stands first
/// counts as the later, as in a sync.
pub(super) fn latest(versions: &[Version], nodes: &[String]) -> (usize, usize) {
    let rank = |version: &Version| nodes.iter().position(|node| *node == version.node).unwrap_or(usize::MAX);
    let by_age = |at: &usize| (versions[*at].time, std::cmp::Reverse(rank(&versions[*at])));
    let latest = (0..versions.len()).max_by_key(by_age).unwrap_or(0);
    let with_row = (0..versions.len()).filter(|&at| versions[at].row.is_some()).max_by_key(by_age);
    (latest, with_row.unwrap_or(latest))
}

impl Conflict {
    /// The changes with the recorded columns alone, in the resolver's order.
    pub fn recorded(&self, places: &[usize]) -> Conflict {
        let only = |row: &Option<Row>| row.as_ref().map(|row| places.iter().map(|&at| row[at].clone()).collect());
        let mut conflict = self.clone();
        for change in &mut conflict.changes {
            (change.before, change.after) = (only(&change.before), only(&change.after));
        }
        if places.is_empty() {
            conflict.changes.clear();
        }
        conflict
    }

    pub fn dispute(&self) -> Dispute<'_> {
        Dispute {
            key: &self.key,
            versions: self
                .versions
                .iter()
                .map(|version| Side { node: &version.node, time: version.time, row: version.row.as_ref() })
                .collect(),
            latest: self.latest,
            start: self.start,
            base: self.changes.first().and_then(|change| change.before.clone()),
            changes: self
                .changes
                .iter()
                .map(|change| Change {
                    node: &change.node,
                    time: change.time,
                    before: change.before.as_ref(),
                    after: change.after.as_ref(),
                    seen_by: change.seen_by.clone(),
                })
                .collect(),
        }
    }
}

impl Answer {
    /// What a resolver answered.
    pub fn of(answer: &Result<Resolution, Failure>) -> Answer {
        match answer {
            Ok(resolution) => Answer::Resolution(resolution.clone()),
            Err(failure) => Answer::Problem(failure.code.to_string()),
        }
    }

    /// In the words of a fixture's file.
    pub fn told(&self, shape: &Shape, conflict: &Conflict) -> String {
        self.document(shape, conflict).to_string()
    }

    pub(super) fn document(&self, shape: &Shape, conflict: &Conflict) -> Document {
        let names = || shape.columns.iter().map(|column| column.name.as_str());
        let one = |name: &str, value: Document| Document::Object(Map::from_iter([(name.to_owned(), value)]));
        match self {
            Answer::Resolution(Resolution::Take(at)) => one("take", conflict.versions[*at].node.as_str().into()),
            Answer::Resolution(Resolution::Merged(row)) => one("merged", row_to_json(names(), row)),
            Answer::Resolution(Resolution::Delete) => "delete".into(),
            Answer::Resolution(Resolution::Park(why)) => one("park", why.as_str().into()),
            Answer::Problem(code) => one("problem", code.as_str().into()),
        }
    }
}

impl Verdict {
    /// What a filter answered.
    pub fn of(answer: &Result<bool, Failure>) -> Verdict {
        match answer {
            Ok(true) => Verdict::Keep,
            Ok(false) => Verdict::Drop,
            Err(failure) => Verdict::Problem(failure.code.to_string()),
        }
    }

    /// In the words of a fixture's file.
    pub fn told(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The row that an answer comes to; `None` where it is deleted or left to a person.
pub(super) fn outcome<'a>(conflict: &'a Conflict, resolution: &'a Resolution) -> Option<&'a [Value]> {
    match resolution {
        Resolution::Take(at) => conflict.versions[*at].row.as_deref(),
        Resolution::Merged(row) => Some(row),
        Resolution::Delete | Resolution::Park(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "table": {"name": "items", "columns": {"id": "integer", "note": "text", "stock": "integer"}, "key": ["id"]},
        "nodes": ["office", "branch"],
        "config": {"a": 1},
        "conflicts": [{
            "versions": [
                {"node": "office", "time": 5, "row": {"id": 1, "note": "a", "stock": 3}},
                {"node": "branch", "time": 5, "row": null}
            ],
            "changes": [{"node": "office", "time": 5, "before": {"stock": 2}, "after": {"stock": 3}, "seen_by": ["office"]}],
            "answer": {"take": "office"}
        }]
    }"#;

    #[test]
    fn a_file_becomes_what_a_sync_would_tell() {
        let fixture = Fixture::parse("x", FILE).unwrap();
        let conflict = &fixture.conflicts[0];
        let names: Vec<&str> = conflict.versions.iter().map(|version| version.node.as_str()).collect();
        assert_eq!((names, conflict.latest, conflict.start), (vec!["branch", "office"], 1, 1));
        assert_eq!(conflict.answer, Answer::Resolution(Resolution::Take(1)));
        assert_eq!(conflict.changes[0].seen_by, [1]);
        let recorded = conflict.recorded(&[2]);
        assert_eq!(recorded.changes[0].before.as_deref(), Some(&[Value::Int(2)][..]));
        assert_eq!(conflict.answer.told(&fixture.shape, conflict), r#"{"take":"office"}"#);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        let why = |from: &str, to: &str| Fixture::parse("x", &FILE.replace(from, to)).unwrap_err();
        assert_eq!(why(r#""stock": 3}"#, r#""stok": 3}"#), "conflict 1: there is no column `stok`");
        assert_eq!(why(r#""note": "a""#, r#""note": 7"#), "conflict 1: 7 is no text for `note`");
        assert_eq!(why(r#"{"take": "office"}"#, r#"{"take": "attic"}"#), "conflict 1: there is no version of `attic`");
        assert!(why(r#""nodes""#, r#""node""#).contains("unknown field `node`"));
        assert_eq!(why(r#"["id"]"#, "[]"), "the table has no key");
        let office = r#""office", "time": 5, "row""#;
        assert!(
            why(office, &office.replace("office", "branch"))
                .starts_with("conflict 1: there are two versions of `branch`")
        );
        assert!(why(r#"["office", "branch"]"#, r#"["office"]"#).contains("`branch` is not among the `nodes`"));
        let both = why("\"row\": null", r#""row": {"id": 2}"#);
        assert_eq!(both, "conflict 1: its versions have different keys, and are of different rows");
        let kind = why(r#""stock": "integer""#, r#""stock": "int""#);
        assert!(kind.contains("3 is no text") && kind.contains("`integer`"), "{kind}");
        assert!(Fixture::parse("x", "[]").unwrap_err().starts_with("a fixture is a JSON object"));
        assert!(Fixture::parse("x", "7").unwrap_err().starts_with("a fixture is a JSON object"));
        assert!(Fixture::parse("x", "[").unwrap_err().starts_with("EOF while parsing"));
    }

    #[test]
    fn nothing_is_named_twice() {
        let why = |from: &str, to: &str| Fixture::parse("x", &FILE.replace(from, to)).unwrap_err();
        let row = why(r#""note": "a", "stock": 3"#, r#""note": "a", "stock": 1.5, "stock": 3"#);
        assert!(row.starts_with("`stock` is named twice at line 7 "), "{row}");
        assert!(why(r#"{"a": 1}"#, r#"{"a": 1, "b": [{"c": 0, "c": null}]}"#).starts_with("`c` is named twice"));
        assert!(why(r#""id": "integer", "#, r#""id": "text", "id": "integer", "#).starts_with("`id` is named twice"));
        assert!(why(r#""config""#, r#""config": {}, "config""#).starts_with("`config` is named twice"));
    }

    #[test]
    fn a_fixture_tests_something() {
        let bare = |members: &str| {
            let table = r#""table": {"name": "items", "columns": {"id": "integer"}, "key": ["id"]}"#;
            Fixture::parse("x", &format!("{{{table}{members}}}"))
        };
        for nothing in ["", r#", "rows": []"#, r#", "role": "filter", "config": {"a": 1}, "conflicts": [], "puts": []"#]
        {
            let why = bare(nothing).unwrap_err();
            assert!(why.starts_with("it tests nothing: write cases, "), "{nothing}: {why}");
        }
        // What it asks for and what it makes is tested too.
        let shape = r#", "shape": {"columns": {"id": "integer"}, "key": ["id"]}"#;
        for something in [r#", "refuses": "x""#, r#", "rows": [], "columns": ["id"]"#, shape] {
            assert!(bare(something).is_ok(), "{something}");
        }
        let both = FILE.replace(r#""config""#, r#""refuses": "x", "config""#);
        let why = Fixture::parse("x", &both).unwrap_err();
        assert!(why.starts_with("it `refuses`, and of what is refused no case is asked about"), "{why}");
    }

    #[test]
    fn rows_are_for_a_filter() {
        let file = r#"{
            "table": {"name": "items", "columns": {"id": "integer", "note": "text"}, "key": ["id"]},
            "columns": ["note"],
            "rows": [
                {"row": {"id": 1, "note": "a"}, "answer": "keep"},
                {"row": {"id": 2}, "answer": {"problem": "null"}}
            ]
        }"#;
        let fixture = Fixture::parse("x", file).unwrap();
        assert_eq!(fixture.role, Some(Role::Filter));
        let second = &fixture.rows[1];
        assert_eq!(
            (&second.row[..], second.answer.told().as_str()),
            (&[Value::Int(2), Value::Null][..], r#"{"problem":"null"}"#)
        );
        let why = |from: &str, to: &str| Fixture::parse("x", &file.replace(from, to)).unwrap_err();
        assert_eq!(why(r#""id": 2"#, r#""no": 2"#), "row 2: there is no column `no`");
        assert_eq!(why(r#"["note"]"#, r#"["not"]"#), "there is no column `not` to ask for");
        assert!(why(r#""keep""#, r#""keeps""#).starts_with("unknown variant `keeps`"));
        let other = why(r#""rows""#, r#""role": "resolver", "rows""#);
        assert_eq!(other, "its role is resolver, and its cases are for a filter");
        assert!(why(r#""rows""#, r#""role": "map", "rows""#).starts_with("unknown variant `map`"));
        let both = FILE.replace(r#""nodes""#, r#""rows": [{"row": {"id": 1}, "answer": "drop"}], "nodes""#);
        let why = Fixture::parse("x", &both).unwrap_err();
        assert!(why.starts_with("conflicts are for a resolver, rows and columns for a filter, "), "{why}");
    }

    #[test]
    fn what_a_mapping_makes_is_told_beforehand() {
        let file = r#"{
            "table": {"name": "items", "columns": {"id": "integer", "cents": "integer"}, "key": ["id"]},
            "shape": {"columns": {"id": "integer", "price": "decimal"}, "key": ["id"]},
            "locals": [{"local": {"id": 1, "cents": 250}, "answer": {"row": {"id": 1, "price": "2.50"}}}],
            "puts": [
                {"shared": {"id": 1, "price": "0.001"}, "current": {"id": 1, "cents": 3}, "answer": {"problem": "small"}}
            ]
        }"#;
        let fixture = Fixture::parse("x", file).unwrap();
        assert_eq!(fixture.role, Some(Role::Mapping));
        assert_eq!(fixture.puts[0].current.as_deref(), Some(&[Value::Int(1), Value::Int(3)][..]));
        assert_eq!(fixture.puts[0].answer, Err("small".to_owned()));
        let why = |from: &str, to: &str| Fixture::parse("x", &file.replace(from, to)).unwrap_err();
        assert_eq!(why(r#""cents": 250"#, r#""price": 250"#), "local 1: there is no column `price`");
        assert_eq!(why(r#""price": "0.001""#, r#""price": "x""#), "put 1: \"x\" is no decimal for `price`");
        let shape = r#""shape": {"columns": {"id": "integer", "price": "decimal"}, "key": ["id"]},"#;
        assert_eq!(why(shape, ""), "`shape` has to say what the mapping makes of the table");
    }
}
