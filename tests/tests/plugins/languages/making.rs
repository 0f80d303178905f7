//! From a source to a plugin, by the `build` of its language's example.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use concord::plugin::{Role, componentize};
use concord_tests::guests;

/// How plugins are made in a language.
#[derive(Clone, Copy, Debug)]
pub enum Made {
    /// By the workspace of plugins in Rust.
    InRust,
    /// Long ago: the file is kept.
    Kept(&'static str),
    /// By `build` in a folder of `examples/plugins`.
    As(Example),
}

/// An example in `examples/plugins`.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// The folder.
    pub name: &'static str,
    /// The file in it that is the plugin.
    pub source: &'static str,
    /// The file in `tests/guests/mirror` that is the mirror in this language.
    pub mirror: &'static str,
    /// A script and its argument, which says where the language's tools are. `build` gets that as its first argument.
    pub tools: Option<[&'static str; 2]>,
    /// Whether `build` makes a module, which then is to be made a component.
    pub module: bool,
}

impl Example {
    pub fn folder(&self) -> PathBuf {
        guests::root().join("examples/plugins").join(self.name)
    }

    /// The example itself, made as its README says.
    pub fn plugin(&self) -> PathBuf {
        self.made(&self.folder(), "shortest", None)
    }

    /// Another example in the folder, of that name: a filter or mapping.
    pub fn other(&self, name: &str, source: &str, role: Role) -> PathBuf {
        self.made(&self.folder(), name, Some((source, role)))
    }

    /// The mirror: the example with another source, in a copy of its folder.
    fn mirror(&self) -> PathBuf {
        // As deep below the root as the example is, for paths to the interface.
        let copies = guests::root().join("target/mirrors");
        let copy = copies.join(self.name);
        std::fs::create_dir_all(&copies).expect("a folder");
        {
            let _lock = locked(&copies.join(".copying"));
            // Others take the bindings of C from its folder, which lies beside theirs.
            copied(&of_c(), &copies.join("c"), "shortest.c");
            // Another test may be building there: its source stays the mirror all the time.
            copied(&self.folder(), &copy, self.source);
            put(&guests::root().join("tests/guests/mirror").join(self.mirror), &copy.join(self.source));
        }
        self.made(&copy, "mirror", None)
    }

    /// Makes a plugin of what is in a folder. No two builds of some languages are alike and each has to be compiled anew, so one
    /// that was made of the same is kept.
    fn made(&self, folder: &Path, name: &str, other: Option<(&str, Role)>) -> PathBuf {
        let plugins = guests::plugins().join("languages").join(self.name);
        std::fs::create_dir_all(&plugins).expect("a folder");
        let (plugin, note) = (plugins.join(format!("{name}.wasm")), plugins.join(format!("{name}.made-of")));
        let _lock = locked(&plugins.join(".making"));
        let mut of = std::fs::read(guests::root().join("wit/plugin.wit")).expect("the interface");
        for file in ["libc.c", "roles/resolver.c", "bindings/resolver_plugin.c"] {
            of.extend(std::fs::read(of_c().join(file)).expect("the bindings of C"));
        }
        for file in files(folder) {
            of.extend(std::fs::read(folder.join(file)).expect("a source"));
        }
        if plugin.is_file() && std::fs::read(&note).is_ok_and(|old| old == of) {
            return plugin;
        }
        let draft = plugins.join(format!("{name}.draft"));
        let mut build = self.build(folder);
        build.arg(&draft);
        if let Some((source, role)) = other {
            build.args([source, role.as_str()]);
        }
        guests::said(&mut build);
        if self.module {
            let module = std::fs::read(&draft).expect("a module");
            let component = componentize(&module, Some(other.map_or(Role::Resolver, |(_, role)| role)))
                .unwrap_or_else(|why| panic!("{why}"));
            std::fs::write(&draft, component).expect("the component is written");
        }
        std::fs::rename(&draft, &plugin).expect("the plugin is put there");
        std::fs::write(&note, of).expect("the note is written");
        plugin
    }

    /// `build` in a folder, with the language's tools.
    pub fn build(&self, folder: &Path) -> Command {
        let mut build = Command::new("sh");
        build.arg(folder.join("build")).env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some([script, tool]) = self.tools {
            let tools = guests::said(Command::new(guests::root().join("scripts").join(script)).arg(tool));
            build.arg(tools.trim());
        }
        build
    }
}

/// The folder of the example in C.
fn of_c() -> PathBuf {
    guests::root().join("examples/plugins/c")
}

impl Made {
    /// The file of the mirror.
    pub fn mirror(&self) -> PathBuf {
        match self {
            Made::InRust => guests::plugins().join("mirror.wasm"),
            Made::Kept(file) => guests::root().join(file),
            Made::As(example) => example.mirror(),
        }
    }
}

fn locked(file: &Path) -> File {
    let lock = File::create(file).expect("a lock");
    lock.lock().expect("a lock");
    lock
}

/// The sources in a folder, as paths in it: nothing of what tools put there.
fn files(folder: &Path) -> Vec<PathBuf> {
    fn gather(folder: &Path, inside: &Path, found: &mut Vec<PathBuf>) {
        let entries =
            std::fs::read_dir(folder.join(inside)).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), inside.join(entry.file_name()));
            let of_tools = ["node_modules", "generated", "generated.js", "__pycache__", ".zig-cache"].map(Some);
            if of_tools.contains(&name.to_str()) || path.extension().is_some_and(|extension| extension == "wasm") {
                continue;
            }
            match entry.path().is_dir() {
                true => gather(folder, &path, found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    gather(folder, Path::new(""), &mut found);
    found.sort();
    found
}

fn copied(from: &Path, to: &Path, except: &str) {
    for file in files(from).into_iter().filter(|file| *file != Path::new(except)) {
        put(&from.join(&file), &to.join(&file));
    }
}

/// Copies a file, unless it is there: somebody may be reading it.
fn put(from: &Path, to: &Path) {
    let content = std::fs::read(from).unwrap_or_else(|why| panic!("{}: {why}", from.display()));
    if std::fs::read(to).is_ok_and(|old| old == content) {
        return;
    }
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    std::fs::write(to, content).unwrap_or_else(|why| panic!("{}: {why}", to.display()));
}
