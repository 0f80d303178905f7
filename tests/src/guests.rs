//! Plugins in Rust, compiled to components: the first-party ones and those that only tests have.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use concord::plugin::{Host, Limits, Lock, Plugin, componentize};

const TARGET: &str = "wasm32-unknown-unknown";

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The folder of the compiled plugins, each `NAME.wasm`. What has changed is compiled again, once in a process.
pub fn plugins() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build().unwrap_or_else(|why| panic!("building the plugins: {why}"))).clone()
}

/// The host of this process, which keeps compiled code in the folder for build results.
pub fn host() -> Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let host = Host::new(Some(&cache())).unwrap_or_else(|why| panic!("{why}"));
        assert!(host.clone().share(), "somebody uses plugins without `guests`");
        host
    })
    .clone()
}

/// Where compiled code is kept, for commands as well.
pub fn cache() -> PathBuf {
    plugins().join("compiled")
}

/// The text of a `concord.lock` that pins plugins as they are.
pub fn lock(names: &[&str]) -> String {
    let load = |name: &&str| {
        let plugin = Plugin::load(&host(), &Plugin::file(&plugins(), name), name, Limits::default(), None);
        plugin.unwrap_or_else(|why| panic!("{why}"))
    };
    let plugins: Vec<Plugin> = names.iter().map(load).collect();
    let mut lock = Lock::default();
    lock.set(&plugins.iter().collect::<Vec<_>>());
    lock.write()
}

fn build() -> Result<PathBuf, String> {
    let root = root().canonicalize().map_err(|why| why.to_string())?;
    let folder = root.join("target/plugins");
    std::fs::create_dir_all(&folder).map_err(|why| why.to_string())?;
    // One process at a time; the others find everything done.
    let lock = File::create(folder.join(".building")).map_err(|why| why.to_string())?;
    lock.lock().map_err(|why| why.to_string())?;
    run(&mut Command::new(root.join("scripts/wasm-target")))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--release", "--target", TARGET]).arg("--manifest-path");
    cargo.arg(root.join("plugins/Cargo.toml")).env("CARGO_TARGET_DIR", &folder);
    run(&mut cargo)?;
    let modules = folder.join(TARGET).join("release");
    for file in std::fs::read_dir(&modules).map_err(|why| why.to_string())?.flatten() {
        let path = file.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-");
            put(&path, &folder.join(format!("{name}.wasm"))).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    Ok(folder)
}

/// What a program prints, such as a compiler's. Panics with its errors if it fails.
pub fn said(command: &mut Command) -> String {
    run(command).unwrap_or_else(|why| panic!("{why}"))
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|why| format!("{}: {why}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}\n{}", command.get_program().display(), String::from_utf8_lossy(&output.stderr)))
}

/// Writes the component of a core module, if it is not there.
fn put(module: &Path, component: &Path) -> Result<(), String> {
    let bytes = std::fs::read(module).map_err(|why| why.to_string())?;
    let encoded = componentize(&bytes, None)?;
    if std::fs::read(component).is_ok_and(|old| old == encoded) {
        return Ok(());
    }
    // Whoever reads it now goes on with the old one.
    let draft = component.with_extension("draft");
    std::fs::write(&draft, encoded).map_err(|why| why.to_string())?;
    std::fs::rename(&draft, component).map_err(|why| why.to_string())
}
