//! Plugins by themselves, without a database: how long they take to start, and how many rows they are asked about in a second.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use concord::model::{Decimal, Key, Row, Type, Value};
use concord::plugin::{
    Dispute, Facts, Filter, Host, Limits, Mapping, Pin, Plugin, Put, Resolver, Shape, ShapeColumn, Side, Spent,
};
use concord_tests::guests;

use super::Run;
use super::report::{Target, median};

const START: &str = "plugin start";
const ASKED: &str = "plugin asked";

/// Of a plugin: its name, and what the file says to it.
type Asked = (&'static str, Part, &'static str);

#[derive(Clone, Copy)]
enum Part {
    Filter,
    Mapping,
    Resolver,
}

/// Those that come with Concord.
const OURS: [Asked; 6] = [
    ("cel", Part::Filter, r#"{"keep": "row.balance >= 0.0"}"#),
    ("reshape", Part::Mapping, r#"{"columns": {"name": {"case": "lower"}}}"#),
    ("redact", Part::Mapping, r#"{"columns": {"payload": {"last": 4}}}"#),
    ("key-prefix", Part::Mapping, r#"{"of": 4, "slot": 1}"#),
    ("merge-fields", Part::Resolver, r#"{"fields": {"balance": "sum"}}"#),
    ("longest", Part::Resolver, r#"{"column": "payload"}"#),
];

/// Languages, each with the command that builds its example. All do the same: the version with the shortest text is taken.
/// `make bench` builds those of `make test` before it measures.
const LANGUAGES: [(&str, &str); 8] = [
    ("c", "make test"),
    ("python", "make test"),
    ("typescript", "make test"),
    ("cpp", "make languages"),
    ("zig", "make languages"),
    ("go", "make languages"),
    ("assemblyscript", "make languages"),
    ("javascript", "make languages"),
];

/// A plugin whose file may be there.
struct Built {
    /// As it is called in the table of figures.
    told: String,
    name: &'static str,
    part: Part,
    config: &'static str,
    file: PathBuf,
    /// What builds it.
    command: &'static str,
}

type Measure = fn(&mut Run, &str, &Built);

pub fn run(run: &mut Run) {
    let plugins: Vec<Built> = OURS.map(ours).into_iter().chain(LANGUAGES.map(example)).collect();
    let measures: [(&str, Measure); 2] = [(START, starts), (ASKED, asks)];
    for (measured, measure) in measures {
        for plugin in &plugins {
            let told = format!("{measured}: {}", plugin.told);
            if !run.wants(&told) {
                continue;
            }
            match plugin.file.is_file() {
                true => measure(run, &told, plugin),
                false => run.report.skip(&told, &format!("it is not built, which `{}` does", plugin.command)),
            }
        }
    }
}

fn ours((name, part, config): Asked) -> Built {
    let file = Plugin::file(&guests::plugins(), name);
    Built { told: name.to_owned(), name, part, config, file, command: "make plugins" }
}

fn example((language, command): (&str, &'static str)) -> Built {
    let file = guests::plugins().join("languages").join(language).join("shortest.wasm");
    let (part, config) = (Part::Resolver, r#"{"column": "payload"}"#);
    Built { told: format!("shortest, {language}"), name: "shortest", part, config, file, command }
}

/// The median is judged: the most of a few starts is that of whatever else the machine did, so it is told beside.
fn starts(run: &mut Run, told: &str, Built { name, part, config, file, .. }: &Built) {
    // Compiled if it is new.
    start(&guests::host(), file, name, *part, config, None);
    let times: Vec<f64> = (0..run.rounds).map(|_| started(file, name, *part, config)).collect();
    let most = times.iter().copied().fold(0.0, f64::max);
    let detail = format!("compiled code at hand; the most of {} starts {most:.1}", run.rounds);
    run.report.figure(told, Target::AtMost(20.0), "ms", median(times), detail);
}

fn asks(run: &mut Run, told: &str, Built { name, part, config, file, .. }: &Built) {
    let opened = start(&guests::host(), file, name, *part, config, None);
    let rows = Rows::new(run.sizes.asked);
    opened.ask(&rows);
    let before = opened.spent();
    let times: Vec<f64> = (0..run.rounds)
        .map(|_| {
            let start = Instant::now();
            opened.ask(&rows);
            start.elapsed().as_secs_f64()
        })
        .collect();
    let spent = opened.spent();
    let (asked, fuel) = (spent.rows - before.rows, spent.fuel - before.fuel);
    let within = (spent.time - before.time).as_secs_f64() / asked as f64 * 1e6;
    let detail = format!("{} fuel a row, {within:.2} µs a row in the call; {} MiB", fuel / asked, spent.memory >> 20);
    run.report.figure(told, Target::None, "rows/s", run.sizes.asked as f64 / median(times), detail);
}

/// Milliseconds until a plugin may be asked, by a host that has not seen it.
fn started(file: &Path, name: &str, part: Part, config: &str) -> f64 {
    let known = Plugin::load(&guests::host(), file, name, Limits::default(), None);
    let known = known.unwrap_or_else(|why| panic!("{name}: {why}"));
    let pin = Pin { name: name.to_owned(), version: known.description.version.clone(), sha256: known.digest.clone() };
    let host = Host::new(Some(&guests::cache())).unwrap_or_else(|why| panic!("{why}"));
    let begun = Instant::now();
    let opened = start(&host, file, name, part, config, Some(&pin));
    let took = begun.elapsed();
    assert_eq!(host.cached(), Some((1, 0)), "{name} is compiled already");
    drop(opened);
    took.as_secs_f64() * 1e3
}

fn start(host: &Host, file: &Path, name: &str, part: Part, config: &str, pin: Option<&Pin>) -> Opened {
    let fail = |why| -> Opened { panic!("{name}: {why}") };
    let plugin = match Plugin::load(host, file, name, Limits::default(), pin) {
        Ok(plugin) => Arc::new(plugin),
        Err(why) => return fail(why),
    };
    let facts = Facts { sync: "bench".to_owned(), nodes: vec!["n0".to_owned(), "n1".to_owned()] };
    let opened = match part {
        Part::Filter => Filter::open(plugin, accounts(), config, &facts).map(Opened::Filter),
        Part::Mapping => Mapping::open(plugin, accounts(), config, &facts).map(Opened::Mapping),
        Part::Resolver => Resolver::open(plugin, accounts(), config, &facts).map(Opened::Resolver),
    };
    opened.unwrap_or_else(fail)
}

enum Opened {
    Filter(Filter),
    Mapping(Mapping),
    Resolver(Resolver),
}

impl Opened {
    fn spent(&self) -> Spent {
        match self {
            Opened::Filter(filter) => filter.spent(),
            Opened::Mapping(mapping) => mapping.spent(),
            Opened::Resolver(resolver) => resolver.spent(),
        }
    }

    /// Asks about each row once. Of a mapping both directions are asked, which counts as one row.
    fn ask(&self, rows: &Rows) {
        let all = |good: bool| assert!(good, "a row was not answered");
        let first: Vec<&Row> = rows.0.iter().map(|(_, [first, _])| first).collect();
        match self {
            Opened::Filter(filter) => all(filter.judge(&first).iter().all(Result::is_ok)),
            Opened::Mapping(mapping) => {
                let shared = mapping.to_shared(&first);
                let shared: Vec<&Row> = shared.iter().flatten().collect();
                let put = |(&shared, &current)| Put { shared, current: Some(current) };
                let puts: Vec<Put<'_>> = shared.iter().zip(&first).map(put).collect();
                all(puts.len() == rows.0.len() && mapping.to_local(&puts).iter().all(Result::is_ok));
            }
            Opened::Resolver(resolver) => {
                let disputes: Vec<Dispute<'_>> = rows.0.iter().map(dispute).collect();
                all(resolver.resolve(&disputes).iter().all(Result::is_ok));
            }
        }
    }
}

/// Two versions of each row.
struct Rows(Vec<(Key, [Row; 2])>);

impl Rows {
    fn new(count: usize) -> Rows {
        let row = |id: i64, version: i64| -> Row {
            let balance = format!("{}.{:02}", id * 79 % 10_000, (id + version) % 100);
            let balance = Decimal::parse(&balance).expect("a number");
            let time = Value::Instant(1_767_225_600_000_000 + id * 1_000_000 + version);
            let texts = [format!("name {id}/{version}"), format!("{:0100}", id * 10 + version)].map(Value::text);
            let [name, payload] = texts;
            vec![Value::Int(id), name, Value::Decimal(balance), time, payload].into()
        };
        Rows((0..count as i64).map(|id| (Key::from([Value::Int(id)]), [row(id, 1), row(id, 2)])).collect())
    }
}

fn dispute((key, [first, second]): &(Key, [Row; 2])) -> Dispute<'_> {
    let side = |(node, time, row)| Side { node, time, row: Some(row) };
    let versions = [("n0", 1, first), ("n1", 2, second)].map(side).into();
    Dispute { key, versions, latest: 1, start: 0, base: None, changes: Vec::new() }
}

/// The shape of the table of all workloads.
fn accounts() -> Shape {
    let column = |(name, ty): (&str, Type)| ShapeColumn { name: name.to_owned(), ty };
    let columns = [
        ("id", Type::Int),
        ("name", Type::Text),
        ("balance", Type::Decimal),
        ("updated_at", Type::Instant),
        ("payload", Type::Text),
    ];
    Shape { name: "accounts".to_owned(), columns: columns.map(column).into(), key: vec![0] }
}
