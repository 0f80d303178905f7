//! What the parser makes of good files, and what it says about bad ones: word for word, in `tests/problems.txt`.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Files and what is said about them. `%ok` stands for a sync with two nodes, `%table` for a table.
const PROBLEMS: &str = include_str!("tests/problems.txt");
const OK: &str = "name = \"shop\"\nnodes.office.url = \"sqlite:a.db\"\nnodes.branch.url = \"sqlite:b.db\"";

fn lookup(name: &str) -> Option<OsString> {
    match name {
        "PASSWORD" => Some("canary/?@:%".into()),
        "LOGIN" => Some("me:can@ary".into()),
        "URL" => Some("postgres://me:canary@db/shop".into()),
        "BAD_URL" => Some("canary:canary@db".into()),
        "BAD_PORT" => Some("postgres://me:canary/x@db/shop".into()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, Error> {
    let text = text.replace("%ok", OK).replace("%table", "[tables.customers]");
    Config::parse(Path::new("concord.toml"), text, &lookup)
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Problems, or the warnings of a file that has none.
fn said(text: &str) -> String {
    match parse(text) {
        Err(error) => error.to_string(),
        Ok(config) => config.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect(),
    }
}

/// What is written out as it is anyhow is nothing to warn of.
#[test]
fn a_usual_setting_is_no_idle_one() {
    let file =
        |ids: &str| format!("%ok\n[defaults]\nids = \"{ids}\"\n[tables.t]\nmode = \"compare\"\nfrom = \"office\"\n");
    assert_eq!(said(&file("unchanged")), "");
    assert!(said(&file("interleave")).contains("`ids` does nothing"));
}

#[test]
fn every_problem_is_told_with_its_line_and_a_remedy() {
    let mut now = String::new();
    let mut count = 0;
    for case in PROBLEMS.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (text, _) = rest.split_once("---\n").expect("a rule after the file");
        let said = said(text);
        assert!(!said.is_empty(), "nothing is said about: {title}");
        now += &format!("=== {title}\n{text}---\n{}\n\n", said.trim_end());
        count += 1;
    }
    assert!(count >= 40);
    if std::env::var_os("CONCORD_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/tests/problems.txt");
        std::fs::write(path, now.trim_end().to_owned() + "\n").expect("writing problems.txt");
        return;
    }
    for (is, was) in now.split("=== ").zip(PROBLEMS.split("=== ")) {
        assert_eq!(is.trim_end(), was.trim_end(), "run the test with CONCORD_BLESS=1 if this is meant");
    }
}

#[test]
fn no_problem_shows_a_secret() {
    let all: String = PROBLEMS
        .split("=== ")
        .skip(1)
        .filter_map(|case| case.split_once('\n')?.1.split_once("---\n"))
        .map(|(text, _)| match parse(text) {
            Err(error) => format!("{error} {error:?}"),
            Ok(config) => format!("{config:?} {:#?}", config.warnings),
        })
        .collect();
    assert!(PROBLEMS.contains("canary"));
    assert!(!all.contains("canary"), "{all}");
}

#[test]
fn the_example_of_the_manual() {
    let config = good(
        r#"
        name = "shop"
        [nodes.office]
        url = "postgres://sync@db.example/shop"
        [nodes.branch]
        url = "sqlite:branch.db"
        [defaults]
        conflict = "earliest-wins"
        max_skew = "500ms"
        on_skew = "stop"
        batch = 5000
        journal = "90d"
        compare_every = "2m"
        [tables.customers]
        [tables.customers.nodes.branch]
        table   = "Kunden"
        columns = { name = "Vollname" }
        omit    = ["notes"]
        [tables.accounts]
        conflict = { sum = ["balance"] }
        [tables.rates]
        mode = "compare"
        from = "office"
        operations = ["insert", "update"]
        updated = "changed_at"
        [tables.prices]
        conflict = { prefer = ["branch", "office"] }
        "#,
    );
    assert_eq!((config.name.as_str(), config.node_names().join(" ")), ("shop", "office branch".to_owned()));
    let folder = std::env::current_dir().unwrap();
    assert_eq!(config.nodes[1].target.secret_url(), format!("sqlite:{}/branch.db", folder.display()));
    assert_eq!(
        config.defaults,
        Defaults {
            conflict: Conflict::EarliestWins,
            max_skew: Duration::from_millis(500),
            on_skew: OnSkew::Stop,
            batch: 5000,
            journal: Duration::from_secs(90 * 86_400),
            ids: Ids::Unchanged,
            compare_every: Duration::from_secs(120),
        }
    );
    let names: Vec<&str> = config.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["customers", "accounts", "rates", "prices"]);
    let customers = &config.tables[0];
    assert_eq!(customers.conflict, Conflict::EarliestWins);
    let (office, branch) = (&customers.nodes[0], &customers.nodes[1]);
    assert_eq!((office.table.as_str(), branch.table.as_str()), ("customers", "Kunden"));
    assert_eq!((branch.local("name"), branch.shared("Vollname"), branch.local("id")), ("Vollname", "name", "id"));
    assert!(branch.omits("notes") && !office.omits("notes"));
    assert_eq!(config.at(&branch.place), "concord.toml:15");
    assert!(matches!(&config.tables[1].conflict, Conflict::Sum(columns) if columns[0].name == "balance"));
    let rates = &config.tables[2];
    assert_eq!(rates.updated.as_ref().map(|named| named.name.as_str()), Some("changed_at"));
    assert_eq!(rates.from, Some(NodeId(0)));
    assert_eq!(rates.operations, Operations { delete: false, ..Operations::ALL });
    assert_eq!(config.tables[3].conflict, Conflict::Prefer(vec![NodeId(1), NodeId(0)]));
    assert!(config.warnings.is_empty());
}

#[test]
fn what_stands_beside_the_name_is_the_plugins_own() {
    let config = good(
        r#"
        plugins = "parts"
        %ok
        [defaults]
        conflict = { plugin = "decide" }
        [limits.merge-fields]
        memory = 256
        time = 3
        [tables.accounts.conflict]
        plugin = "merge-fields"
        since = 2020-01-02
        weights = [1, 2.5, -3]
        [tables.accounts.conflict.fields]
        balance = "sum"
        [[tables.accounts.conflict.groups]]
        columns = ["a", "b"]
        [tables.others]
        "#,
    );
    assert_eq!(config.plugins.folder, Some(std::env::current_dir().unwrap().join("parts")));
    let limits = config.plugins.limits("merge-fields");
    assert_eq!((limits.memory, limits.time), (256 << 20, Duration::from_secs(3)));
    assert_eq!(config.plugins.limits("decide"), crate::plugin::Limits::default());
    let [accounts, others] = &config.tables[..] else { panic!("two tables") };
    let Conflict::Plugin(used) = &accounts.conflict else { panic!("a plugin") };
    assert_eq!(used.name, "merge-fields");
    let told =
        r#"{"since":"2020-01-02","weights":[1,2.5,-3],"fields":{"balance":"sum"},"groups":[{"columns":["a","b"]}]}"#;
    assert_eq!(used.config, told);
    assert!(matches!(&others.conflict, Conflict::Plugin(used) if used.name == "decide" && used.config == "{}"));
    assert!(!format!("{config:?}").contains("balance"));
}

#[test]
fn a_table_is_compared_if_it_says_so_or_one_of_its_nodes_does() {
    let modes = |text: &str| {
        let config = good(&format!("%ok\n{text}"));
        let modes = config.tables.iter().map(|table| table.mode).collect::<Vec<_>>();
        (modes, config.keeps_histories(), config.compares())
    };
    let one = "[tables.a]\nmode = \"compare\"\nfrom = \"office\"\n[tables.b]\nmode = \"triggers\"";
    assert_eq!(modes(one), (vec![Mode::Compare, Mode::Triggers], true, true));
    let two_way = "updated = \"at\"\noperations = [\"insert\"]\nconflict = \"park\"";
    let all = format!("nodes.branch.mode = \"compare\"\n[tables.a]\nfrom = \"office\"\n[tables.b]\n{two_way}");
    assert_eq!(modes(&all), (vec![Mode::Compare; 2], false, true));
    assert_eq!(modes("%table"), (vec![Mode::Triggers], true, false));
}

#[test]
fn sections_count_in_the_order_of_the_file() {
    let config = good(
        "name = \"x\"\n[tables.b.nodes.z]\ntable = \"B\"\n[nodes.z]\nurl = \"sqlite:z\"\n[tables.a]\n\
         [nodes.a]\nurl = \"sqlite:a\"\n[tables.c.nodes.a]\n[tables.b]\nfrom = \"a\"\n[tables.c]\n",
    );
    assert_eq!(config.node_names(), ["z", "a"]);
    let names: Vec<&str> = config.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"], "by the table's own section, where it has one");
    assert_eq!(config.tables[1].from, Some(NodeId(1)));
    assert_eq!(config.tables[1].nodes[0].table, "B");
}

#[test]
fn what_comes_from_elsewhere_is_encoded_where_it_must_be() {
    let url = |text: &str| {
        let file = format!("name = \"x\"\nnodes.a.url = '{text}'\nnodes.b.url = \"sqlite:b\"\n[tables.t]");
        good(&file).nodes[0].target.secret_url().to_owned()
    };
    assert_eq!(url("postgres://me:${PASSWORD}@db/x"), "postgres://me:canary%2F%3F%40%3A%25@db/x");
    assert_eq!(url("postgres://${LOGIN}@db/x"), "postgres://me:can%40ary@db/x");
    assert_eq!(url("postgres://db/x?password=${PASSWORD}"), "postgres://db/x?password=canary%2F%3F%40%3A%25");
    assert_eq!(url("${URL}"), "postgres://me:canary@db/shop");
    assert_eq!(url("${URL}?sslmode=require"), "postgres://me:canary@db/shop?sslmode=require");
}

#[test]
fn paths_are_cleaned() {
    let url = |text: &str| {
        let file = format!("name = \"x\"\nnodes.a.url = '{text}'\nnodes.b.url = \"sqlite:b\"\n[tables.t]");
        let config = Config::parse(Path::new("/srv/shop/concord.toml"), file, &lookup).unwrap();
        config.nodes[0].target.secret_url().to_owned()
    };
    assert_eq!(url("sqlite:x/../data/./a.db"), "sqlite:/srv/shop/data/a.db");
    assert_eq!(url("sqlite://a.db"), "sqlite:/srv/shop/a.db");
    assert_eq!(url("sqlite:///a.db?mode=rw"), "sqlite:/a.db?mode=rw");
    assert_eq!(url("sqlite:${LOGIN}/a b.db"), "sqlite:/srv/shop/me:can@ary/a b.db");
}

#[test]
fn many_problems_are_counted() {
    let keys: String = (0..30).map(|n| format!("zzz{n} = 1\n")).collect();
    let said = said(&format!("{keys}%ok\n%table"));
    assert_eq!(said.matches("unknown key").count(), 20);
    assert!(said.contains("10 more problems"), "{said}");
}

#[test]
fn problems_found_later_point_into_the_file() {
    let config = good("%ok\n[tables.customers.nodes.branch]\ncolumns = { name = \"Vollname\" }");
    let place = &config.tables[0].nodes[1].columns[0].place;
    assert_eq!(
        config.diagnostic(place, "the table has no column `Vollname`", "it has `id`").to_string(),
        "concord.toml:5:13: the table has no column `Vollname`\n    5 | columns = { name = \"Vollname\" }\n      \
         |             ^^^^\n    it has `id`"
    );
    let node = config.diagnostic(&config.nodes[0].place, "not there", "").to_string();
    let told = "%ok\n[tables.customers.nodes]\nbranch = { mapping = { plugin = \"redact\", key = \"canary\" } }";
    let config = good(&format!("plugins = \"plugins\"\n{told}"));
    let branch = &config.tables[0].nodes[1];
    for place in [&branch.place, &branch.mapping.as_ref().unwrap().place] {
        let said = config.diagnostic(place, "it does not fit", "").to_string();
        assert!(said.contains("plugin = \"redact\", key = \"…\"") && !said.contains("canary"), "{said}");
    }
    assert!(node.starts_with("concord.toml:2:7: not there\n    2 | nodes.office.url = \"sqlite:a.db\"\n"), "{node}");
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("concord.toml");
    let said = |path: &Path| Config::load(path).unwrap_err().to_string().replace(&path.display().to_string(), "FILE");
    assert_eq!(said(&path), "FILE: no such file\n    `concord new DIR` writes one; another is named with -c FILE");
    assert_eq!(said(folder.path()), "FILE: this is a folder\n    name the file in it: -c DIR/concord.toml");
    std::fs::write(&path, b"name = 1\n\xff").unwrap();
    assert_eq!(said(&path), "FILE: line 2 is not valid UTF-8\n    save the file as UTF-8");
}

#[test]
fn what_new_writes_is_a_good_file() {
    let given = [
        (Some("office".to_owned()), "postgres://sync:can%40ary@db.example/shop?password=canary&x=1".to_owned()),
        (None, "sqlite:data/branch_1.db".to_owned()),
        (None, "sqlite:other/branch_1.db".to_owned()),
        (None, "${URL}".to_owned()),
        (None, "postgres://a:${file:/run/pw}@h".to_owned()),
    ];
    let nodes = new_nodes(&given, Path::new("/srv")).unwrap();
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["office", "branch_1", "branch_1-2", "node", "h"]);
    let text = template("shop", &nodes[..4], &["customers".to_owned(), "sales.\"odd\"".to_owned()]);
    assert!(!text.contains("canary") && !text.contains("can%40ary"), "{text}");
    assert!(
        text.contains("url = \"postgres://sync:${OFFICE_PASSWORD}@db.example/shop?password=${OFFICE_PASSWORD}&x=1\"")
    );
    let variables = |name: &str| if name == "OFFICE_PASSWORD" { Some("can@ary".into()) } else { lookup(name) };
    let config = Config::parse(Path::new("concord.toml"), text, &variables).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.nodes[0].target.secret_url().starts_with("postgres://sync:can%40ary@"));
    assert_eq!(config.tables[1].name, "sales.\"odd\"");
    assert!(config.warnings.is_empty());
}

#[test]
fn a_private_key_is_not_written_into_a_new_file() {
    let url = "postgres://sync:canary@h/shop?sslkey=-----BEGIN%20PRIVATE%20KEY-----%0Acanary&x=1".to_owned();
    let given = [(Some("office".to_owned()), url), (Some("b".to_owned()), "sqlite:b.db".to_owned())];
    let text = template("shop", &new_nodes(&given, Path::new("/srv")).unwrap(), &["customers".to_owned()]);
    assert!(
        !text.contains("canary") && text.contains("# The private key is not kept here: set OFFICE_KEY to it"),
        "{text}"
    );
    let variables = |name: &str| match name {
        "OFFICE_PASSWORD" => Some("pw".into()),
        "OFFICE_KEY" => Some("-----BEGIN PRIVATE KEY-----\nx".into()),
        _ => None,
    };
    let config = Config::parse(Path::new("concord.toml"), text, &variables).unwrap_or_else(|error| panic!("{error}"));
    let key = "sync:pw@h/shop?sslkey=-----BEGIN%20PRIVATE%20KEY-----%0Ax&x=1";
    assert!(config.nodes[0].target.secret_url().ends_with(key), "{}", config.nodes[0].target);
    assert!(config.warnings.is_empty());
}

#[test]
fn an_empty_new_file_says_what_is_missing() {
    let text = template("shop", &[], &[]);
    let said = parse(&text).unwrap_err().to_string();
    assert!(said.contains("no nodes") && said.contains("no tables") && said.lines().count() < 10, "{said}");
    // What stands there as comments is a good file as well.
    let mut whole = String::new();
    for line in text.lines() {
        let example = line.strip_prefix("# ").filter(|line| line.starts_with('[') || line.contains(" = "));
        whole += example.filter(|line| !line.starts_with("or {")).unwrap_or(line);
        whole += "\n";
    }
    let variables = |_: &str| Some("x".into());
    let config = Config::parse(Path::new("concord.toml"), whole.clone(), &variables);
    let config = config.unwrap_or_else(|error| panic!("{error}\n{whole}"));
    assert_eq!((config.nodes.len(), config.tables.len()), (2, 5));
    assert_eq!(config.defaults, Defaults::default());
}

const WHOLE: &str = r#"name = "shop"
[nodes.office]
url = "postgres://me:canary@db.example:5432/shop?password=canary"
[nodes.branch]
url = "sqlite:branch.db"
[defaults]
max_skew = "5s"
[tables.customers.nodes.branch]
columns = { name = "Vollname" }
omit = ["notes"]
"#;

fn harmless(text: &str) -> std::result::Result<(), TestCaseError> {
    let said = match Config::parse(Path::new("concord.toml"), text.to_owned(), &lookup) {
        Err(error) => format!("{error} {error:?}"),
        Ok(config) => format!("{config:?} {:?}", config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()),
    };
    prop_assert!(!said.contains("canary"), "{}", said);
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        drop(parse(&text));
    }

    #[test]
    fn arbitrary_pieces_of_toml_never_panic(text in "([a-z]{1,3}|[\\[\\]{}=.,'\"\n #\\\\$]|nodes|tables|url|=|\\[nodes\\.a\\]\n|\\[\\[|\"\"\"|\u{fc}|\r\n|\t|1|true){0,40}") {
        drop(parse(&text));
    }

    /// Whatever single thing goes wrong in a file, what is said about it shows no password.
    #[test]
    fn a_damaged_file_keeps_its_secrets(
        at in 0..WHOLE.len(), gone in 0..3usize, new in "([\"'=\\[\\]{}#,.\n @/:?$\\\\]|[a-z]|\"\"\"|''')?"
    ) {
        let mut text = WHOLE.to_owned();
        text.replace_range(at..(at + gone).min(WHOLE.len()), &new);
        harmless(&text)?;
    }

    #[test]
    fn lines_in_another_order_keep_their_secrets(order in Just((0..WHOLE.lines().count()).collect::<Vec<_>>()).prop_shuffle()) {
        let lines: Vec<&str> = WHOLE.lines().collect();
        harmless(&order.into_iter().map(|at| lines[at]).collect::<Vec<_>>().join("\n"))?;
    }
}
