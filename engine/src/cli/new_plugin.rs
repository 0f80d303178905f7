//! `concord plugin new`: a folder with everything that it takes to write a plugin.
//!
//! What it starts with are the examples, so that what is tested there holds for it.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::report::say;
use crate::error::{DONE, Error, Result};
use crate::plugin::is_name;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Rust,
    Python,
    C,
    #[value(name = "typescript", alias = "ts")]
    TypeScript,
    #[value(name = "javascript", alias = "js")]
    JavaScript,
}

/// The roles that there are examples of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Begun {
    Resolver,
    Filter,
    Mapping,
}

impl Begun {
    fn as_str(self) -> &'static str {
        match self {
            Begun::Resolver => "resolver",
            Begun::Filter => "filter",
            Begun::Mapping => "mapping",
        }
    }

    /// What it does to begin with, in a README.
    fn begins(self) -> &'static str {
        match self {
            Begun::Resolver => RESOLVER_BEGINS,
            Begun::Filter => FILTER_BEGINS,
            Begun::Mapping => MAPPING_BEGINS,
        }
    }
}

#[derive(Clone, Debug, Args)]
#[command(
    about = "Begin a plugin: write a folder with one that works, its fixtures, and how to build and test it",
    long_about = "Write a folder with a resolver, filter or mapping that works, its fixtures, and a README that says how to build and test it. \
                  The folder stands by itself: what it takes of Concord is in it.",
    after_long_help = "Example:\n  concord plugin new cheapest --lang rust\n  concord plugin new branch-only --role filter\n  concord plugin new old-shape --role mapping"
)]
pub struct NewPlugin {
    /// Its name: lower-case letters, digits and hyphens
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it is to serve; a filter or mapping is there in Rust, Python and JavaScript
    #[arg(long, value_enum, default_value_t = Begun::Resolver)]
    pub role: Begun,
    /// The language to write it in
    #[arg(long = "lang", value_enum, default_value_t = Language::Rust)]
    pub language: Language,
    /// Where to make the folder, instead of here
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub at: PathBuf,
}

/// Where a file goes, its text, and what is to be put in place of what in it.
type Template = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Stands for the name in templates.
const NAME: &str = "{name}";

const WIT: &str = include_str!("../../../wit/plugin.wit");

const RUST: &[Template] = &[
    ("Cargo.toml", RUST_CARGO, &[]),
    ("README.md", RUST_README, &[]),
    ("concord/wit/plugin.wit", WIT, &[]),
    ("concord/plugins/sdk/Cargo.toml", include_str!("../../../plugins/sdk/Cargo.toml"), &[]),
    ("concord/plugins/sdk/src/lib.rs", include_str!("../../../plugins/sdk/src/lib.rs"), &[]),
    ("concord/plugins/sdk/src/filter.rs", include_str!("../../../plugins/sdk/src/filter.rs"), &[]),
    ("concord/plugins/sdk/src/inside.rs", include_str!("../../../plugins/sdk/src/inside.rs"), &[]),
    ("concord/plugins/sdk/src/mapping.rs", include_str!("../../../plugins/sdk/src/mapping.rs"), &[]),
    ("concord/plugins/sdk/src/resolver.rs", include_str!("../../../plugins/sdk/src/resolver.rs"), &[]),
    ("concord/plugins/sdk/src/value.rs", include_str!("../../../plugins/sdk/src/value.rs"), &[]),
];

const STEPS: (&str, &str) = ("; docs/src/plugins.md builds it step by step", "");

const RUST_RESOLVER: Template = (
    "src/lib.rs",
    include_str!("../../../examples/plugins/longest/src/lib.rs"),
    &[("\"longest\"", "\"{name}\""), STEPS],
);

const RUST_FILTER: Template =
    ("src/lib.rs", include_str!("../../../examples/plugins/region/src/lib.rs"), &[("\"region\"", "\"{name}\""), STEPS]);

const RUST_MAPPING: Template = (
    "src/lib.rs",
    include_str!("../../../examples/plugins/full-name/src/lib.rs"),
    &[("\"full-name\"", "\"{name}\""), STEPS],
);

const LONGEST_FIXTURES: &[Template] =
    &[("fixtures/{name}.json", include_str!("../../../examples/plugins/longest/fixtures/longest.json"), &[])];

const SHORTEST_FIXTURES: &[Template] =
    &[("fixtures/{name}.json", include_str!("../../../examples/plugins/shortest/shortest.json"), &[])];

const FILTER_FIXTURES: &[Template] = &[
    ("fixtures/{name}.json", include_str!("../../../examples/plugins/region/fixtures/region.json"), &[]),
    (
        "fixtures/refused-column.json",
        include_str!("../../../examples/plugins/region/fixtures/refused-column.json"),
        &[],
    ),
];

const MAPPING_FIXTURES: &[Template] = &[
    ("fixtures/{name}.json", include_str!("../../../examples/plugins/full-name/fixtures/full-name.json"), &[]),
    (
        "fixtures/refused-column.json",
        include_str!("../../../examples/plugins/full-name/fixtures/refused-column.json"),
        &[],
    ),
];

/// The workspace has what the SDK takes from that of Concord.
const RUST_CARGO: &str = r#"[package]
name = "{name}"
description = "A {role} for Concord"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
publish.workspace = true

[lib]
crate-type = ["cdylib"]
test = false

[dependencies]
concord-plugin.workspace = true
serde.workspace = true

# `concord` is what a plugin takes of Concord: the interface, and the SDK.
[workspace]
resolver = "3"
members = ["concord/plugins/sdk"]

[workspace.package]
version = "0.1.0"
edition = "2024"
rust-version = "1.95"
license = "Apache-2.0 OR MIT"
publish = false

[workspace.dependencies]
concord-plugin = { path = "concord/plugins/sdk" }
serde = { version = "1", features = ["derive"] }
serde_json = { version = "1", features = ["arbitrary_precision", "preserve_order"] }
wit-bindgen = { version = "0.61", default-features = false, features = ["macros", "realloc", "std"] }

[profile.release]
opt-level = "s"
lto = true
codegen-units = 1
strip = "debuginfo"
"#;

const RUST_README: &str = r#"# {name}

A {role} for Concord, in Rust. {begins}

Write your own rule in `src/lib.rs`, and what it has to answer in `fixtures`. It takes Rust and its target for WebAssembly, which
`rustup target add wasm32-unknown-unknown` adds. In this folder:

    cargo build --release --target wasm32-unknown-unknown
    concord plugin build target/wasm32-unknown-unknown/release/{module}.wasm --output {name}.wasm
    concord plugin test {name}.wasm

`concord/wit/plugin.wit` describes every word of the interface.
"#;

const RESOLVER_BEGINS: &str = r#"To begin with it takes the version with the {which} text in a column, which the configuration
names:

    conflict = { plugin = "{name}", column = "note" }"#;

const FILTER_BEGINS: &str = r#"To begin with it keeps the rows with one of some texts in a column, both of which the
configuration names:

    [tables.customers.nodes.branch]
    filter = { plugin = "{name}", column = "country", values = ["DE", "AT"] }"#;

const MAPPING_BEGINS: &str = r#"To begin with it makes one name of a first and a last one, and units of
cents, in columns that the configuration names:

    [tables.customers.nodes.branch]
    mapping = { plugin = "{name}", name = "name", first = "first_name", last = "last_name", cents = ["balance"] }"#;

/// The examples are a resolver and share its fixtures; what is begun has its own.
const OWN_FIXTURES: (&str, &str) = (" --fixtures ../shortest", "");
const SHORTEST: (&str, &str) = (
    "It takes the version with the shortest text in a column, which the configuration names:\n\n    conflict = { plugin = \
     \"shortest\", column = \"note\" }",
    "{begins}",
);

const PYTHON_BESIDE: (&str, &str) = (
    "A filter and a mapping stand beside it, `region.py` and `full_name.py`: `./build TOOLS FILE region filter` and `./build TOOLS FILE full_name mapping`\nmake plugins of them, whose fixtures are those of `../region` and `../full-name`.\n\n",
    "",
);

const PYTHON: &[Template] = &[
    (
        "README.md",
        include_str!("../../../examples/plugins/python/README.md"),
        &[
            ("# A resolver in", "# A {role} in"),
            SHORTEST,
            PYTHON_BESIDE,
            ("shortest.wasm", "{name}.wasm"),
            OWN_FIXTURES,
        ],
    ),
    (
        "build",
        include_str!("../../../examples/plugins/python/build"),
        &[
            ("../../../wit", "wit"),
            (",\n# the third another module and the fourth its role.", "."),
            ("\"${4:-resolver}-plugin\"", "{role}-plugin"),
            ("\"${3:-shortest}\"", "plugin"),
            ("${3:-shortest}.wasm", "{name}.wasm"),
            ("shortest.py", "plugin.py"),
            ("shortest.wasm", "{name}.wasm"),
        ],
    ),
    ("wit/plugin.wit", WIT, &[]),
];

const PYTHON_RESOLVER: Template =
    ("plugin.py", include_str!("../../../examples/plugins/python/shortest.py"), &[("\"shortest\"", "\"{name}\"")]);

const PYTHON_FILTER: Template =
    ("plugin.py", include_str!("../../../examples/plugins/python/region.py"), &[("\"region\"", "\"{name}\"")]);

const PYTHON_MAPPING: Template =
    ("plugin.py", include_str!("../../../examples/plugins/python/full_name.py"), &[("\"full-name\"", "\"{name}\"")]);

const C: &[Template] = &[
    (
        "README.md",
        include_str!("../../../examples/plugins/c/README.md"),
        &[
            ("\"shortest\"", "\"{name}\""),
            ("shortest-core.wasm", "{name}-core.wasm"),
            ("shortest.wasm", "{name}.wasm"),
            ("shortest.c", "plugin.c"),
            ("`wit/plugin.wit`", "`plugin.wit`"),
            OWN_FIXTURES,
            ("; they come with Concord, and a test sees to it that they are up to date", ""),
        ],
    ),
    ("plugin.c", include_str!("../../../examples/plugins/c/shortest.c"), &[("\"shortest\"", "\"{name}\"")]),
    ("libc.c", include_str!("../../../examples/plugins/c/libc.c"), &[]),
    ("include/stdlib.h", include_str!("../../../examples/plugins/c/include/stdlib.h"), &[]),
    ("include/string.h", include_str!("../../../examples/plugins/c/include/string.h"), &[]),
    ("bindings/resolver_plugin.c", include_str!("../../../examples/plugins/c/bindings/resolver_plugin.c"), &[]),
    ("bindings/resolver_plugin.h", include_str!("../../../examples/plugins/c/bindings/resolver_plugin.h"), &[]),
    (
        "build",
        include_str!("../../../examples/plugins/c/build"),
        &[("shortest-core.wasm", "{name}-core.wasm"), ("shortest.c", "plugin.c")],
    ),
    ("plugin.wit", WIT, &[]),
];

const TYPESCRIPT: &[Template] = &[
    (
        "README.md",
        include_str!("../../../examples/plugins/typescript/README.md"),
        &[("\"shortest\"", "\"{name}\""), ("shortest.wasm", "{name}.wasm"), OWN_FIXTURES],
    ),
    ("plugin.ts", include_str!("../../../examples/plugins/typescript/shortest.ts"), &[("'shortest'", "'{name}'")]),
    (
        "build",
        include_str!("../../../examples/plugins/typescript/build"),
        &[
            ("../../../wit", "wit"),
            ("shortest.js", "plugin.js"),
            ("shortest.ts", "plugin.ts"),
            ("shortest.wasm", "{name}.wasm"),
        ],
    ),
    (
        "package.json",
        include_str!("../../../examples/plugins/typescript/package.json"),
        &[("\"shortest\"", "\"{name}\"")],
    ),
    (
        "package-lock.json",
        include_str!("../../../examples/plugins/typescript/package-lock.json"),
        &[("\"shortest\"", "\"{name}\"")],
    ),
    (
        "tsconfig.json",
        include_str!("../../../examples/plugins/typescript/tsconfig.json"),
        &[("shortest.ts", "plugin.ts")],
    ),
    (".gitignore", include_str!("../../../examples/plugins/typescript/.gitignore"), &[]),
    ("wit/plugin.wit", WIT, &[]),
];

const JAVASCRIPT_BESIDE: (&str, &str) = (
    "A filter and a mapping stand beside it, `region.js` and `full_name.js`: `./build TOOLS FILE region filter` and `./build TOOLS FILE full_name mapping`\nmake plugins of them, whose fixtures are those of `../region` and `../full-name`.\n\n",
    "",
);

const JAVASCRIPT: &[Template] = &[
    (
        "README.md",
        include_str!("../../../examples/plugins/javascript/README.md"),
        &[
            ("# A resolver in", "# A {role} in"),
            SHORTEST,
            JAVASCRIPT_BESIDE,
            ("shortest.wasm", "{name}.wasm"),
            OWN_FIXTURES,
        ],
    ),
    (
        "build",
        include_str!("../../../examples/plugins/javascript/build"),
        &[
            ("../../../wit", "wit"),
            ("; the third another module, and the fourth its role", ""),
            ("\"${4:-resolver}-plugin\"", "{role}-plugin"),
            ("\"${3:-shortest}.js\"", "plugin.js"),
            ("${3:-shortest}.wasm", "{name}.wasm"),
            ("shortest.js", "plugin.js"),
            ("shortest.wasm", "{name}.wasm"),
        ],
    ),
    (
        "package.json",
        include_str!("../../../examples/plugins/javascript/package.json"),
        &[("\"shortest\"", "\"{name}\"")],
    ),
    (
        "package-lock.json",
        include_str!("../../../examples/plugins/javascript/package-lock.json"),
        &[("\"shortest\"", "\"{name}\"")],
    ),
    (".gitignore", include_str!("../../../examples/plugins/javascript/.gitignore"), &[]),
    ("wit/plugin.wit", WIT, &[]),
];

const JAVASCRIPT_RESOLVER: Template =
    ("plugin.js", include_str!("../../../examples/plugins/javascript/shortest.js"), &[("'shortest'", "'{name}'")]);

const JAVASCRIPT_FILTER: Template =
    ("plugin.js", include_str!("../../../examples/plugins/javascript/region.js"), &[("'region'", "'{name}'")]);

const JAVASCRIPT_MAPPING: Template =
    ("plugin.js", include_str!("../../../examples/plugins/javascript/full_name.js"), &[("'full-name'", "'{name}'")]);

pub fn run(args: &NewPlugin) -> Result<u8> {
    let name = &args.name;
    if !is_name(name) {
        return Err(Error::Usage(format!("`{name}` is no name of a plugin: lower-case letters, digits and hyphens")));
    }
    let folder = args.at.join(name);
    let failed = |what: &Path, why: std::io::Error| {
        Error::Usage(format!("{} cannot be written: {why}; check the path and its permissions", what.display()))
    };
    if folder.exists() {
        return Err(Error::Usage(format!("{} is there already; take another name, or --at", folder.display())));
    }
    use Begun::{Filter, Mapping, Resolver};
    let templates: &[&[Template]] = match (args.language, args.role) {
        (Language::Rust, Resolver) => &[RUST, &[RUST_RESOLVER], LONGEST_FIXTURES],
        (Language::Rust, Filter) => &[RUST, &[RUST_FILTER], FILTER_FIXTURES],
        (Language::Rust, Mapping) => &[RUST, &[RUST_MAPPING], MAPPING_FIXTURES],
        (Language::Python, Resolver) => &[PYTHON, &[PYTHON_RESOLVER], SHORTEST_FIXTURES],
        (Language::Python, Filter) => &[PYTHON, &[PYTHON_FILTER], FILTER_FIXTURES],
        (Language::Python, Mapping) => &[PYTHON, &[PYTHON_MAPPING], MAPPING_FIXTURES],
        (Language::JavaScript, Resolver) => &[JAVASCRIPT, &[JAVASCRIPT_RESOLVER], SHORTEST_FIXTURES],
        (Language::JavaScript, Filter) => &[JAVASCRIPT, &[JAVASCRIPT_FILTER], FILTER_FIXTURES],
        (Language::JavaScript, Mapping) => &[JAVASCRIPT, &[JAVASCRIPT_MAPPING], MAPPING_FIXTURES],
        (Language::C, Resolver) => &[C, SHORTEST_FIXTURES],
        (Language::TypeScript, Resolver) => &[TYPESCRIPT, SHORTEST_FIXTURES],
        (Language::C | Language::TypeScript, role) => {
            let role = role.as_str();
            let why = format!(
                "a {role} is there in Rust, Python and JavaScript, such as --lang rust; in another language it is made from the \
                 world `{role}-plugin` of wit/plugin.wit"
            );
            return Err(Error::Usage(why));
        }
    };
    for (file, text, places) in templates.iter().copied().flatten() {
        let path = folder.join(named(file, args));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|why| failed(parent, why))?;
        }
        let text = places.iter().fold((*text).to_owned(), |text, (from, to)| text.replace(from, to));
        std::fs::write(&path, named(&text, args)).map_err(|why| failed(&path, why))?;
        if *file == "build" {
            make_executable(&path).map_err(|why| failed(&path, why))?;
        }
    }
    say(&format!("wrote {}; how to build and test it is in {}", folder.display(), folder.join("README.md").display()))?;
    Ok(DONE)
}

/// A template with the name in it, what a compiler makes of the name, and the role.
fn named(text: &str, args: &NewPlugin) -> String {
    let (role, begins) = (args.role.as_str(), args.role.begins());
    // The example in Rust was there first.
    let which = if args.language == Language::Rust { "longest" } else { "shortest" };
    let text = text.replace("{begins}", begins).replace("{which}", which).replace("{role}", role);
    text.replace(NAME, &args.name).replace("{module}", &args.name.replace('-', "_"))
}

#[cfg(unix)]
fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}
