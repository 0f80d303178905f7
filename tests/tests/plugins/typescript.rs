//! The plugin in TypeScript, made as its README says, and one that was begun by `concord plugin new`.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use concord::model::{Decimal, Json, Key, Row, Type, Value};
use concord::plugin::{Dispute, Failure, Limits, Resolution, Resolver, Shape, ShapeColumn, Side};
use concord_tests::{Cluster, Concord, Kind, Output, guests};

use super::{Cases, facts, items, load};

/// Makes a plugin of what is in a folder, by its own script, and puts it beside the compiled ones. No two builds are alike and
/// each has to be compiled anew, so one that was made of the same is kept.
fn made(folder: &Path, source: &str, name: &str) {
    let plugins = guests::plugins();
    let (plugin, note) = (plugins.join(format!("{name}.wasm")), plugins.join(format!("{name}.made-of")));
    let lock = File::create(plugins.join(".typescript")).expect("a lock");
    lock.lock().expect("a lock");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_else(|why| panic!("{file}: {why}"));
    let wit = std::fs::read_to_string(guests::root().join("wit/plugin.wit")).expect("the interface");
    let of = [source, "build", "tsconfig.json", "package-lock.json"].map(read).concat() + &wit;
    if plugin.is_file() && std::fs::read_to_string(&note).is_ok_and(|old| old == of) {
        return;
    }
    let tools = guests::said(&mut Command::new(guests::root().join("scripts/componentize-js")));
    let draft = plugins.join(format!("{name}.draft"));
    guests::said(Command::new("sh").arg(folder.join("build")).arg(tools.trim()).arg(&draft));
    std::fs::rename(&draft, &plugin).expect("the plugin is put there");
    std::fs::write(&note, of).expect("the note is written");
}

/// The example.
fn shortest() {
    made(&guests::root().join("examples/plugins/typescript"), "shortest.ts", "shortest");
}

fn ended(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}{}", output.stdout, output.stderr);
    &output.stdout
}

#[tokio::test]
async fn the_shortest_text_wins() {
    shortest();
    load("shortest", Limits::default()).expect("it is compiled here, with time enough");
    let mut folder = Concord::new("");
    folder.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    let plugin = guests::plugins().join("shortest.wasm").display().to_string();
    let said = folder.run(&["plugin", "check", &plugin]).await;
    assert!(ended(&said, 0).contains("The version with the shortest text in a column wins"), "{}", said.stdout);
    let fixtures = guests::root().join("examples/plugins/typescript/fixtures").display().to_string();
    ended(&folder.run(&["plugin", "test", &plugin, "--fixtures", &fixtures]).await, 0);
}

#[tokio::test]
async fn conflicts_are_decided_by_it() {
    shortest();
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, note text); INSERT INTO items VALUES (1, 'a'), (2, 'b')".to_owned()
    };
    let tables = "[tables.items]\nconflict = { plugin = \"shortest\", column = \"note\" }";
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, tables).await;
    cluster.pin(&["shortest"]);
    cluster.install().await;
    cluster
        .later(0, "UPDATE items SET note = 'äöü' WHERE id = 1; UPDATE items SET note = 'rather long' WHERE id = 2")
        .await;
    cluster.later(1, "UPDATE items SET note = 'four' WHERE id = 1; UPDATE items SET note = 'short' WHERE id = 2").await;
    assert_eq!(cluster.settle().await.conflicts, 2);
    cluster.holds("SELECT id, note FROM items ORDER BY id", &["1|äöü", "2|short"]).await;
    // What it refuses.
    cluster.configure(&tables.replace("\"note\"", "\"nothing\""));
    let error = cluster.session().sync().await.expect_err("no such column").to_string();
    assert!(error.contains("`nothing`: `items` has no such column (unknown-column)"), "{error}");
}

/// It is the example, but for names and places; that it can be built is seen below.
#[tokio::test]
async fn it_is_begun_with_the_example() {
    let folder = Concord::new("");
    ended(&folder.run(&["plugin", "new", "my-rule", "--lang", "ts"]).await, 0);
    let read = |file: &str| std::fs::read_to_string(folder.path("my-rule").join(file)).expect("a file");
    let example = guests::root().join("examples/plugins/typescript/shortest.ts");
    let example = std::fs::read_to_string(example).expect("the example").replace("'shortest'", "'my-rule'");
    assert_eq!(read("plugin.ts"), example);
    for file in ["README.md", "build", "package.json", "package-lock.json", "tsconfig.json"] {
        assert!(!read(file).contains("shortest.") && !read(file).contains("\"shortest\""), "{file}: {}", read(file));
    }
    assert!(read("README.md").contains("plugin test my-rule.wasm"), "{}", read("README.md"));
    assert_eq!(read("wit/plugin.wit"), std::fs::read_to_string(guests::root().join("wit/plugin.wit")).unwrap());
}

/// A folder in which a plugin was begun, with this source in place of that with which it was begun.
async fn begun(source: &str) -> Concord {
    let folder = Concord::new("");
    ended(&folder.run(&["plugin", "new", "mirror", "--lang", "typescript"]).await, 0);
    folder.write("mirror/plugin.ts", source);
    folder
}

/// The source of a guest.
fn source() -> String {
    std::fs::read_to_string(guests::root().join("tests/guests/mirror/plugin.ts")).expect("a guest")
}

async fn mirror(limits: Limits, shape: Shape, config: &str) -> Result<Resolver, Failure> {
    let folder = begun(&source()).await;
    made(&folder.path("mirror"), "plugin.ts", "mirror");
    Resolver::open(Arc::new(load("mirror", limits)?), shape, config, &facts())
}

/// What it answers to versions of one key, the second of which is the later.
fn answer(mirror: &Resolver, first: &Row, second: &Row) -> Result<Resolution, Failure> {
    let key = Key::from([second[0].clone()]);
    let versions =
        vec![Side { node: "branch", time: 1, row: Some(first) }, Side { node: "office", time: 2, row: Some(second) }];
    let dispute = Dispute { key: &key, versions, latest: 1, start: 1, base: None, changes: Vec::new() };
    mirror.resolve(&[dispute]).remove(0)
}

#[tokio::test]
async fn values_of_all_kinds_come_back_bit_by_bit() {
    let decimal = |text: &str| Value::Decimal(Decimal::parse(text).expect("a decimal"));
    let whole = [0, 1, -1, 1 << 53, (1 << 53) + 1, -(1 << 53) - 1, i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX];
    let mut values = vec![(Type::Text, Value::Null), (Type::Bool, Value::Bool(true)), (Type::Bool, Value::Bool(false))];
    values.extend(whole.map(|v| (Type::Int, Value::Int(v))));
    values.extend([1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX].map(|v| (Type::Int, Value::Uint(v))));
    let floats = [0.0, -0.0, 0.1, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    values.extend(floats.map(|v| (Type::Float, Value::Float(v))));
    let decimals = ["-123456789012345678901234567890.00123000", "0.10", "NaN", "-Infinity"];
    values.extend(decimals.map(|v| (Type::Decimal, decimal(v))));
    let texts = ["", "\0", "äöü 🦀 e\u{301}", "\u{feff}\r\n", "\u{ffff}\u{10ffff}"];
    values.extend(texts.map(|v| (Type::Text, Value::text(v))));
    values.extend([vec![], (0..=255).collect()].map(|v: Vec<u8>| (Type::Bytes, Value::Bytes(v.into()))));
    values.extend([i32::MIN, -1, 0, i32::MAX].map(|v| (Type::Date, Value::Date(v))));
    values.extend([-3_020_399_999_999, 86_399_999_999].map(|v| (Type::Time, Value::Time(v))));
    values.extend(whole.map(|v| (Type::Timestamp, Value::Timestamp(v))));
    values.extend(whole.map(|v| (Type::Instant, Value::Instant(v))));
    let documents = ["{\"b\": 1.10, \"a\": [null], \"a\": 12345678901234567890}", "\"\\u00e4\""];
    values.extend(documents.map(|v| (Type::Json, Value::Json(Json::new(v)))));
    values.push((Type::Uuid, Value::Uuid([0x6b; 16])));
    values.push((Type::Native("inet".into()), Value::text("10.0.0.1/8")));

    let mut shape = Shape { name: "items".to_owned(), columns: Vec::new(), key: vec![0] };
    values.insert(0, (Type::Int, Value::Int(i64::MIN + 1)));
    values.insert(1, (Type::Text, Value::text("as it is")));
    for (at, (ty, _)) in values.iter().enumerate() {
        shape.columns.push(ShapeColumn { name: format!("column {at}"), ty: ty.clone() });
    }
    let row: Row = values.into_iter().map(|(_, value)| value).collect();
    let nothing: Row = shape.columns.iter().map(|_| Value::Null).collect();
    let mirror = mirror(Limits::default(), shape, "{}").await.expect("a resolver");
    let Ok(Resolution::Merged(back)) = answer(&mirror, &nothing, &row) else { panic!("no row came back") };
    assert_eq!(back, row);
    for (back, value) in back.iter().zip(&*row) {
        // Equality is by meaning.
        assert_eq!(back.to_string(), value.to_string());
        if let (Value::Float(back), Value::Float(value)) = (back, value) {
            assert_eq!(back.to_bits(), value.to_bits(), "{value}");
        }
    }
}

/// What becomes of the note, and of a stock that no float can hold.
#[track_caller]
fn noted(mirror: &Resolver, note: &str) -> String {
    let row = |note: &str| super::row(1, note, (1 << 53) + 1);
    match answer(mirror, &row(""), &row(note)) {
        Ok(Resolution::Merged(row)) => format!("{} {}", row[1], row[2]),
        Ok(resolution) => format!("{resolution:?}"),
        Err(failure) => failure.to_string(),
    }
}

#[tokio::test]
async fn what_it_throws_concerns_its_row_alone() {
    let mirror = mirror(Limits::default(), items(), "{}").await.expect("a resolver");
    let asked = "plugin `mirror`, resolver of `items`, resolve: ";
    assert_eq!(noted(&mirror, "problem"), format!("{asked}`note`: the note is poison (bad-note); a hint"));
    for note in ["error", "problem, thrown"] {
        assert_eq!(noted(&mirror, note), format!("{asked}it gave up (trap)"), "{note}");
        // The rows beside it, and those of the next batch.
        let cases = Cases::of(&["good", note, "good"]);
        let answers = mirror.resolve(&cases.disputes());
        let well: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(well, [true, false, true], "{note}");
    }
    assert_eq!(noted(&mirror, "good"), "good 9007199254740993");
    assert_eq!(noted(&mirror, "more"), "more 9007199254740994");
}

/// At run time it would be rounded without a word.
#[tokio::test]
async fn a_number_in_place_of_64_bits_is_not_built() {
    let rounds = source().replace("value.val + 1n", "Number(value.val) + 1");
    assert_ne!(rounds, source());
    let folder = begun(&rounds).await;
    let tools = guests::said(&mut Command::new(guests::root().join("scripts/componentize-js")));
    let built = Command::new("sh").arg(folder.path("mirror/build")).arg(tools.trim()).output().expect("a shell");
    assert!(!built.status.success() && !folder.path("mirror/mirror.wasm").exists(), "{built:?}");
    let told = String::from_utf8_lossy(&built.stderr);
    assert!(told.contains("Type 'number' is not assignable to type 'bigint'"), "{told}");
}

#[tokio::test]
async fn a_problem_is_thrown_when_it_is_opened() {
    let failure =
        mirror(Limits::default(), items(), "{\"opened\": \"problem\"}").await.expect_err("a problem").to_string();
    assert_eq!(failure, "plugin `mirror`, resolver of `items`, open: `note`: the note is poison (bad-note); a hint");
    let failure =
        mirror(Limits::default(), items(), "{\"opened\": \"error\"}").await.expect_err("an error").to_string();
    assert_eq!(failure, "plugin `mirror`, resolver of `items`, open: it gave up (trap)");
}

/// Its memory grows from call to call; where there is no more, a new instance goes on.
#[tokio::test]
async fn many_calls_are_answered() {
    let limits = Limits { memory: 24 << 20, ..Limits::default() };
    let mirror = mirror(limits, items(), "{}").await.expect("a resolver");
    let notes: Vec<String> = (0..1000).map(|at| format!("a note that is not so short, number {at}")).collect();
    let cases = Cases::of(&notes.iter().map(String::as_str).collect::<Vec<_>>());
    for _ in 0..20 {
        assert!(mirror.resolve(&cases.disputes()).iter().all(Result::is_ok));
    }
    let calls = mirror.spent().calls;
    assert!(calls > 20, "{calls} calls: it never ran out of memory");
}
