//! What becomes of expressions and rows.

use concord_plugin::{Column, Context, Mapping, Problem, Table, Value};

use crate::expression::{Expression, Mentioned, Scope};
use crate::mapping::Made;

const COLUMNS: [(&str, &str); 15] = [
    ("id", "integer"),
    ("country", "text"),
    ("total", "decimal"),
    ("weight", "float"),
    ("active", "boolean"),
    ("born", "date"),
    ("opens", "time"),
    ("local", "timestamp"),
    ("made", "instant"),
    ("doc", "json"),
    ("uid", "uuid"),
    ("raw", "bytes"),
    ("loose", "any"),
    ("order no", "integer"),
    ("net", "inet"),
];

fn table() -> Table {
    let column = |(name, kind): (&str, &str)| Column {
        name: name.to_owned(),
        kind: kind.to_owned(),
        key: name == "id",
        facts: Vec::new(),
    };
    Table { name: "orders".to_owned(), columns: COLUMNS.map(column).into() }
}

fn compile(source: &str) -> Result<Expression, Problem> {
    Expression::compile("keep", source, &[Scope { name: "row", table: &table() }])
}

fn refused(source: &str) -> String {
    let problem = compile(source).err().unwrap_or_else(|| panic!("{source} is taken"));
    let hint = problem.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{}: {}{hint}", problem.code, problem.message)
}

/// What comes of a row in which these columns are not NULL.
fn judged(source: &str, cells: &[(&str, Value)]) -> Result<bool, String> {
    let keep = compile(source).unwrap_or_else(|why| panic!("{source}: {why:?}"));
    let cell = |one: &Mentioned| {
        let found = cells.iter().find(|(name, _)| *name == one.column.name);
        found.map_or(Value::Null, |(_, value)| value.clone())
    };
    let row: Vec<Value> = keep.columns.iter().map(cell).collect();
    keep.holds(&row).map_err(|problem| {
        let hint = problem.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}: {}{hint}", problem.code, problem.message)
    })
}

#[track_caller]
fn all_hold(cells: &[(&str, Value)], sources: &[&str]) {
    for source in sources {
        assert_eq!(judged(source, cells), Ok(true), "{source}");
    }
}

fn decimal(text: &str) -> Value {
    Value::Decimal(text.to_owned())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let told = |source: &str| refused(source).chars().take(80).collect::<String>();
    assert!(told("row.country == ").starts_with("syntax: `keep` cannot be read at line 1, column 16: Syntax error: "));
    assert!(told("row.country ==\n 'DE' &&& true").starts_with("syntax: `keep` cannot be read at line 2, column 9: "));
    assert!(told("row.country == 'DE").starts_with("syntax: `keep` cannot be read at line 1, column 16: "));
    assert!(told("").starts_with("syntax: "));
}

#[test]
fn what_is_not_there_is_refused() {
    let has =
        "it has: id, country, total, weight, active, born, opens, local, made, doc, uid, raw, loose, order no, net";
    assert_eq!(refused("row.contry == 'DE'"), format!("unknown-column: `orders` has no such column; {has}"));
    assert_eq!(refused("row['x'] == 1"), format!("unknown-column: `orders` has no such column; {has}"));
    assert_eq!(
        refused("country == 'DE'"),
        "unknown-name: `country` is a column, which stands behind `row.`; write `row.country`"
    );
    assert_eq!(
        refused("this.country == 'DE'"),
        format!("unknown-name: `this` is nothing that `keep` could mean; {has}")
    );
    assert_eq!(refused("row.country.beginsWith('D')"), "unknown-function: there is no function `beginsWith`");
    assert_eq!(refused("now() > row.made"), "unknown-function: there is no function `now`");
    assert_eq!(refused("row.id.now() > 1"), "unknown-function: there is no function `now`");
    assert_eq!(refused("has(row.country)"), "has: every row has all columns; ask `row.country != null`");
    for bare in ["size(row) > 1", "'id' in row", "row[row.country] == 1", "row.?id.hasValue()", "row == row"] {
        assert!(refused(bare).starts_with("row: `row` stands before a column"), "{bare}: {}", refused(bare));
    }
    assert!(refused("[1].exists(row, row > 0)").starts_with("name: "));
    assert!(refused("[1].exists(x, y > 0)").starts_with("unknown-name: `y`"));
    assert!(refused("[1].exists(x, x > 0) && x > 0").starts_with("unknown-name: `x`"));
}

#[test]
fn what_can_never_be_equal_is_refused() {
    assert_eq!(refused("row.country == 5"), "kind: its values are of kind text, and never a number");
    assert_eq!(
        refused("row.made > '2024-01-01'"),
        "kind: its values are of kind instant, and never a text; write timestamp('2024-01-31T00:00:00Z')"
    );
    assert!(refused("'x' != row.total").starts_with("kind: "));
    assert!(refused("row.active == 1").starts_with("kind: "));
    assert!(refused("row.id in [1, 'x']").starts_with("kind: "));
    all_hold(&[("doc", Value::Json("[1]".into())), ("loose", text("x"))], &["1 in row.doc", "row.loose != 1"]);
    let stored = "kind: its values are of kind any, and never true or false; between files of SQLite alone it is what is stored: write 1 \
                  for true and 0 for false";
    assert_eq!(refused("row.loose == true"), stored);
    assert_eq!(refused("false != row.loose"), stored);
}

/// What all nodes keep in files of SQLite comes as it is stored.
#[test]
fn a_text_of_any_kind_is_no_time_and_no_document() {
    for asked in ["row.loose > timestamp('2024-01-01T00:00:00Z')", "row.loose >= duration('8h')", "has(row.loose.city)"]
    {
        let told = judged(asked, &[("loose", text("2024-02-01"))]).unwrap_err();
        assert!(told.starts_with("kind: ") && told.contains("`loose` is a text here, as it is stored"), "{told}");
    }
    all_hold(
        &[("loose", text("2024-02-01"))],
        &["row.loose > '2024-01-31'", "timestamp(row.loose + 'T00:00:00Z') > timestamp('2024-01-31T00:00:00Z')"],
    );
    let told = judged("row.loose > 5", &[("loose", text("x"))]).unwrap_err();
    assert_eq!(told, "kind: `keep` cannot do `>` with string and int");
}

/// Which column it was the library does not tell.
#[test]
fn of_several_texts_of_any_kind_none_is_named() {
    let column = |name: &str| Column { name: name.to_owned(), kind: "any".to_owned(), key: false, facts: Vec::new() };
    let table = Table { name: "t".to_owned(), columns: ["a", "b"].map(column).into() };
    let source = "row.a != '' && row.b > timestamp('2024-01-01T00:00:00Z')";
    let Ok(keep) = Expression::compile("keep", source, &[Scope { name: "row", table: &table }]) else {
        panic!("it can be read")
    };
    let hint = |a: Value| keep.holds(&[a, text("2024-02-01")]).unwrap_err().hint.unwrap_or_default();
    assert!(hint(text("x")).starts_with("columns are texts here, as they are stored"), "{}", hint(text("x")));
    let told = hint(Value::Integer(1));
    assert!(told.starts_with("`b` is a text here") && told.ends_with("such as row.b > '2024-01-31'"), "{told}");
}

#[test]
fn a_number_is_the_one_that_is_written_or_refused() {
    assert_eq!(
        refused("row.total > 12345678901234567.80"),
        "number: 12345678901234567.80 has more digits than are told apart here, and would be 12345678901234568; write \
         decimal('12345678901234567.8')"
    );
    assert_eq!(
        refused("row.total == 1.234567890123456789e18"),
        "number: 1.234567890123456789e18 has more digits than are told apart here, and would be 1234567890123456800; write \
         decimal('1234567890123456789')"
    );
    let hint = "; write decimal('12345678901234567.8')";
    for other in ["row.total > 1234567890123456780e-2", "row.total > .123456789012345678E+17 - 0.5"] {
        let told = refused(other);
        assert!(told.starts_with("number: ") && told.ends_with(hint), "{other}: {told}");
    }
    assert!(refused("row.total > 1e-500").starts_with("number: "));
    for other in ["row.total == -0.10000000000000001", "row.id < 0.1 || decimal('1') == 1.00000000000000001"] {
        assert!(refused(other).starts_with("number: "), "{other}: {}", refused(other));
    }
    let cells = [("total", decimal("12345678901234567.89")), ("weight", Value::Float(0.1))];
    all_hold(
        &cells,
        &[
            "row.total == decimal('12345678901234567.89')",
            "row.total > decimal('12345678901234567.80') && '0.10000000000000001' == \"0.10000000000000001\"",
            "row.total > 0.30000000000000004 && row.total > 1.50e3",
            "row.total > 1e16 && row.total < 2E+16 && row.total > 25e-1 && row.total > .5e2 && row.total > 1e-300 && 0x1e5 == 485",
            // Floats are compared with floats.
            "row.weight == 0.10000000000000001",
        ],
    );
}

#[test]
fn what_is_the_same_for_every_row_is_read_at_once() {
    assert!(refused("row.made > timestamp('2024-13-01T00:00:00Z')").starts_with("constant: `timestamp` is given what"));
    assert!(refused("row.active || row.opens > duration('soon')").starts_with("constant: `duration` is given what"));
    assert!(refused("row.total in [1, decimal('1e5')]").starts_with("constant: `decimal` is given what"));
    assert!(refused("row.country.matches('(')").starts_with("pattern: regex parse error"));
    let cells = [("country", text("DE")), ("total", decimal("1.5")), ("doc", Value::Json(r#"["^D"]"#.into()))];
    all_hold(
        &cells,
        &[
            "row.country.matches('^(DE|AT)$') && matches(row.country, 'E$') && !row.country.matches('^E')",
            "'abc'.matches('b') && row.country.matches(row.doc[0])",
            "1 == decimal('1') && decimal('1') in [1, 2] && !(1 < decimal('0.5'))",
            "row.total in [1, decimal('1.50')] && row.country in ['DE', 'AT'] && !(row.country in [])",
            "['A', 'D'].exists(letter, row.country.startsWith(letter)) && {'DE': 1}[row.country] == 1",
        ],
    );
    let kind = judged("row.country.matches('^D')", &[]).unwrap_err();
    assert!(
        kind.starts_with("kind: `keep` cannot do `matches` with null_type and pattern; `country` is NULL"),
        "{kind}"
    );
    // What only fails is left to the rows that come to it.
    assert_eq!(judged("row.country == 'DE' || 1 / 0 == 1", &cells), Ok(true));
    assert_eq!(
        judged("row.country != 'DE' || 1 / 0 == 1", &cells),
        Err("division-by-zero: `keep` divides by zero".into())
    );
}

#[test]
fn only_what_is_mentioned_is_asked_for() {
    let keep = compile("row.total > 1 && row['order no'] == 7 && row.total < 9").unwrap();
    let names: Vec<&str> = keep.columns.iter().map(|one| one.column.name.as_str()).collect();
    assert_eq!(names, ["total", "order no"]);
    assert_eq!(compile("true").unwrap().columns.len(), 0);
}

#[test]
fn values_are_what_they_are_in_the_database() {
    let cells = [
        ("id", Value::Integer(i64::MIN)),
        ("order no", Value::Unsigned(u64::MAX)),
        ("country", text("Österreich")),
        ("weight", Value::Float(0.1)),
        ("active", Value::Boolean(true)),
        ("uid", Value::Uuid("6ba7b810-9dad-11d1-80b4-00c04fd430c8".into())),
        ("raw", Value::Bytes(vec![0, 255])),
        ("net", text("10.0.0.0/8")),
    ];
    all_hold(
        &cells,
        &[
            "row.id == -9223372036854775808",
            "row['order no'] == 18446744073709551615u",
            "row['order no'] > row.id",
            "row.country.startsWith('Ö') && row.country.size() == 10 && row.country in ['Österreich', 'Deutschland']",
            "row.country.matches('^[A-ZÖ][a-z]+$')",
            "row.weight == 0.1 && row.weight < 1",
            "row.active && row.active == true && !(row.active == false)",
            "row.uid == '6ba7b810-9dad-11d1-80b4-00c04fd430c8'",
            "row.raw == b'\\x00\\xff' && row.raw.size() == 2",
            "row.net.startsWith('10.')",
            "row.total == null && row.doc == null && row.country != null",
            "type(row.id) == int && type(row.country) == string",
            "[1, 2].exists(x, x > 1) && ['a'].all(country, country != row.country)",
            "optional.of(row.id).hasValue()",
        ],
    );
}

#[test]
fn times_are_timestamps_and_durations() {
    let cells = [
        ("born", Value::Date(19_783)),
        ("opens", Value::Time(9 * 3_600_000_000)),
        ("local", Value::Timestamp(1_709_294_400_000_001)),
        ("made", Value::Instant(1_709_294_400_000_000)),
    ];
    all_hold(
        &cells,
        &[
            "row.born == timestamp('2024-03-01T00:00:00Z')",
            "row.opens == duration('9h') && row.opens > duration('8h59m')",
            "row.local > row.made && row.local - row.made < duration('1ms')",
            "row.made == timestamp('2024-03-01T13:00:00+01:00')",
            "row.made.getFullYear() == 2024 && row.made.getHours('Europe/Berlin') == 13",
        ],
    );
    let ends =
        [("born", Value::Date(i32::MAX)), ("made", Value::Instant(i64::MIN)), ("local", Value::Timestamp(i64::MAX))];
    all_hold(
        &ends,
        &[
            "row.born > timestamp('9999-12-31T00:00:00Z')",
            "row.made < timestamp('0001-01-01T00:00:00Z')",
            "row.local == row.born",
        ],
    );
    assert_eq!(
        judged("row.local + duration('1h') > row.born", &ends),
        Err("overflow: what `add` gives is too large".into())
    );
    let zero = [("born", Value::Date(-106_751_991))];
    assert_eq!(judged("row.born == null", &zero), Err("value: `born` holds a date that is in no calendar".into()));
}

#[test]
fn decimals_are_compared_exactly_on_either_side() {
    all_hold(
        &[("total", decimal("100.10"))],
        &[
            "row.total > 100",
            "100 < row.total",
            "row.total >= 100u",
            "row.total == 100.1",
            "100.1 == row.total",
            "row.total <= 100.1",
            "100.1 >= row.total",
            "!(row.total != 100.1)",
            "row.total in [1, 100.1]",
            "row.total == decimal('100.1')",
            "decimal('100.1000000000000000000001') > row.total",
            "row.total > decimal(100)",
            "double(row.total) / 2.0 == 50.05",
            "string(row.total) == '100.1'",
            "[100.1] == [row.total]",
            "100 in [row.total] == false",
            "[row.total].exists(x, 100 < x)",
            "row.total < 1.0 / 0.0",
            "-1.0 / 0.0 < row.total",
        ],
    );
    let large = "123456789012345678901234567890.000000000000000000000000000001";
    all_hold(
        &[("total", decimal(large))],
        &[
            "row.total > decimal('123456789012345678901234567890')",
            "row.total > 18446744073709551615u",
            "row.total != decimal('123456789012345678901234567890.000000000000000000000000000002')",
        ],
    );
    all_hold(
        &[("total", decimal("-0.00"))],
        &["row.total == 0", "row.total == -0.0", "row.total > -0.001", "0 == row.total"],
    );
    all_hold(
        &[("total", decimal("-12.5"))],
        &[
            "row.total < -12",
            "row.total > -13",
            "-12.4 > row.total",
            "row.total < 0.1",
            "row.total == -decimal('12.5') && -row.total == 12.5 && -(-row.total) < 0 && -decimal('0.0') == 0",
        ],
    );
    all_hold(&[("total", decimal("NaN"))], &["row.total != row.total"]);
    all_hold(&[("total", decimal("Infinity"))], &["row.total > 1"]);
    all_hold(&[("loose", decimal("7"))], &["7 == row.loose", "row.loose in [7]", "7 in [row.loose]"]);
    let nan = judged("row.total > 1", &[("total", decimal("NaN"))]);
    // What is NULL beside it is no reason, whatever fails.
    let hint = "; `total` is NaN here, which is in no order; ask `row.total == row.total && …` first";
    for nan in [nan, judged("row.country == null && row.total > 1", &[("total", decimal("NaN"))])] {
        assert!(nan.as_ref().is_err_and(|why| why.starts_with("kind: ") && why.ends_with(hint)), "{nan:?}");
    }
    let zero = judged("row.country == null && 1 / (row.id - row.id) == 1", &[("id", Value::Integer(1))]);
    assert_eq!(zero, Err("division-by-zero: `keep` divides by zero".into()));
    assert_eq!(judged("row.total == row.total && row.total > 1", &[("total", decimal("NaN"))]), Ok(false));
}

#[test]
fn decimals_are_calculated_exactly_on_either_side() {
    let tenth = [("total", decimal("0.10")), ("id", Value::Integer(7)), ("country", Value::Text("D".to_owned()))];
    let held = [
        "row.total + 0.2 == 0.3",
        "1 - row.total == 0.9",
        "2 * row.total * row.total == 0.02",
        "row.total - row.id == -6.9",
        "string(row.total * 10) == '1'",
        "row.country + 'E' == 'DE' && row.id + 1 == 8 && row.id * 2 - 1 == 13 && decimal('1') == 1",
    ];
    all_hold(&tenth, &held);
    let large = [("total", decimal(&"9".repeat(38)))];
    let why = "function: `*` cannot make anything of what it is given";
    assert_eq!(judged("row.total * 10 > 0", &large), Err(why.into()));
    for unlike in ["row.country + row.total == 1", "row.total - row.country == 1", "row.total * null == 1"] {
        let said = judged(unlike, &tenth);
        assert!(said.as_ref().is_err_and(|why| why.starts_with("kind: ")), "{unlike}: {said:?}");
    }
}

#[test]
fn json_is_looked_into() {
    let doc = r#"{"city": "Wien", "tags": ["a", "b"], "n": 9007199254740993, "u": 18446744073709551615, "f": 0.5, "big": 1e30, "no": null}"#;
    all_hold(
        &[("doc", Value::Json(doc.into()))],
        &[
            "row.doc.city == 'Wien' && row.doc['city'] == 'Wien'",
            "'b' in row.doc.tags && row.doc.tags[0] == 'a' && row.doc.tags.exists(tag, tag > 'a')",
            "row.doc.n == 9007199254740993 && row.doc.n != 9007199254740992",
            "row.doc.u == 18446744073709551615u && row.doc.u != 18446744073709551614u && row.doc.f == 0.5 && row.doc.big > 1e29",
            "has(row.doc.city) && !has(row.doc.street) && row.doc.no == null",
            "row.doc.?street.orValue('none') == 'none'",
        ],
    );
    assert_eq!(
        judged("row.doc.street == 'x'", &[("doc", Value::Json(doc.into()))]),
        Err("no-such-key: `keep` asks for `street`, which is not there".into())
    );
    let wrong = judged("row.doc == null", &[("doc", Value::Json("[".into()))]);
    assert_eq!(wrong, Err("value: `doc` holds JSON that cannot be read".into()));
}

#[test]
fn what_fails_is_no_answer() {
    assert_eq!(
        judged("row.id > 5", &[]),
        Err("kind: `keep` cannot do `>` with null_type and int; `id` is NULL here; ask `row.id != null && …` first"
            .into())
    );
    assert_eq!(judged("row.id != null && row.id > 5", &[]), Ok(false));
    let id = [("id", Value::Integer(i64::MAX))];
    assert_eq!(judged("row.id", &id), Err("not-boolean: `keep` is neither true nor false, but of type int".into()));
    assert_eq!(judged("1 / (row.id - row.id) == 1", &id), Err("division-by-zero: `keep` divides by zero".into()));
    assert_eq!(judged("row.id + 1 > 0", &id), Err("overflow: what `add` gives is too large".into()));
    assert_eq!(
        judged("[1][row.id] == 1", &id),
        Err("no-such-key: `keep` asks for an element that is not there".into())
    );
    let unlike = judged("row.id * 0.01 == 1", &id).unwrap_err();
    let told = "kind: `keep` cannot do `*` with int and double; decimals go with integers and are exact: write decimal('0.01')";
    assert!(unlike.starts_with(told), "{unlike}");
    assert!(judged("row.id * decimal('0.01') < 1", &[("id", Value::Integer(7))]) == Ok(true));
    assert_eq!(
        judged("1 + row.id > 5", &[]),
        Err("kind: `keep` cannot do `+` with int and null_type; `id` is NULL here; ask `row.id != null && …` first"
            .into())
    );
    let divided = judged("1 / row.total > 5", &[("total", decimal("2"))]).unwrap_err();
    assert_eq!(divided, "kind: `keep` cannot do `/` with int and decimal");
    let named = judged("{'a': 1}[row.country] == 1", &[("country", text("secret"))]);
    assert_eq!(named, Err("no-such-key: `keep` asks for a key that is not there".into()));
    let function = judged("timestamp(row.country) == row.made", &[("country", text("secret"))]);
    assert!(
        function.as_ref().is_err_and(|why| why.starts_with("function: `timestamp`") && !why.contains("secret")),
        "{function:?}"
    );
    // What is beside it may make it matter no more.
    assert_eq!(judged("row.id / 0 == 1 || row.id > 0", &id), Ok(true));
}

/// Not dates of some year far away.
#[test]
fn infinities_are_infinities_again_behind_an_expression() {
    let config = r#"{"own": ["born", "made", "local"], "shared": {
        "on": {"kind": "date", "is": "row.id > 0 ? row.born : row.born"},
        "at": {"kind": "instant", "is": "row.id > 0 ? row.made : row.made"},
        "there": {"kind": "timestamp", "is": "row.id > 0 ? row.local : row.local"}}}"#;
    let context = Context { table: table(), config: config.to_owned(), facts: Vec::new() };
    let mapping = Made::open(&context).expect("a mapping");
    let columns = mapping.columns();
    for (days, micros) in [(i32::MAX, i64::MAX), (i32::MIN, i64::MIN), (19_783, 1_709_294_400_000_001)] {
        let cell = |(name, _): (&str, &str)| match name {
            "id" => Value::Integer(1),
            "born" => Value::Date(days),
            "local" => Value::Timestamp(micros),
            "made" => Value::Instant(micros),
            _ => Value::Null,
        };
        let shared = mapping.to_shared(&COLUMNS.map(cell)).expect("a row");
        let of = |name: &str| &shared[columns.iter().position(|column| column.name == name).expect(name)];
        assert!(of("on").same(&Value::Date(days)), "{:?}", of("on"));
        assert!(of("at").same(&Value::Instant(micros)), "{:?}", of("at"));
        assert!(of("there").same(&Value::Timestamp(micros)), "{:?}", of("there"));
    }
}

/// Sums take these and no others.
#[test]
fn a_column_alone_both_ways_is_said_to_be_a_copy() {
    let config = r#"{"shared": {"nr": {"is": "row.id"}, "sum": {"is": "row.total"}, "land": {"is": "row.country"}},
        "local": {"id": "row.nr", "total": "row.sum", "country": "row.land.trim()"}}"#;
    let context = Context { table: table(), config: config.to_owned(), facts: Vec::new() };
    let columns = Made::open(&context).expect("a mapping").columns();
    let of = |name: &str| {
        let column = columns.iter().find(|column| column.name == name).expect(name);
        column.facts.first().map(|(fact, own)| format!("{fact} {own}"))
    };
    assert_eq!(
        ["nr", "sum", "weight"].map(of),
        ["copy-of id", "copy-of total", "copy-of weight"].map(|one| Some(one.to_owned()))
    );
    assert_eq!(of("land"), None);
}
