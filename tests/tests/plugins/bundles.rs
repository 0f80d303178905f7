//! Bundles on their way from who packs them to a sync.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use concord_tests::{Concord, Output, PATIENCE, guests, wait_until};

const CONFIG: &str = "# Ours.\nname = \"shop\" # short\n\n[nodes.office]\nurl = \"sqlite:a.db\"\n\n[nodes.branch]\nurl = \"sqlite:b.db\"\n";

const MANIFEST: &str = r#"name = "web-shop"
version = "1.0.0"
summary = "Stock and texts of a shop, changed in several places"
concord = ">=0.1, <0.2"

[parameters.items]
type = "text"
about = "the table of what is sold"
default = "items"

# What everybody sold is taken off.
[tables."{items}"]
conflict = { plugin = "merge-fields", fields = { stock = "sum", note = "latest" } }
"#;

const FILE: &str = "web-shop-1.0.0.concord";

/// A folder with a sync without tables, and the folder of a bundle in it.
fn folder() -> Concord {
    let mut concord = Concord::new(CONFIG);
    concord.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    concord.write("bundle/bundle.toml", MANIFEST);
    concord.write("bundle/README.md", "# For shops\n");
    copy(&guests::plugins().join("merge-fields.wasm"), &concord.path("bundle/plugins/merge-fields.wasm"));
    for case in std::fs::read_dir(guests::root().join("plugins/merge-fields/fixtures")).unwrap().flatten() {
        copy(&case.path(), &concord.path("bundle/fixtures/merge-fields").join(case.file_name()));
    }
    concord
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(from, to).unwrap();
}

fn ended(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}{}", output.stdout, output.stderr);
    &output.stdout
}

async fn packed() -> Concord {
    let concord = folder();
    assert!(ended(&concord.run(&["bundle", "pack", "bundle"]).await, 0).starts_with("wrote web-shop-1.0.0.concord"));
    concord
}

/// What a command refused, with nothing of the sync touched.
async fn refused(concord: &Concord, args: &[&str]) -> String {
    let before = read(concord, "concord.toml");
    let said = concord.run(args).await;
    ended(&said, 2);
    assert_eq!(read(concord, "concord.toml"), before);
    assert!(!concord.path("concord.lock").exists() && !concord.path("plugins").exists(), "{}", said.stderr);
    said.stderr
}

fn read(concord: &Concord, file: &str) -> String {
    std::fs::read_to_string(concord.path(file)).unwrap()
}

#[tokio::test]
async fn a_bundle_is_packed_checked_added_and_settles_a_conflict() {
    let concord = packed().await;
    let said = concord.run(&["bundle", "check", FILE]).await;
    let told = ended(&said, 0);
    assert!(told.contains("signature                 none") && told.contains("11 good"), "{told}");
    let said = concord.run(&["bundle", "check", "bundle", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 0)).unwrap();
    assert_eq!((&report["bundle"], &report["sha256"]), (&"web-shop".into(), &serde_json::Value::Null));

    let said = concord.run(&["bundle", "add", FILE]).await;
    let told = ended(&said, 0);
    assert!(told.contains("nothing vouches for who made it"), "{told}");
    assert!(told.contains("1 table added to concord.toml: items\nnext: concord check"), "{told}");
    let expected = format!(
        "{}\n# bundle web-shop 1.0.0: from here to its end `concord bundle add` wrote it\n\
         # What everybody sold is taken off.\n[tables.items]\n\
         conflict = {{ plugin = \"merge-fields\", fields = {{ stock = \"sum\", note = \"latest\" }} }}\n\
         # end of bundle web-shop\n",
        CONFIG.replace("# short\n", "# short\nplugins = \"plugins\"\n")
    );
    assert_eq!(read(&concord, "concord.toml"), expected);
    assert_eq!(read(&concord, "concord.lock"), guests::lock(&["merge-fields"]));
    // Once more changes nothing.
    let said = concord.run(&["bundle", "add", FILE, "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 0)).unwrap();
    assert_eq!((&report["changed"], &report["plugins"][0]["written"]), (&false.into(), &false.into()));
    assert_eq!(read(&concord, "concord.toml"), expected);

    for file in ["a.db", "b.db"] {
        let made = rusqlite::Connection::open(concord.path(file)).unwrap();
        made.execute_batch(
            "CREATE TABLE items (id integer PRIMARY KEY, note text, stock integer); INSERT INTO items VALUES (1, 'x', 10)",
        )
        .unwrap();
    }
    ended(&concord.run(&["check"]).await, 0);
    ended(&concord.run(&["install"]).await, 0);
    for (file, sold) in [("a.db", 3), ("b.db", 4)] {
        let user = rusqlite::Connection::open(concord.path(file)).unwrap();
        user.execute("UPDATE items SET stock = stock - ?1", [sold]).unwrap();
    }
    ended(&concord.run(&["sync"]).await, 0);
    for file in ["a.db", "b.db"] {
        let user = rusqlite::Connection::open(concord.path(file)).unwrap();
        assert_eq!(user.query_row("SELECT stock FROM items", [], |row| row.get(0)), Ok(3), "{file}");
    }
}

#[tokio::test]
async fn what_does_not_fit_changes_nothing() {
    let concord = packed().await;
    // A byte of the file is another one.
    let bytes = std::fs::read(concord.path(FILE)).unwrap();
    for at in [1, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        std::fs::write(concord.path("flipped.concord"), flipped).unwrap();
        refused(&concord, &["bundle", "add", "flipped.concord"]).await;
    }
    let said = refused(&concord, &["bundle", "add", FILE, "--set", "itms=x"]).await;
    assert!(said.contains("no parameter `itms`; it takes items"), "{said}");
    let said = refused(&concord, &["bundle", "add", "nowhere.concord"]).await;
    assert!(said.contains("there is no nowhere.concord"), "{said}");
    // A table of the same name, and a file that would not be valid.
    concord.write("concord.toml", &format!("{CONFIG}[tables.items]\n"));
    let said = refused(&concord, &["bundle", "add", FILE]).await;
    assert!(said.contains("the table `items` is configured already"), "{said}");
    concord.write("concord.toml", &format!("{CONFIG}[tables.other.nodes.office]\ntable = \"goods\"\n"));
    let said = refused(&concord, &["bundle", "add", FILE, "--set", "items=goods"]).await;
    assert!(said.contains("nothing was changed") && said.contains("both the table `goods`"), "{said}");
    // Another plugin of that name.
    concord.write("concord.toml", CONFIG);
    concord.write("plugins/merge-fields.wasm", "mine");
    let said = concord.run(&["bundle", "add", FILE]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("another plugin `merge-fields`"), "{}", said.stderr);
    assert_eq!(
        (read(&concord, "plugins/merge-fields.wasm"), read(&concord, "concord.toml")),
        ("mine".into(), CONFIG.into())
    );
}

/// A file as an archive has it, under any name and of any kind, which no tool would write.
fn entry(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut entry = vec![0; 512];
    let size = format!("{:011o}", data.len());
    for (at, text) in [(0, name), (100, "0000644"), (124, size.as_str()), (148, "        "), (257, "ustar\u{0}00")] {
        entry[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    entry[156] = kind;
    let sum: u32 = entry.iter().map(|&byte: &u8| u32::from(byte)).sum();
    entry[148..155].copy_from_slice(format!("{sum:06o}\u{0}").as_bytes());
    entry.extend_from_slice(data);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

/// What zstd unpacks to these bytes and, from a few, to so many times 128 KiB of nothing after them.
fn frame(bytes: &[u8], nothing: usize) -> Vec<u8> {
    const BLOCK: usize = 1 << 17;
    const NOTHING: &[u8] = &[0];
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    // As it is, or one byte again and again.
    let as_it_is = bytes.chunks(BLOCK).map(|part| (0, part.len(), part));
    for (kind, size, data) in as_it_is.chain((0..nothing).map(|_| (1, BLOCK, NOTHING))) {
        let header = ((size as u32) << 3) | (kind << 1);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend_from_slice(data);
    }
    // The last block, with nothing in it.
    frame.extend_from_slice(&[1, 0, 0]);
    frame
}

/// All that is in a folder, with what files hold.
fn all_in(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.append(&mut all_in(&path));
        }
        all.insert(path.clone(), std::fs::read(&path).unwrap_or_default());
    }
    all
}

#[tokio::test]
async fn files_that_were_made_to_do_harm_write_nothing() {
    let concord = Concord::new(CONFIG);
    let manifest = "name = \"part\"\nversion = \"1.0.0\"\nsummary = \"A table\"\nconcord = \"*\"\n[tables.part]\n";
    let archive = |manifest: &str, more: &[Vec<u8>]| {
        let files = [entry("bundle.toml", b'0', manifest.as_bytes()), entry("README.md", b'0', b"One table.\n")];
        [&files.concat()[..], &more.concat()[..], &[0; 1024][..]].concat()
    };
    let with = |name: &str, kind: u8, data: &[u8]| archive(manifest, &[entry(name, kind, data)]);
    // In the folder above, and here.
    let here = concord.path("");
    let beside = format!("{}-harm", here.file_name().expect("a name").display());
    let absolute = concord.path("harm").display().to_string();
    let digest = format!("{manifest}[plugins.a]\ndigest = \"sha256:{}\"\n", "0".repeat(64));
    for (archive, nothing, why) in [
        (with(&format!("../{beside}"), b'0', b"x"), 0, "is no file of a bundle"),
        (with(&format!("plugins/../../{beside}"), b'0', b"x"), 0, "is no file of a bundle"),
        (with(&absolute, b'0', b"x"), 0, "is no file of a bundle"),
        (with("plugins/a.wasm", b'1', b""), 0, "is no plain file"),
        (with("plugins/a.wasm", b'2', b""), 0, "is no plain file"),
        (with("README.md", b'0', b"Another.\n"), 0, "stands twice"),
        (archive(&digest, &[entry("plugins/a.wasm", b'0', b"x")]), 0, "is not the file that bundle.toml names"),
        (archive(manifest, &[]), 600, "unpacks to more than 64 MiB"),
    ] {
        std::fs::write(concord.path("harm.concord"), frame(&archive, nothing)).unwrap();
        let before = all_in(&here);
        for command in ["check", "add"] {
            let said = refused(&concord, &["bundle", command, "harm.concord"]).await;
            assert!(said.contains(why), "{command}: {why}: {said}");
        }
        assert!(all_in(&here) == before && !concord.path("..").join(&beside).exists(), "{why}: something was written");
    }
    // It is what was put in that is refused.
    std::fs::write(concord.path("good.concord"), frame(&archive(manifest, &[]), 0)).unwrap();
    ended(&concord.run(&["bundle", "add", "good.concord"]).await, 0);
}

#[tokio::test]
async fn another_version_or_setting_of_a_bundle_is_not_put_beside_it() {
    let concord = packed().await;
    ended(&concord.run(&["bundle", "add", FILE]).await, 0);
    let before = read(&concord, "concord.toml");
    let said = concord.run(&["bundle", "add", FILE, "--set", "items=goods"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("concord.toml:11: the bundle `web-shop` is in it already"), "{}", said.stderr);
    assert_eq!(read(&concord, "concord.toml"), before);
}

/// The next version of the bundle, with other settings and another file of its plugin.
fn renew(concord: &Concord) {
    let manifest = MANIFEST.replace("1.0.0", "1.1.0").replace(", note = \"latest\"", "");
    concord.write("bundle/bundle.toml", &manifest);
    let mut plugin = std::fs::read(guests::plugins().join("merge-fields.wasm")).unwrap();
    // A section of its own, which means nothing.
    plugin.extend(b"\0\x05\x04more");
    std::fs::write(concord.path("bundle/plugins/merge-fields.wasm"), plugin).unwrap();
}

#[tokio::test]
async fn another_version_takes_the_place_of_the_one_that_is_there() {
    let concord = packed().await;
    ended(&concord.run(&["bundle", "add", FILE, "--set", "items=goods"]).await, 0);
    let before = read(&concord, "concord.toml") + "[tables.others]\n# last\n";
    concord.write("concord.toml", &before);
    renew(&concord);
    let said = concord.run(&["bundle", "add", "bundle"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("concord.toml:11: ") && said.stderr.contains("--replace"), "{}", said.stderr);

    let said = concord.run(&["bundle", "add", "bundle", "--replace"]).await;
    let told = ended(&said, 0);
    assert!(told.contains("1 table in the place of web-shop 1.0.0 in concord.toml: goods"), "{told}");
    let expected = before.replace("web-shop 1.0.0", "web-shop 1.1.0").replace(", note = \"latest\"", "");
    assert_eq!(read(&concord, "concord.toml"), expected);
    assert_eq!(
        std::fs::read(concord.path("plugins/merge-fields.wasm")).unwrap(),
        std::fs::read(concord.path("bundle/plugins/merge-fields.wasm")).unwrap()
    );
    // There are no databases yet.
    ended(&concord.run(&["plugin", "check", "--offline"]).await, 0);
    let said = concord.run(&["bundle", "add", "bundle", "--replace", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 0)).unwrap();
    assert_eq!((&report["changed"], &report["replaced"]), (&false.into(), &serde_json::Value::Null));
    // Settings are what they were but for those that are said now.
    ended(&concord.run(&["bundle", "add", "bundle", "--replace", "--set", "items=wares"]).await, 0);
    let expected = expected.replace("goods", "wares");
    assert_eq!(read(&concord, "concord.toml"), expected);
}

/// A bundle without plugins, of which a parameter can be one of some words only.
const RULES: &str = r#"name = "rules"
version = "1.0.0"
summary = "Who wins in a shop"
concord = ">=0.1, <0.2"
[parameters.rule]
type = "text"
about = "who wins"
[tables.items]
conflict = "{rule}"
[tables.prices]
conflict = "{rule}"
"#;

fn rules(manifest: &str) -> Concord {
    let concord = Concord::new(CONFIG);
    concord.write("rules/README.md", "# Rules\n");
    concord.write("rules/bundle.toml", manifest);
    concord
}

#[tokio::test]
async fn what_is_set_is_tried_where_a_bundle_is_packed_and_where_it_is_kept() {
    let concord = rules(RULES);
    let said = concord.run(&["bundle", "pack", "rules"]).await;
    assert!(ended(&said, 2).contains("no conflict policy is called `rule`"), "{}", said.stdout);
    ended(&concord.run(&["bundle", "pack", "rules", "--set", "rule=park"]).await, 0);
    ended(&concord.run(&["bundle", "add", "rules-1.0.0.concord", "--set", "rule=park"]).await, 0);
    concord.write("rules/bundle.toml", &RULES.replace("1.0.0", "1.1.0"));
    let said = concord.run(&["bundle", "add", "rules", "--replace", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 0)).unwrap();
    let nothing = serde_json::json!([]);
    assert_eq!((&report["replaced"], &report["gone"], &report["dropped"]), (&"1.0.0".into(), &nothing, &nothing));
    assert_eq!(read(&concord, "concord.toml").matches("conflict = \"park\"").count(), 2);
}

/// Whoever misspells a node is told which there are, and not of a file that nobody wrote.
#[tokio::test]
async fn a_node_that_is_none_is_told_before_the_bundle_is_tried() {
    let text = RULES.replace("\"text\"", "\"node\"").replace("\"{rule}\"", "{ prefer = [\"{rule}\"] }");
    let concord = rules(&text);
    for node in ["Branch", "b c", "attic"] {
        let told = refused(&concord, &["bundle", "add", "rules", "--set", &format!("rule={node}")]).await;
        let expected = format!("`rule` names a node, and none is called `{node}`: --set rule= one of office, branch");
        assert!(told.contains(&expected) && !told.contains("bundle.toml"), "{told}");
    }
    ended(&concord.run(&["bundle", "add", "rules", "--set", "rule=branch"]).await, 0);
}

#[tokio::test]
async fn what_goes_when_a_bundle_is_replaced_is_told() {
    let concord = rules(RULES);
    ended(&concord.run(&["bundle", "add", "rules", "--set", "rule=park"]).await, 0);
    let (head, _) = RULES.split_once("[parameters.rule]").unwrap();
    concord.write("rules/bundle.toml", &format!("{}[tables.items]\n", head.replace("1.0.0", "1.1.0")));
    let said = concord.run(&["bundle", "add", "rules", "--replace"]).await;
    let told = ended(&said, 0);
    assert!(told.contains("1 table gone from concord.toml, which this version does not bring: prices"), "{told}");
    assert!(told.contains("what `rule` was set to is not kept"), "{told}");
}

/// By what a manifest repeats in an error, as it stands and decoded, and what a fixture names.
#[tokio::test]
async fn a_strangers_bundle_does_not_steer_the_terminal() {
    let concord = folder();
    let case = read(&concord, "bundle/fixtures/merge-fields/latest.json");
    let check = async |manifest: &str, told: &str| {
        concord.write("bundle/bundle.toml", manifest);
        let said = concord.run(&["bundle", "check", "bundle"]).await;
        ended(&said, 2);
        assert!(said.says(told), "{}{}", said.stdout, said.stderr);
        let controls = |text: &str| text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
        assert!(!controls(&said.stdout) && !controls(&said.stderr), "{:?}{:?}", said.stdout, said.stderr);
    };
    check(&MANIFEST.replace("summary", "\"summary\\u001b[2J\""), "summary [2J").await;
    check(&MANIFEST.replace("summary = ", "summary = \u{1b}[2J"), "bundle.toml: ").await;
    concord.write("bundle/fixtures/merge-fields/latest.json", &case.replacen("\"about\"", "\"ab\\u001b[2J\"", 1));
    check(MANIFEST, "ab [2J").await;
}

#[tokio::test]
async fn a_plugin_that_others_use_is_not_replaced() {
    let concord = packed().await;
    ended(&concord.run(&["bundle", "add", FILE]).await, 0);
    let own = "[tables.own]\nconflict = { plugin = \"merge-fields\", fields = { n = \"sum\" } }\n";
    let before = read(&concord, "concord.toml") + own;
    concord.write("concord.toml", &before);
    renew(&concord);
    let said = concord.run(&["bundle", "add", "bundle", "--replace"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("`own`, which is no table of the bundle, uses it as well"), "{}", said.stderr);
    assert_eq!(read(&concord, "concord.toml"), before);
    ended(&concord.run(&["plugin", "check", "--offline"]).await, 0);
}

#[tokio::test]
async fn what_was_replaced_by_half_runs_nothing() {
    for point in ["bundle-plugins-written", "bundle-half-told"] {
        let mut concord = packed().await;
        ended(&concord.run(&["bundle", "add", FILE]).await, 0);
        renew(&concord);
        concord.faults(&format!("{point}=abort"));
        let said = concord.run(&["bundle", "add", "bundle", "--replace"]).await;
        assert_ne!(said.status.code(), Some(0));
        concord.faults("");
        let said = concord.run(&["plugin", "check"]).await;
        assert!(ended(&said, 2).contains("is not the file that concord.lock names"), "{point}: {}", said.stdout);
        ended(&concord.run(&["bundle", "add", "bundle", "--replace"]).await, 0);
        ended(&concord.run(&["plugin", "check", "--offline"]).await, 0);
        assert!(read(&concord, "concord.toml").contains("web-shop 1.1.0"), "{point}");
    }
}

#[tokio::test]
async fn bundles_that_are_added_at_once_are_all_added() {
    let concord = Concord::new(CONFIG);
    let names: Vec<String> = (0..6).map(|n| format!("part-{n}")).collect();
    for name in &names {
        let manifest = format!(
            "name = \"{name}\"\nversion = \"1.0.0\"\nsummary = \"A table\"\nconcord = \"*\"\n[tables.{name}]\n"
        );
        concord.write(&format!("{name}/bundle.toml"), &manifest);
        concord.write(&format!("{name}/README.md"), "One table.\n");
    }
    let adding = names.iter().map(|name| {
        let concord = &concord;
        async move { concord.run(&["bundle", "add", name]).await }
    });
    for said in futures::future::join_all(adding).await {
        ended(&said, 0);
    }
    let text = read(&concord, "concord.toml");
    for name in &names {
        assert!(text.contains(&format!("[tables.{name}]")), "{name} is missing:\n{text}");
    }
}

/// Whoever edits a file takes no lock, and neither does what puts one back as it was in a repository.
#[tokio::test]
async fn what_is_edited_while_a_bundle_is_added_is_not_lost() {
    let edited = format!("{CONFIG}[tables.mine]\n");
    let pins = "version = 1\n# Mine.\n[[plugin]]\nname = \"mine\"\nversion = \"1\"\nsha256 = \"".to_owned()
        + &"0".repeat(64)
        + "\"\n";
    for (point, args, file, text) in [
        ("bundle-plugins-written", &["bundle", "add", FILE][..], "concord.toml", &edited),
        ("bundle-plugins-written", &["bundle", "add", FILE], "concord.lock", &pins),
        ("bundle-half-told", &["bundle", "add", FILE], "concord.toml", &edited),
        ("lock-write", &["plugin", "lock"], "concord.lock", &pins),
    ] {
        let mut concord = packed().await;
        if args[0] == "plugin" {
            ended(&concord.run(&["bundle", "add", FILE]).await, 0);
            std::fs::remove_file(concord.path("concord.lock")).unwrap();
        }
        let paused = concord.path("paused");
        let running = concord.faults(&format!("{point}=pause:{}", paused.display())).start(args);
        wait_until(point, PATIENCE, async || paused.exists().then_some(())).await;
        concord.write(file, text);
        std::fs::remove_file(&paused).unwrap();
        let said = running.wait().await;
        ended(&said, 2);
        assert!(said.stderr.contains(&format!("{file} was changed meanwhile")), "{}", said.stderr);
        assert_eq!(&read(&concord, file), text, "{point}");
        concord.faults("");
        ended(&concord.run(args).await, 0);
        assert!(args[0] == "plugin" || read(&concord, file).contains("mine"), "{}", read(&concord, file));
        ended(&concord.run(&["plugin", "check", "--offline"]).await, 0);
    }
}

#[tokio::test]
async fn what_was_interrupted_is_done_again() {
    for point in ["bundle-plugins-written", "bundle-half-told"] {
        let mut concord = packed().await;
        concord.faults(&format!("{point}=abort"));
        let said = concord.run(&["bundle", "add", FILE]).await;
        assert_ne!(said.status.code(), Some(0));
        assert_eq!(read(&concord, "concord.toml"), CONFIG, "{point}");
        concord.faults("");
        ended(&concord.run(&["bundle", "add", FILE]).await, 0);
        ended(&concord.run(&["plugin", "check", "--offline"]).await, 0);
    }
}

#[tokio::test]
async fn only_bundles_by_a_known_key_are_taken_where_keys_are_named() {
    let concord = packed().await;
    let sign = |pair: &minisign::KeyPair, bytes: &[u8]| {
        minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(bytes), Some("web-shop"), None).unwrap().into_string()
    };
    let [ours, theirs] = [(); 2].map(|()| minisign::KeyPair::generate_unencrypted_keypair().unwrap());
    let bytes = std::fs::read(concord.path(FILE)).unwrap();
    concord.write("concord.toml", &format!("{CONFIG}[bundles]\nkeys = [\"{}\"]\n", ours.pk.to_base64()));
    let beside = format!("{FILE}.minisig");
    let said = refused(&concord, &["bundle", "add", FILE]).await;
    assert!(said.contains("bears no signature"), "{said}");
    concord.write(&beside, &sign(&theirs, &bytes));
    let said = refused(&concord, &["bundle", "add", FILE]).await;
    assert!(said.contains("another key made it"), "{said}");
    concord.write(&beside, &sign(&ours, b"something else"));
    let said = refused(&concord, &["bundle", "add", FILE]).await;
    assert!(said.contains("is not that key's of this file"), "{said}");
    let said = refused(&concord, &["bundle", "add", "bundle"]).await;
    assert!(said.contains("only signed bundles are taken here"), "{said}");
    concord.write(&beside, &sign(&ours, &bytes));
    let key = ours.pk.to_base64();
    let told = concord.run(&["bundle", "check", FILE, "--key", &key]).await;
    assert!(ended(&told, 0).contains("good, by RW"), "{}", told.stdout);
    let said = concord.run(&["bundle", "add", FILE, "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(ended(&said, 0)).unwrap();
    assert_eq!(report["signed_by"], key);
}

#[tokio::test]
async fn a_bundle_that_is_not_right_is_told_by_its_steps() {
    let concord = folder();
    let case = read(&concord, "bundle/fixtures/merge-fields/latest.json");
    concord.write(
        "bundle/fixtures/merge-fields/latest.json",
        &case.replacen("\"take\": \"office\"", "\"take\": \"branch\"", 1),
    );
    let said = concord.run(&["bundle", "check", "bundle"]).await;
    let told = ended(&said, 1);
    assert!(told.contains("fixtures of merge-fields  FAILED") && told.contains("latest: conflict 2"), "{told}");
    concord.write("bundle/bundle.toml", &MANIFEST.replace("conflict =", "from = \"office\"\nconflict ="));
    let said = concord.run(&["bundle", "check", "bundle"]).await;
    let told = ended(&said, 2);
    assert!(told.contains("plugin merge-fields") && told.contains("tables                    FAILED"), "{told}");
    assert!(told.contains("no node is called `office`") && told.contains("[parameters.branch]"), "{told}");
    // What the plugin does not take, and what it is not for.
    concord.write("bundle/bundle.toml", &MANIFEST.replace("{ plugin", "{ filds = 1, plugin"));
    let said = concord.run(&["bundle", "check", "bundle"]).await;
    assert!(ended(&said, 2).contains("`filds` cannot stand here; what can: "), "{}", said.stdout);
    ended(&concord.run(&["bundle", "add", "bundle"]).await, 2);
    assert_eq!(read(&concord, "concord.toml"), CONFIG);
    let filter = MANIFEST.replace(
        "[tables.\"{items}\"]\nconflict",
        "[parameters.here]\ntype = \"node\"\nabout = \"it\"\n\
                                   [tables.\"{items}\".nodes.\"{here}\"]\nfilter",
    );
    concord.write("bundle/bundle.toml", &filter);
    let said = concord.run(&["bundle", "check", "bundle"]).await;
    assert!(
        ended(&said, 2).contains("it is no filter, but a resolver (role); a resolver is named in"),
        "{}",
        said.stdout
    );
    concord.write("bundle/bundle.toml", &MANIFEST.replace("conflict =", "from = \"office\"\nconflict ="));
    ended(&concord.run(&["bundle", "pack", "bundle"]).await, 2);
    assert!(!concord.path(FILE).exists());
    concord.write("bundle/plugins/other.wasm", "mine");
    concord.write("bundle/bundle.toml", MANIFEST);
    let said = concord.run(&["bundle", "pack", "bundle"]).await;
    ended(&said, 2);
    assert!(said.stdout.contains("none of its tables uses the plugin `other`"), "{}", said.stdout);
    concord.write("bundle/src/lib.rs", "mine");
    let said = concord.run(&["bundle", "check", "bundle"]).await;
    ended(&said, 2);
    assert!(said.stderr.contains("`src/lib.rs` is no file of a bundle"), "{}", said.stderr);
}
