//! A plugin that does everything that a plugin must not. Which of it, its configuration says: `{"attack": "…"}`.
//!
//! A row whose text column (the second) says `poison` is the one that goes wrong; all others are answered well, by taking
//! the first version.

wit_bindgen::generate!({ path: "../../../wit", world: "every-role", generate_all });

use std::cell::{Cell, RefCell};
use std::hint::black_box;

use concord::plugin::log::{Level, log};
use concord::plugin::types::{Column, Context, Problem, Row, Table, Value};
use exports::concord::plugin::describe::{Description, Guest as Describe};
use exports::concord::plugin::filter::{Guest as Filter, Verdict};
use exports::concord::plugin::mapping::{Guest as Mapping, Put};
use exports::concord::plugin::resolver::{Conflict, Guest as Resolver, Needs, Resolution};

#[link(wasm_import_module = "concord:plugin/log@0.1.0")]
unsafe extern "C" {
    /// What the bindings call, for whoever does not keep to its rules.
    #[link_name = "log"]
    fn log_as_it_is(level: i32, text: *const u8, length: usize);
}

struct Hostile;

thread_local! {
    static ATTACK: RefCell<String> = const { RefCell::new(String::new()) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn attack() -> String {
    ATTACK.with_borrow(Clone::clone)
}

fn problem(code: &str, message: &str) -> Problem {
    Problem { code: code.into(), message: message.into(), column: Some("note".into()), hint: Some("a hint".into()) }
}

/// No UTF-8, which the bindings take on trust.
fn no_text() -> String {
    unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe]) }
}

/// More than any answer may be.
fn giant() -> String {
    "x".repeat(100 << 20)
}

/// So many of them that memory ends before fuel does.
fn small_answers<A: Clone>(answer: &A) -> ! {
    let mut answers = Vec::new();
    loop {
        answers.push(answer.clone());
        black_box(&answers);
    }
}

fn endless() -> ! {
    let mut n = 0u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

fn deep(n: u64) -> u64 {
    if black_box(n) == 0 { 0 } else { deep(black_box(n + 1)) + black_box(1) }
}

fn bomb() {
    loop {
        KEPT.with_borrow_mut(|kept| kept.push(vec![1; 1 << 20]));
    }
}

/// What breaks an instance down, wherever it is done.
fn break_down(how: &str) {
    match how {
        "loop" => endless(),
        "recursion" => {
            black_box(deep(1));
        }
        "memory" => bomb(),
        "panic" => panic!("a panic on purpose"),
        "abort" => std::process::abort(),
        "index" => {
            let list: Vec<u8> = black_box(Vec::new());
            black_box(list[black_box(3)]);
        }
        "divide" => {
            black_box(1i32.wrapping_div(black_box(0)));
        }
        "unaligned" => {
            // Far outside of the memory.
            let nowhere = black_box(usize::MAX - 8) as *const u8;
            black_box(unsafe { nowhere.read_volatile() });
        }
        "log-flood" => (0..5_000).for_each(|n| log(Level::Info, &format!("line {n}"))),
        "log-long" => log(Level::Info, &"x".repeat(1 << 20)),
        "log-control" => log(Level::Info, "one\nERROR forged\u{1b}[31m"),
        "log-nowhere" => unsafe { log_as_it_is(1, black_box((usize::MAX - 8) as *const u8), 64) },
        "log-giant" => unsafe { log_as_it_is(1, black_box(std::ptr::dangling()), usize::MAX) },
        "log-invalid" => unsafe { log_as_it_is(1, [0xff_u8, 0xfe].as_ptr(), 2) },
        "log-level" => unsafe { log_as_it_is(9, b"a line".as_ptr(), 6) },
        "log-endless" => loop {
            log(Level::Debug, "again");
        },
        _ => {}
    }
}

impl Describe for Hostile {
    fn describe() -> Description {
        Description {
            name: "hostile".into(),
            version: "0.1.0".into(),
            summary: "Everything that a plugin must not do".into(),
            config_schema:
                r#"{"type": "object", "required": ["attack"], "properties": {"attack": {"type": "string"}}}"#.into(),
            facts: Vec::new(),
        }
    }
}

/// Remembers the attack; those of `open` are made at once.
fn open(context: &Context) -> Result<(), Problem> {
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
    let config: serde_json::Value = serde_json::from_str(&context.config).expect("JSON");
    let attack = config["attack"].as_str().expect("an attack").to_owned();
    if let Some(how) = attack.strip_prefix("open-") {
        if how == "refuse" {
            return Err(problem("no-thanks", "this table is not to my liking"));
        }
        break_down(how);
    }
    ATTACK.set(attack);
    Ok(())
}

fn is_poison(conflict: &Conflict) -> bool {
    let rows = conflict.versions.iter().filter_map(|version| version.row.as_ref());
    rows.flatten().any(|value| matches!(value, Value::Text(text) if text == "poison"))
}

impl Resolver for Hostile {
    fn open(context: Context) -> Result<Needs, Problem> {
        open(&context)?;
        let recorded = match attack().as_str() {
            "record-unknown" => vec!["nothing".into()],
            "record-key" => vec!["id".into()],
            "record-twice" => vec!["note".into(), "note".into()],
            "record-invalid" => vec![no_text()],
            "odd-names" | "odd-times" | "odd-nulls" => vec!["stock".into()],
            _ => Vec::new(),
        };
        Ok(Needs { recorded, facts: Vec::new() })
    }

    fn resolve(conflicts: Vec<Conflict>) -> Vec<Result<Resolution, Problem>> {
        let attack = attack();
        CALLS.set(CALLS.get() + 1);
        match attack.as_str() {
            "none" => return Vec::new(),
            "one-answer" => return vec![Ok(Resolution::Take(conflicts[0].latest))],
            "too-few" => return conflicts[1..].iter().map(|_| Ok(Resolution::Take(0))).collect(),
            "too-many" => return std::iter::repeat_n(Ok(Resolution::Take(0)), conflicts.len() + 1).collect(),
            "giant" => return vec![Ok(Resolution::Park(giant()))],
            "endless-answers" => {
                let mut answers: Vec<Result<Resolution, Problem>> = Vec::new();
                loop {
                    answers.push(Ok(Resolution::Park("again".into())));
                }
            }
            "shared" => return shared(),
            "alternating" => return conflicts.iter().map(|_| Ok(Resolution::Take(CALLS.get() % 2))).collect(),
            "growing" => return conflicts.iter().map(grown).collect(),
            "beside" => {
                // Of several the latest, of one the other.
                let several = conflicts.len() > 1;
                let take = |conflict: &Conflict| Ok(Resolution::Take((conflict.latest + u32::from(!several)) % 2));
                return conflicts.iter().map(take).collect();
            }
            "odd-order" => return conflicts.iter().map(odd).collect(),
            "odd-names" | "odd-times" | "odd-nulls" => {
                return conflicts.iter().map(|conflict| odd_by_changes(&attack, conflict)).collect();
            }
            "rounding" => return conflicts.iter().map(rounded).collect(),
            "mean" => return conflicts.iter().map(mean).collect(),
            "shown" => return conflicts.iter().map(shown).collect(),
            "middle" => {
                // Of three, who stands there is the same the other way round.
                let middle = |conflict: &Conflict| if conflict.versions.len() == 3 { 1 } else { conflict.latest };
                return conflicts.iter().map(|conflict| Ok(Resolution::Take(middle(conflict)))).collect();
            }
            "latest" => return conflicts.iter().map(|conflict| Ok(Resolution::Take(conflict.latest))).collect(),
            "third-call" if CALLS.get().is_multiple_of(3) => panic!("the third call"),
            "first-call" if CALLS.get() == 1 => panic!("the first call"),
            "log-flood" | "log-long" | "log-control" => break_down(&attack),
            _ => {}
        }
        let good = Ok(Resolution::Take(0));
        conflicts
            .into_iter()
            .map(|conflict| if is_poison(&conflict) { poisoned(&attack, conflict) } else { good.clone() })
            .collect()
    }
}

/// A list of many rows that all lie in the same memory: small here, large for whoever copies it.
fn shared() -> Vec<Result<Resolution, Problem>> {
    let text = "y".repeat(1 << 20);
    std::iter::repeat_with(|| Ok(Resolution::Park(text.clone()))).take(70).collect()
}

/// The latest version, with one letter more each time it is asked about.
fn grown(conflict: &Conflict) -> Result<Resolution, Problem> {
    let mut row = conflict.versions[conflict.latest as usize].row.clone().expect("a row");
    if let Value::Text(note) = &mut row[1] {
        note.push('x');
    }
    Ok(Resolution::Merged(row))
}

/// The latest version, but the first where some note has a `q` and there are three.
fn odd(conflict: &Conflict) -> Result<Resolution, Problem> {
    let notes = conflict.versions.iter().filter_map(|version| version.row.as_ref()).flatten();
    let odd = notes.into_iter().any(|value| matches!(value, Value::Text(text) if text.contains('q')));
    Ok(Resolution::Take(if odd && conflict.versions.len() > 2 { 0 } else { conflict.latest }))
}

/// The latest version, but the first where there is something about the changes that is rare.
fn odd_by_changes(attack: &str, conflict: &Conflict) -> Result<Resolution, Problem> {
    let changes = &conflict.changes;
    let odd = match attack {
        "odd-names" => changes.windows(2).any(|pair| pair[0].node > pair[1].node),
        "odd-times" => changes.windows(2).any(|pair| pair[0].time == pair[1].time),
        _ => conflict.base.iter().flatten().any(|value| matches!(value, Value::Null)) && changes.len() > 1,
    };
    Ok(Resolution::Take(if odd { 0 } else { conflict.latest }))
}

fn rounding(value: Value) -> Value {
    match value {
        Value::Integer(number) => Value::Integer(number as f64 as i64),
        other => other,
    }
}

/// The latest version, as where integers are floats.
fn rounded(conflict: &Conflict) -> Result<Resolution, Problem> {
    let row = conflict.versions[conflict.latest as usize].row.clone().expect("a row");
    Ok(Resolution::Merged(row.into_iter().map(rounding).collect()))
}

/// The latest version with the mean of what all have in stock, which is another one once the latest has it.
fn mean(conflict: &Conflict) -> Result<Resolution, Problem> {
    let stock = conflict.versions.iter().filter_map(|version| match version.row.as_ref()?.get(2)? {
        Value::Integer(stock) => Some(i128::from(*stock)),
        _ => None,
    });
    let stock: Vec<i128> = stock.collect();
    let mut row = conflict.versions[conflict.latest as usize].row.clone().expect("a row");
    if !stock.is_empty() {
        row[2] = Value::Integer((stock.iter().sum::<i128>() / stock.len() as i128) as i64);
    }
    Ok(Resolution::Merged(row))
}

/// The first version, with the notes of all versions and their nodes as they are shown.
fn shown(conflict: &Conflict) -> Result<Resolution, Problem> {
    let told = conflict.versions.iter().map(|version| match version.row.as_ref().map(|row| &row[1]) {
        Some(Value::Text(note)) => format!("{}: {note}", version.node),
        _ => format!("{}: nothing", version.node),
    });
    let told = told.collect::<Vec<_>>().join(", ");
    let mut row = conflict.versions.iter().find_map(|version| version.row.clone()).expect("a row");
    row[1] = Value::Text(told);
    Ok(Resolution::Merged(row))
}

fn poisoned(attack: &str, conflict: Conflict) -> Result<Resolution, Problem> {
    let row = || conflict.versions.iter().find_map(|version| version.row.clone()).expect("a row");
    let with = |place: usize, value: Value| {
        let mut row = row();
        row[place] = value;
        Ok(Resolution::Merged(row))
    };
    match attack {
        "problem" => Err(problem("bad-note", "the note is poison")),
        "problem-invalid" => Err(problem("bad-note", &no_text())),
        "problem-long" => Err(problem("x".repeat(5_000).as_str(), &"y\n".repeat(5_000))),
        "park" => Ok(Resolution::Park("a person has to look".into())),
        "park-long" => Ok(Resolution::Park("z".repeat(100_000))),
        "take-far" => Ok(Resolution::Take(7)),
        "other" => Ok(Resolution::Other("quantum".into())),
        "short" => Ok(Resolution::Merged(row()[1..].to_vec())),
        "long" => Ok(Resolution::Merged(row().into_iter().chain([Value::Null]).collect())),
        "key" => with(0, Value::Integer(-1)),
        "null-key" => with(0, Value::Null),
        "kind" => with(2, Value::Text("many".into())),
        "other-value" => with(1, Value::Other(("point".into(), "1,2".into()))),
        "decimal" => with(1, Value::Decimal("1e9".into())),
        "delete" => Ok(Resolution::Delete),
        "merged" => with(1, Value::Text("cured".into())),
        "invalid-text" => with(1, Value::Text(no_text())),
        "kept" => {
            // State that is kept between calls makes no difference to the host.
            KEPT.with_borrow_mut(|kept| kept.push(vec![0; 1 << 16]));
            Ok(Resolution::Take(0))
        }
        how => {
            break_down(how);
            Ok(Resolution::Take(0))
        }
    }
}

impl Filter for Hostile {
    fn open(context: Context) -> Result<Vec<String>, Problem> {
        open(&context)?;
        Ok(match attack().as_str() {
            "want-unknown" => vec!["nothing".into()],
            "want-twice" => vec!["note".into(), "note".into()],
            "want-invalid" => vec![no_text()],
            _ => vec!["note".into()],
        })
    }

    fn judge(rows: Vec<Row>) -> Vec<Result<Verdict, Problem>> {
        let attack = attack();
        CALLS.set(CALLS.get() + 1);
        let keep = |keep: bool| Ok(if keep { Verdict::Keep } else { Verdict::Drop });
        match attack.as_str() {
            "none" => return Vec::new(),
            "one-answer" => return vec![keep(true)],
            "alternating" => return rows.iter().map(|_| keep(CALLS.get() % 2 == 1)).collect(),
            "first" => return (0..rows.len()).map(|at| keep(at == 0)).collect(),
            "beside" => return rows.iter().map(|_| keep(rows.len() > 1)).collect(),
            "too-many" => return std::iter::repeat_n(Ok(Verdict::Keep), rows.len() + 1).collect(),
            "endless-answers" => small_answers(&Ok::<_, Problem>(Verdict::Keep)),
            _ => {}
        }
        if let Some(letters) = attack.strip_prefix("begins-") {
            // Well-behaved: rows that begin with one of these letters belong.
            let belongs =
                |row: Row| matches!(&row[..], [Value::Text(text)] if text.starts_with(|first| letters.contains(first)));
            return rows.into_iter().map(|row| Ok(if belongs(row) { Verdict::Keep } else { Verdict::Drop })).collect();
        }
        let verdict = |row: Row| {
            if !matches!(&row[..], [Value::Text(text)] if text == "poison") {
                return Ok(Verdict::Keep);
            }
            match attack.as_str() {
                "drop" => Ok(Verdict::Drop),
                "other" => Ok(Verdict::Other("maybe".into())),
                "problem" => Err(problem("bad-note", "the note is poison")),
                "problem-invalid" => Err(problem("bad-note", &no_text())),
                "giant" => Err(problem("bad-note", &giant())),
                how => {
                    break_down(how);
                    Ok(Verdict::Keep)
                }
            }
        };
        rows.into_iter().map(verdict).collect()
    }
}

impl Mapping for Hostile {
    fn open(context: Context) -> Result<Table, Problem> {
        open(&context)?;
        let mut table = context.table;
        let named =
            |name: &str, kind: &str| Column { name: name.into(), kind: kind.into(), key: false, facts: Vec::new() };
        match attack().as_str() {
            "make-no-key" => table.columns[0].key = false,
            "make-two-keys" => table.columns[1].key = true,
            "make-other-key" => table.columns[0].kind = "text".into(),
            "make-twice" => table.columns.push(named("NOTE", "text")),
            "make-kind" => table.columns.push(named("price", "money")),
            "make-nameless" => table.columns.push(named("", "text")),
            "make-nothing" => table.columns.clear(),
            "make-invalid" => table.columns.push(named(&no_text(), "text")),
            how if how.ends_with("-uncopied") => table.columns[2].facts.push(("copy-of".into(), "stock".into())),
            _ => {}
        }
        Ok(table)
    }

    fn to_shared(locals: Vec<Row>) -> Vec<Result<Row, Problem>> {
        match attack().strip_prefix("shared-") {
            Some("lower") => locals.into_iter().map(|row| Ok(lower(row))).collect(),
            Some(attack) => mapped(attack, locals),
            None => locals.into_iter().map(Ok).collect(),
        }
    }

    fn to_local(puts: Vec<Put>) -> Vec<Result<Row, Problem>> {
        if attack() == "local-stubborn" {
            // What stands there stays, whatever is put.
            return puts.into_iter().map(|put| Ok(put.current.unwrap_or(put.shared))).collect();
        }
        let rows: Vec<Row> = puts.into_iter().map(|put| put.shared).collect();
        match attack().strip_prefix("local-") {
            Some(attack) => mapped(attack, rows),
            None => rows.into_iter().map(Ok).collect(),
        }
    }
}

fn lower(mut row: Row) -> Row {
    if let Value::Text(note) = &mut row[1] {
        note.make_ascii_lowercase();
    }
    row
}

/// Rows as they are, but for those that are poison.
fn mapped(attack: &str, rows: Vec<Row>) -> Vec<Result<Row, Problem>> {
    CALLS.set(CALLS.get() + 1);
    match attack {
        "none" => return Vec::new(),
        "one-answer" => return vec![Ok(rows[0].clone())],
        "too-many" => return std::iter::repeat_n(Ok(rows[0].clone()), rows.len() + 1).collect(),
        "endless-answers" => small_answers(&Ok::<_, Problem>(Row::new())),
        "alternating" if CALLS.get().is_multiple_of(2) => {
            return rows.iter().map(|_| Err(problem("even", "an even call"))).collect();
        }
        "rounding" => return rows.into_iter().map(|row| Ok(row.into_iter().map(rounding).collect())).collect(),
        "swapped" => return rows.into_iter().rev().map(Ok).collect(),
        "first" | "beside" => {
            let is_taken = |at: usize| if attack == "first" { at == 0 } else { rows.len() > 1 };
            let answer = |(at, row): (usize, &Row)| match is_taken(at) {
                true => Ok(row.clone()),
                false => Err(problem("place", "it stands elsewhere")),
            };
            return rows.iter().enumerate().map(answer).collect();
        }
        _ => {}
    }
    let one = |mut row: Row| {
        if !matches!(&row[1], Value::Text(text) if text == "poison") {
            return Ok(row);
        }
        match attack {
            "problem" => return Err(problem("bad-note", "the note is poison")),
            "problem-invalid" => return Err(problem("bad-note", &no_text())),
            "giant" => row[1] = Value::Text(giant()),
            "invalid-text" => row[1] = Value::Text(no_text()),
            "short" => row.truncate(2),
            "long" => row.push(Value::Null),
            "key" => row[0] = Value::Integer(-1),
            "null-key" => row[0] = Value::Null,
            "kind" => row[2] = Value::Text("many".into()),
            "other-value" => row[1] = Value::Other(("point".into(), "1,2".into())),
            "uncopied" => row[2] = Value::Integer(7),
            "lawless" => row[1] = Value::Text("cured".into()),
            how => break_down(how),
        }
        Ok(row)
    };
    rows.into_iter().map(one).collect()
}

export!(Hostile);
