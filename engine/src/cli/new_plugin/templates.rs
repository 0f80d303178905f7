//! What the folders are made of: the examples, with the name and the role in the places that are theirs.

use super::{Begun, Language};

/// Where a file goes, its text, and what is to be put in place of what in it.
pub type Template = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// All files of a folder.
pub fn all(language: Language, role: Begun) -> [&'static [Template]; 3] {
    use Begun::{Filter, Mapping, Resolver};
    let (common, own): (&[Template], &[Template]) = match (language, role) {
        (Language::Rust, Resolver) => (RUST, RUST_RESOLVER),
        (Language::Rust, Filter) => (RUST, RUST_FILTER),
        (Language::Rust, Mapping) => (RUST, RUST_MAPPING),
        (Language::Python, Resolver) => (PYTHON, PYTHON_RESOLVER),
        (Language::Python, Filter) => (PYTHON, PYTHON_FILTER),
        (Language::Python, Mapping) => (PYTHON, PYTHON_MAPPING),
        (Language::C, Resolver) => (C, C_RESOLVER),
        (Language::C, Filter) => (C, C_FILTER),
        (Language::C, Mapping) => (C, C_MAPPING),
        (Language::TypeScript, Resolver) => (TYPESCRIPT, TYPESCRIPT_RESOLVER),
        (Language::TypeScript, Filter) => (TYPESCRIPT, TYPESCRIPT_FILTER),
        (Language::TypeScript, Mapping) => (TYPESCRIPT, TYPESCRIPT_MAPPING),
        (Language::JavaScript, Resolver) => (JAVASCRIPT, JAVASCRIPT_RESOLVER),
        (Language::JavaScript, Filter) => (JAVASCRIPT, JAVASCRIPT_FILTER),
        (Language::JavaScript, Mapping) => (JAVASCRIPT, JAVASCRIPT_MAPPING),
    };
    let fixtures = match (language, role) {
        (Language::Rust, Resolver) => LONGEST_FIXTURES,
        (_, Resolver) => SHORTEST_FIXTURES,
        (_, Filter) => FILTER_FIXTURES,
        (_, Mapping) => MAPPING_FIXTURES,
    };
    [common, own, fixtures]
}

/// A file of the repository.
macro_rules! text {
    ($path:literal) => {
        include_str!(concat!("../../../../", $path))
    };
}

/// A file of `examples/plugins`.
macro_rules! example {
    ($path:literal) => {
        include_str!(concat!("../../../../examples/plugins/", $path))
    };
}

const WIT: &str = text!("wit/plugin.wit");

const LONGEST_FIXTURES: &[Template] = &[("fixtures/{name}.json", example!("longest/fixtures/longest.json"), &[])];

const SHORTEST_FIXTURES: &[Template] = &[("fixtures/{name}.json", example!("shortest/shortest.json"), &[])];

const FILTER_FIXTURES: &[Template] = &[
    ("fixtures/{name}.json", example!("region/fixtures/region.json"), &[]),
    ("fixtures/refused-column.json", example!("region/fixtures/refused-column.json"), &[]),
];

const MAPPING_FIXTURES: &[Template] = &[
    ("fixtures/{name}.json", example!("full-name/fixtures/full-name.json"), &[]),
    ("fixtures/refused-column.json", example!("full-name/fixtures/refused-column.json"), &[]),
];

// Names and places in the examples, and what stands there in what is begun.

const RESOLVER_IN: (&str, &str) = ("# A resolver in", "# A {role} in");
const SHORTEST: (&str, &str) = (
    "It takes the version with the shortest text in a column, which the configuration names:\n\n    conflict = { plugin = \
     \"shortest\", column = \"note\" }",
    "{begins}",
);
/// The examples share their fixtures; what is begun has its own.
const OWN_FIXTURES: (&str, &str) = (" --fixtures ../shortest", "");
/// Those in Rust are explained where nobody finds them from the folder.
const STEPS: (&str, &str) = ("; docs/src/plugins.md builds it step by step", "");
const WIT_BESIDE: (&str, &str) = ("../../../wit", "wit");

/// Of the files that do not come along.
macro_rules! beside {
    ($ending:literal) => {
        (
            concat!(
                "A filter and a mapping stand beside it, `region.",
                $ending,
                "` and `full_name.",
                $ending,
                "`: `./build TOOLS FILE region filter` and `./build TOOLS FILE full_name mapping`\n",
                "make plugins of them, whose fixtures are those of `../region` and `../full-name`.\n\n"
            ),
            "",
        )
    };
}

const RUST: &[Template] = &[
    ("Cargo.toml", RUST_CARGO, &[]),
    ("README.md", RUST_README, &[]),
    (".gitignore", RUST_IGNORED, &[]),
    ("concord/wit/plugin.wit", WIT, &[]),
    ("concord/plugins/sdk/Cargo.toml", text!("plugins/sdk/Cargo.toml"), &[]),
    ("concord/plugins/sdk/src/lib.rs", text!("plugins/sdk/src/lib.rs"), &[]),
    ("concord/plugins/sdk/src/filter.rs", text!("plugins/sdk/src/filter.rs"), &[]),
    ("concord/plugins/sdk/src/inside.rs", text!("plugins/sdk/src/inside.rs"), &[]),
    ("concord/plugins/sdk/src/mapping.rs", text!("plugins/sdk/src/mapping.rs"), &[]),
    ("concord/plugins/sdk/src/memory.rs", text!("plugins/sdk/src/memory.rs"), &[]),
    ("concord/plugins/sdk/src/resolver.rs", text!("plugins/sdk/src/resolver.rs"), &[]),
    ("concord/plugins/sdk/src/value.rs", text!("plugins/sdk/src/value.rs"), &[]),
];

const RUST_RESOLVER: &[Template] =
    &[("src/lib.rs", example!("longest/src/lib.rs"), &[("\"longest\"", "\"{name}\""), STEPS])];

const RUST_FILTER: &[Template] =
    &[("src/lib.rs", example!("region/src/lib.rs"), &[("\"region\"", "\"{name}\""), STEPS])];

const RUST_MAPPING: &[Template] =
    &[("src/lib.rs", example!("full-name/src/lib.rs"), &[("\"full-name\"", "\"{name}\""), STEPS])];

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

const RUST_IGNORED: &str = "# What cargo makes, and the plugin.\ntarget/\n*.wasm\n";

const PYTHON_IGNORED: &str =
    "# What the tools are in, what Python makes, and the plugin.\nvenv/\n__pycache__/\n*.wasm\n";

const C_IGNORED: &str = "# What the build makes, and the plugin.\n*.wasm\n";

/// What is made of examples is left out by the repository.
const PLUGIN_IGNORED: (&str, &str) =
    ("put here.\nnode_modules/\n", "put here, and the plugin.\nnode_modules/\n*.wasm\n");

const RUST_README: &str = r#"# {name}

A {role} for Concord, in Rust. {begins}

Write your own rule in `src/lib.rs`, and what it has to answer in `fixtures`. It takes Rust and its target for WebAssembly, which
`rustup target add wasm32-unknown-unknown` adds; where it cannot, `scripts/wasm-target` in a checkout of Concord makes it of Debian's
source of Rust. In this folder:

    cargo build --release --target wasm32-unknown-unknown
    concord plugin build target/wasm32-unknown-unknown/release/{module}.wasm --output {name}.wasm
    concord plugin test {name}.wasm

It calls itself by the `version` in `Cargo.toml`. `concord/wit/plugin.wit` describes every word of the interface.
"#;

const PYTHON: &[Template] = &[
    (
        "README.md",
        example!("python/README.md"),
        &[RESOLVER_IN, SHORTEST, beside!("py"), ("shortest.wasm", "{name}.wasm"), OWN_FIXTURES],
    ),
    (
        "build",
        example!("python/build"),
        &[
            WIT_BESIDE,
            (",\n# the third another module and the fourth its role.", "."),
            ("\"${4:-resolver}-plugin\"", "{role}-plugin"),
            ("\"${3:-shortest}\"", "plugin"),
            ("${3:-shortest}.wasm", "{name}.wasm"),
            ("shortest.py", "plugin.py"),
            ("shortest.wasm", "{name}.wasm"),
        ],
    ),
    (".gitignore", PYTHON_IGNORED, &[]),
    ("wit/plugin.wit", WIT, &[]),
];

const PYTHON_RESOLVER: &[Template] =
    &[("plugin.py", example!("python/shortest.py"), &[("\"shortest\"", "\"{name}\"")])];

const PYTHON_FILTER: &[Template] = &[("plugin.py", example!("python/region.py"), &[("\"region\"", "\"{name}\"")])];

const PYTHON_MAPPING: &[Template] =
    &[("plugin.py", example!("python/full_name.py"), &[("\"full-name\"", "\"{name}\"")])];

const C: &[Template] = &[
    (
        "README.md",
        example!("c/README.md"),
        &[
            RESOLVER_IN,
            SHORTEST,
            (
                "A filter and a mapping stand beside it, `region.c` and `full_name.c`: `./build FILE region filter` and \
                 `./build FILE full_name mapping`\nmake modules of them, and `concord plugin build` with their roles makes \
                 plugins of these, whose fixtures are those of `../region` and\n`../full-name`.\n\n",
                "",
            ),
            ("--role resolver", "--role {role}"),
            ("shortest-core.wasm", "{name}-core.wasm"),
            ("shortest.wasm", "{name}.wasm"),
            ("shortest.c", "plugin.c"),
            ("`wit/plugin.wit`", "`plugin.wit`"),
            OWN_FIXTURES,
            ("; they come with Concord, and a test sees to it that they are up to date", ""),
        ],
    ),
    ("plugin.h", example!("c/plugin.h"), &[]),
    ("libc.c", example!("c/libc.c"), &[]),
    ("include/stdlib.h", example!("c/include/stdlib.h"), &[]),
    ("include/string.h", example!("c/include/string.h"), &[]),
    (
        "build",
        example!("c/build"),
        &[
            ("shortest.c to", "plugin.c to"),
            ("shortest-core.wasm", "{name}-core.wasm"),
            ("; the second is another source and the third\n# its role. CLANG", ". CLANG"),
            ("${2:-shortest}-core.wasm", "{name}-core.wasm"),
            ("${2:-shortest}.c", "plugin.c"),
            ("${3:-resolver}", "{role}"),
        ],
    ),
    (".gitignore", C_IGNORED, &[]),
    ("plugin.wit", WIT, &[]),
];

const C_RESOLVER: &[Template] = &[
    ("plugin.c", example!("c/shortest.c"), &[("\"shortest\"", "\"{name}\"")]),
    ("roles/resolver.c", example!("c/roles/resolver.c"), &[]),
    ("bindings/resolver_plugin.c", example!("c/bindings/resolver_plugin.c"), &[]),
    ("bindings/resolver_plugin.h", example!("c/bindings/resolver_plugin.h"), &[]),
];

const C_FILTER: &[Template] = &[
    ("plugin.c", example!("c/region.c"), &[("\"region\"", "\"{name}\"")]),
    ("roles/filter.c", example!("c/roles/filter.c"), &[]),
    ("bindings/filter_plugin.c", example!("c/bindings/filter_plugin.c"), &[]),
    ("bindings/filter_plugin.h", example!("c/bindings/filter_plugin.h"), &[]),
];

const C_MAPPING: &[Template] = &[
    ("plugin.c", example!("c/full_name.c"), &[("\"full-name\"", "\"{name}\"")]),
    ("roles/mapping.c", example!("c/roles/mapping.c"), &[]),
    ("bindings/mapping_plugin.c", example!("c/bindings/mapping_plugin.c"), &[]),
    ("bindings/mapping_plugin.h", example!("c/bindings/mapping_plugin.h"), &[]),
];

const TYPESCRIPT: &[Template] = &[
    (
        "README.md",
        example!("typescript/README.md"),
        &[RESOLVER_IN, SHORTEST, beside!("ts"), ("shortest.wasm", "{name}.wasm"), OWN_FIXTURES],
    ),
    (
        "build",
        example!("typescript/build"),
        &[
            WIT_BESIDE,
            ("; the third another module, and the fourth its role", ""),
            ("every-role", "{role}-plugin"),
            ("\"${4:-resolver}-plugin\"", "{role}-plugin"),
            ("\"generated/${3:-shortest}.js\"", "generated/plugin.js"),
            ("${3:-shortest}.wasm", "{name}.wasm"),
            ("shortest.ts", "plugin.ts"),
            ("shortest.wasm", "{name}.wasm"),
        ],
    ),
    ("package.json", example!("typescript/package.json"), &[("\"shortest\"", "\"{name}\"")]),
    ("package-lock.json", example!("typescript/package-lock.json"), &[("\"shortest\"", "\"{name}\"")]),
    (
        "tsconfig.json",
        example!("typescript/tsconfig.json"),
        &[("\"shortest.ts\", \"region.ts\", \"full_name.ts\"", "\"plugin.ts\""), ("every-role", "{role}-plugin")],
    ),
    (".gitignore", example!("typescript/.gitignore"), &[PLUGIN_IGNORED]),
    ("wit/plugin.wit", WIT, &[]),
];

const TYPESCRIPT_RESOLVER: &[Template] =
    &[("plugin.ts", example!("typescript/shortest.ts"), &[("'shortest'", "'{name}'")])];

const TYPESCRIPT_FILTER: &[Template] = &[("plugin.ts", example!("typescript/region.ts"), &[("'region'", "'{name}'")])];

const TYPESCRIPT_MAPPING: &[Template] =
    &[("plugin.ts", example!("typescript/full_name.ts"), &[("'full-name'", "'{name}'")])];

const JAVASCRIPT: &[Template] = &[
    (
        "README.md",
        example!("javascript/README.md"),
        &[RESOLVER_IN, SHORTEST, beside!("js"), ("shortest.wasm", "{name}.wasm"), OWN_FIXTURES],
    ),
    (
        "build",
        example!("javascript/build"),
        &[
            WIT_BESIDE,
            ("; the third another module, and the fourth its role", ""),
            ("\"${4:-resolver}-plugin\"", "{role}-plugin"),
            ("\"${3:-shortest}.js\"", "plugin.js"),
            ("${3:-shortest}.wasm", "{name}.wasm"),
            ("shortest.js", "plugin.js"),
            ("shortest.wasm", "{name}.wasm"),
        ],
    ),
    ("package.json", example!("javascript/package.json"), &[("\"shortest\"", "\"{name}\"")]),
    ("package-lock.json", example!("javascript/package-lock.json"), &[("\"shortest\"", "\"{name}\"")]),
    (".gitignore", example!("javascript/.gitignore"), &[PLUGIN_IGNORED]),
    ("wit/plugin.wit", WIT, &[]),
];

const JAVASCRIPT_RESOLVER: &[Template] =
    &[("plugin.js", example!("javascript/shortest.js"), &[("'shortest'", "'{name}'")])];

const JAVASCRIPT_FILTER: &[Template] = &[("plugin.js", example!("javascript/region.js"), &[("'region'", "'{name}'")])];

const JAVASCRIPT_MAPPING: &[Template] =
    &[("plugin.js", example!("javascript/full_name.js"), &[("'full-name'", "'{name}'")])];
