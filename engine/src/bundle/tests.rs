//! What a bundle may hold, what becomes of files that were made to do harm, and what its settings come to.

use std::path::Path;

use tar::{EntryType, Header};

use super::contents::{LARGEST_FILE, MOST_FILES};
use super::*;
use crate::config::SigningKey;
use crate::digest::digest;

const TEXT: &str = r#"name = "shop"
version = "1.2.0"
summary = "Keeps a shop in step"
concord = ">=0.1, <0.2"

[parameters.branch]
type = "node"
about = "the node of the branch"

[parameters.items]
type = "text"
about = "the table of what is sold"
default = "items"

# Stock is added up.
[tables."{items}"]
conflict = { prefer = ["{branch}"] } # who is right
[tables."{items}".nodes."{branch}"]
table = "branch_{items}"
"#;

/// A file of an archive: its name, its kind, the size it claims and what there is of it.
type Crafted<'a> = (&'a str, EntryType, u64, &'a [u8]);

/// An archive with exactly these names, which the library would refuse to write.
fn archive(files: &[Crafted<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, size, data) in files {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(*size);
        header.set_mode(0o644);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn compressed(archive: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(archive, 3).unwrap()
}

fn why(files: &[Crafted<'_>]) -> String {
    unpack(&compressed(&archive(files))).unwrap_err()
}

fn plain<'a>(name: &'a str, data: &'a [u8]) -> Crafted<'a> {
    (name, EntryType::Regular, data.len() as u64, data)
}

/// A bundle's folder with these files beside the manifest.
fn folder(text: &str, files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, data) in [("bundle.toml", text.as_bytes()), ("README.md", b"For shops.")].iter().chain(files) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, data).unwrap();
    }
    folder
}

fn open(path: &Path) -> Result<Bundle, String> {
    Given::read(path)?.open()
}

#[test]
fn what_was_packed_is_unpacked_and_always_the_same() {
    let files: &[(&str, &[u8])] = &[
        ("plugins/a.wasm", b"\0asm"),
        ("fixtures/a/one.json", b"{}"),
        ("LICENSE-MIT", b"MIT"),
        (".git/config", b"[core]"),
    ];
    let text = format!("{TEXT}[plugins.a]\n");
    let (bundle, bytes) = open(folder(&text, files).path()).unwrap().packed().unwrap();
    let names: Vec<&str> = bundle.contents.files().map(|(name, _)| name).collect();
    assert_eq!(names, ["LICENSE-MIT", "README.md", "bundle.toml", "fixtures/a/one.json", "plugins/a.wasm"]);
    assert_eq!(unpack(&bytes).unwrap(), bundle.contents);
    assert_eq!(open(folder(&text, files).path()).unwrap().packed().unwrap().1, bytes);
    // The manifest got the digest, and kept its comments.
    let text = bundle.contents.text(MANIFEST).unwrap();
    assert!(text.contains("# Stock is added up.") && text.contains(&digest(b"\0asm")), "{text}");
}

#[test]
fn names_that_lead_out_or_have_no_place_are_refused() {
    for name in [
        "../bundle.toml",
        "plugins/../../a.wasm",
        "/etc/passwd",
        "/bundle.toml",
        "./bundle.toml",
        "plugins//a.wasm",
        "plugins/.wasm",
        "plugins/A.wasm",
        "plugins\\a.wasm",
        "C:/a.wasm",
        "plugins/a.wasm/b.wasm",
        "fixtures/a/.json",
        "fixtures/../x.json",
        "fixtures/a/\u{1b}[2J.json",
        "src/lib.rs",
        "concord.toml",
        "",
    ] {
        let why = why(&[plain(name, b"x")]);
        assert!(why.contains("is no file of a bundle") && !why.contains('\u{1b}'), "{name}: {why}");
    }
}

#[test]
fn only_plain_files_are_taken() {
    use EntryType as Kind;
    let kinds = [Kind::Symlink, Kind::Link, Kind::Directory, Kind::Char, Kind::Fifo, Kind::GNULongName, Kind::XHeader];
    for kind in kinds.into_iter().chain([Kind::GNUSparse, Kind::GNULongLink, Kind::XGlobalHeader, Kind::Continuous]) {
        let why = why(&[("plugins/a.wasm", kind, 0, b"")]);
        assert!(why.contains("is no plain file"), "{kind:?}: {why}");
    }
}

#[test]
fn no_file_stands_twice() {
    let again = why(&[plain("README.md", b"x"), plain("README.md", b"y")]);
    assert!(again.contains("stands twice"), "{again}");
    let capitals = why(&[plain("fixtures/a/x.json", b"x"), plain("fixtures/a/X.json", b"y")]);
    assert!(capitals.contains("or as `fixtures/a/x.json`"), "{capitals}");
}

#[test]
fn what_is_too_much_is_refused_before_it_is_there() {
    // The header claims more than there is, and more than there may be.
    let claimed = why(&[("README.md", EntryType::Regular, LARGEST_FILE + 1, b"x")]);
    assert!(claimed.contains("32 MiB are the most"), "{claimed}");
    let short = why(&[("README.md", EntryType::Regular, 1 << 20, b"x")]);
    assert!(short.contains("has not the 1048576 bytes"), "{short}");
    let big = vec![0; LARGEST_FILE as usize];
    let together = why(&[plain("plugins/a.wasm", &big), plain("plugins/b.wasm", &big), plain("README.md", b"x")]);
    assert!(together.contains("more than 64 MiB together"), "{together}");
    let names: Vec<String> = (0..=MOST_FILES).map(|n| format!("fixtures/a/{n}.json")).collect();
    let many = why(&names.iter().map(|name| plain(name, b"")).collect::<Vec<_>>());
    assert!(many.contains("more than 1000 files"), "{many}");
}

/// Some kilobytes that would become 128 MiB of nothing, after the end of the archive.
#[test]
fn a_bomb_is_not_unpacked() {
    let nothing = vec![0; 1 << 20];
    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    let whole = archive(&[plain("README.md", b"x")]);
    std::io::Write::write_all(&mut bomb, &whole).unwrap();
    for _ in 0..128 {
        std::io::Write::write_all(&mut bomb, &nothing).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    assert!(unpack(&bomb).unwrap_err().contains("unpacks to more than 64 MiB"));
    // A decoder that had to remember so much would take that much memory.
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    std::io::Write::write_all(&mut wide, &whole).unwrap();
    assert!(unpack(&wide.finish().unwrap()).is_err());
}

#[test]
fn what_is_broken_or_goes_on_after_its_end_is_refused() {
    let whole = archive(&[plain("README.md", b"x")]);
    assert!(unpack(&compressed(&whole)).is_ok());
    let mut more = whole.clone();
    more.extend_from_slice(&archive(&[plain("bundle.toml", b"x")]));
    assert!(unpack(&compressed(&more)).unwrap_err().contains("after its end"));
    assert!(unpack(b"PK\x03\x04").is_err() && unpack(b"").is_err());
    let packed = compressed(&whole);
    assert!(unpack(&packed[..packed.len() - 5]).is_err());
}

#[cfg(unix)]
#[test]
fn links_in_a_folder_are_not_followed() {
    let folder = folder(TEXT, &[("plugins/a.wasm", b"x")]);
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("plugins/b.wasm")).unwrap();
    assert!(open(folder.path()).unwrap_err().contains("neither a file nor a folder"));
    std::fs::remove_file(folder.path().join("plugins/b.wasm")).unwrap();
    std::os::unix::fs::symlink("/etc", folder.path().join("fixtures")).unwrap();
    assert!(open(folder.path()).unwrap_err().contains("neither a file nor a folder"));
}

#[test]
fn a_plugin_is_the_one_that_is_meant() {
    let digest = digest(b"good");
    let text = format!("{TEXT}[plugins.a]\ndigest = \"sha256:{digest}\"\n");
    assert!(open(folder(&text, &[("plugins/a.wasm", b"good")]).path()).is_ok());
    let why = |text: &str, files: &[(&str, &[u8])]| open(folder(text, files).path()).unwrap_err();
    let flipped = why(&text, &[("plugins/a.wasm", b"goof")]);
    assert!(flipped.contains("is not the file that bundle.toml names"), "{flipped}");
    assert!(why(&text, &[]).contains("there is no plugins/a.wasm"));
    let unsaid = open(folder(TEXT, &[("plugins/a.wasm", b"good")]).path()).unwrap();
    assert_eq!(unsaid.manifest.plugins, [("a".to_owned(), Some(digest))].into());
    let stray = why(TEXT, &[("fixtures/b/x.json", b"{}")]);
    assert!(stray.contains("is for no plugin"), "{stray}");
    // A file has digests of all its plugins: nothing is vouched for otherwise.
    let mut contents = Contents::of_folder(folder(TEXT, &[("plugins/a.wasm", b"good")]).path()).unwrap();
    contents.replace(MANIFEST, TEXT.as_bytes().to_vec());
    let undigested = Bundle::new(contents, Some(String::new())).unwrap_err();
    assert!(undigested.contains("no digest of the plugin `a`"), "{undigested}");
}

/// Vectors of the tool itself, about a file with the text `test`.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";

#[test]
fn a_signature_is_of_this_file_and_one_of_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.concord");
    let at = |bytes: &[u8], signature: Option<&str>, keys: &[SigningKey]| {
        std::fs::write(&path, bytes).unwrap();
        let beside = folder.path().join("x.concord.minisig");
        match signature {
            Some(text) => std::fs::write(beside, text).unwrap(),
            None => drop(std::fs::remove_file(beside)),
        }
        Given::read(&path).unwrap().signature(keys)
    };
    let keys = [SigningKey::parse(KEY).unwrap()];
    assert_eq!(
        at(b"test", Some(SIGNATURE), &keys),
        Ok(Signature::Good { key: KEY.to_owned(), comment: "timestamp:1633700835 file:test prehashed".to_owned() })
    );
    assert!(at(b"tesu", Some(SIGNATURE), &keys).unwrap_err().contains("was changed"));
    let other = SigningKey::parse(&KEY.replace("GFO3", "GFO4")).unwrap();
    assert!(at(b"test", Some(SIGNATURE), &[other]).unwrap_err().contains("is not that key's of this file"));
    let stranger = SigningKey::parse(&KEY.replace("RWQf6L", "RWQf6M")).unwrap();
    assert!(at(b"test", Some(SIGNATURE), &[stranger]).unwrap_err().contains("another key made it"));
    // The comment is signed as well.
    assert!(at(b"test", Some(&SIGNATURE.replace("file:test", "file:best")), &keys).is_err());
    assert!(at(b"test", Some("hello"), &keys).unwrap_err().contains("is no signature"));
    assert!(at(b"test", None, &keys).unwrap_err().contains("bears no signature"));
    assert_eq!(at(b"test", None, &[]), Ok(Signature::Absent));
    assert_eq!(at(b"test", Some(SIGNATURE), &[]), Ok(Signature::Unchecked));
    let of_folder = Given::read(folder.path()).unwrap().signature(&keys).unwrap_err();
    assert!(of_folder.contains("is a folder"), "{of_folder}");
}

fn manifest(from: &str, to: &str) -> Result<Manifest, String> {
    assert!(TEXT.contains(from), "{from}");
    Manifest::parse(&TEXT.replace(from, to))
}

#[test]
fn a_manifest_says_what_it_is_and_whom_it_is_for() {
    assert_eq!(manifest("1.2.0", "1.2.0").unwrap().version.to_string(), "1.2.0");
    let why = |from: &str, to: &str| manifest(from, to).unwrap_err();
    assert!(why(">=0.1, <0.2", ">=0.2").contains("is made for Concord >=0.2, and this is 0.1."));
    assert!(why(">=0.1, <0.2", "some").contains("no range of versions"));
    assert!(why("1.2.0", "1.2").contains("`version` is none"));
    assert!(why("name = \"shop\"", "name = \"../shop\"").contains("cannot be the name of the bundle"));
    assert!(why("summary", "sumary").contains("unknown field `sumary`"));
    assert!(why("Keeps a shop", "\\u001b[2J").contains("control characters"));
    assert!(why("default = \"items\"", "default = 7").contains("`default` of the parameter `items` is no text"));
    assert!(why("type = \"node\"", "type = \"noed\"").contains("noed"));
    assert!(why("[parameters.items]", "[parameters.Items]").contains("no name of a parameter"));
    assert!(why("[parameters.branch]", "[plugins.a]\ndigest = \"00\"\n[parameters.branch]").contains("`digest`"));
}

fn sections(manifest: &Manifest, given: &[(&str, &str)]) -> Result<String, String> {
    let given: Vec<(String, String)> = given.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    let settings = manifest.settings(&given, &["office".to_owned(), "berlin".to_owned()]);
    Ok(manifest.sections(&settings.map_err(|all| all.join("; "))?)?.0)
}

#[test]
fn parameters_take_their_places() {
    let manifest = Manifest::parse(TEXT).unwrap();
    let filled = sections(&manifest, &[("branch", "berlin"), ("items", "odd \"] name")]).unwrap();
    let expected = "# Stock is added up.\n[tables.'odd \"] name']\nconflict = { prefer = [\"berlin\"] } # who is right\n\
                    [tables.'odd \"] name'.nodes.berlin]\ntable = 'branch_odd \"] name'\n";
    assert_eq!(filled, expected);
    assert!(sections(&manifest, &[]).unwrap_err().contains("`branch` has to be set (the node of the branch)"));
    assert!(sections(&manifest, &[("branch", "attic")]).unwrap_err().contains("none is called `attic`"));
    assert!(sections(&manifest, &[("branch", "berlin"), ("brnch", "x")]).unwrap_err().contains("no parameter `brnch`"));
    let twice = sections(&manifest, &[("branch", "berlin"), ("branch", "office")]).unwrap_err();
    assert!(twice.contains("set twice"), "{twice}");
}

#[test]
fn a_setting_that_is_a_parameter_alone_takes_its_type() {
    let text = TEXT.replace(
        "[parameters.branch]",
        "[parameters.limit]\ntype = \"integer\"\nabout = \"a\"\n[parameters.strict]\ntype = \"boolean\"\nabout = \"a\"\ndefault = true\n[parameters.branch]",
    );
    let rule = "{ plugin = \"x\", most = \"{limit}\", strict = \"{strict}\", keep = \"{'a': {limit}} { limit }\" }";
    let manifest = Manifest::parse(&text.replace("{ prefer = [\"{branch}\"] }", rule)).unwrap();
    let filled = sections(&manifest, &[("branch", "berlin"), ("limit", "7")]).unwrap();
    let expected =
        "conflict = { plugin = \"x\", most = 7, strict = true, keep = \"{'a': 7} { limit }\" } # who is right\n";
    assert!(filled.contains(expected), "{filled}");
    let why = sections(&manifest, &[("branch", "berlin"), ("limit", "seven")]).unwrap_err();
    assert!(why.contains("takes an integer"), "{why}");
}

/// The file that is made up for it has other lines than `bundle.toml`.
#[test]
fn what_is_wrong_with_settings_is_told_without_the_lines_of_a_made_up_file() {
    let why = manifest("prefer =", "prefre =").unwrap().try_settings(&[]).unwrap_err().join("; ");
    let told = "in a sync that was made up to try it: the tables of bundle.toml: ";
    let numbered = |line: &str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    assert!(why.starts_with(told) && why.contains("\n      | ") && !why.lines().any(numbered), "{why}");
    // Nor does it send anybody to another line.
    let double = format!("{TEXT}[tables.b.nodes.\"{{branch}}\"]\ntable = \"branch_items\"\n");
    let why = Manifest::parse(&double).unwrap().try_settings(&[]).unwrap_err().join("; ");
    assert!(why.contains("`items` and `b` are both the table `branch_items`") && !why.contains("on line"), "{why}");
}

/// By whoever tries it with a name that no node can have.
#[test]
fn a_node_that_can_be_none_is_refused_by_its_parameter() {
    let manifest = Manifest::parse(TEXT).unwrap();
    let tried = |node: &str| manifest.try_settings(&[("branch".to_owned(), node.to_owned())]).map(|_| ());
    for node in ["Berlin", "b c", "a.b", "a\"b", ""] {
        let why = tried(node).unwrap_err().join("; ");
        let told = format!("`branch` names a node, and none can be called `{node}`: ");
        assert!(why.starts_with(&told) && !why.contains("bundle.toml"), "{why}");
    }
    for node in ["berlin", "-b_2-", "-", "--"] {
        assert_eq!(tried(node), Ok(()), "{node}");
    }
}

#[test]
fn settings_are_tried_in_a_sync_that_was_made_up() {
    let tried =
        |from: &str, to: &str| manifest(from, to).unwrap().try_settings(&[]).map(|_| ()).map_err(|all| all.join("; "));
    assert_eq!(tried("1.2.0", "1.2.0"), Ok(()));
    let why = |from: &str, to: &str| tried(from, to).unwrap_err();
    assert!(why("prefer =", "prefre =").contains("unknown key `prefre`"));
    assert!(why("prefer = [\"{branch}\"]", "prefer = [\"{brnch}\"]").contains("there is no [parameters.brnch]"));
    assert!(why("prefer = [\"{branch}\"]", "plugin = \"x\"").contains("the plugin `x`, which is not in it"));
    assert!(why("table = \"branch_{items}\"", "table = \"a\"\n[plugins.x]").contains("none of its tables uses"));
    let idle = "[parameters.idle]\ntype = \"text\"\nabout = \"a\"\n[parameters.branch]";
    assert!(why("[parameters.branch]", idle).contains("no setting has the parameter `idle`"));
}
