//! From what a compiler makes to a component.

use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata, metadata};
use wit_parser::Resolve;

use super::failure::Role;

/// The interface that roles are served by.
const INTERFACE: &str = include_str!("../../../wit/plugin.wit");

/// What stands for the first preview of WASI in a component: adapter.wat tells.
const ADAPTER: &[u8] = include_bytes!("adapter.bin");

/// Makes a component of a core module that was compiled with bindings for an interface. The bindings of Rust's `wit-bindgen` leave
/// a note in the module of the interface that it serves; where there is none, as those of C leave none, it is that of `role`.
/// Fails, in words, if neither is there or the module does not serve it.
pub fn componentize(module: &[u8], role: Option<Role>) -> Result<Vec<u8>, String> {
    match module.get(..8) {
        Some([b'\0', b'a', b's', b'm', 1, 0, 0, 0]) => {}
        Some([b'\0', b'a', b's', b'm', ..]) => return Err("it is a component already".to_owned()),
        _ => return Err("it is no WebAssembly".to_owned()),
    }
    if is_program(module) {
        let help = "compile it as a library, in Rust crate-type = [\"cdylib\"] for wasm32-unknown-unknown";
        return Err(format!(
            "it is a program, which exports `_start`, and a plugin is called function by function; {help}"
        ));
    }
    let (noted, _) = metadata::decode(module).map_err(|why| format!("{why:#}"))?;
    let mut module = module.to_owned();
    match (noted, role) {
        (Some(_), None) => {}
        (Some(_), Some(_)) => return Err("it says itself what it serves; leave --role out".to_owned()),
        (None, Some(role)) => note(&mut module, role)?,
        (None, None) => {
            let help = "one in Rust says it with `resolver!`, `filter!` or `mapping!`; for one in C name its role with --role, such as \
                        --role resolver";
            return Err(format!("it does not say what it serves; {help}"));
        }
    }
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    let encoder = encoder.and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", ADAPTER));
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|why| match role {
        Some(role) => format!("it is no {role}: {why:#}"),
        None => format!("{why:#}"),
    })
}

/// Whether a module is one that runs from beginning to end, as commands of WASI do.
fn is_program(module: &[u8]) -> bool {
    let mut exports = Parser::new(0).parse_all(module).filter_map(|part| match part {
        Ok(Payload::ExportSection(exports)) => Some(exports),
        _ => None,
    });
    exports.next().is_some_and(|exports| exports.into_iter().flatten().any(|export| export.name == "_start"))
}

/// Notes in the module that it serves a role.
fn note(module: &mut Vec<u8>, role: Role) -> Result<(), String> {
    let told = |why| format!("{why:#}");
    let mut interface = Resolve::default();
    let package = interface.push_str("plugin.wit", INTERFACE).map_err(told)?;
    let world = interface.select_world(&[package], Some(&format!("{role}-plugin"))).map_err(told)?;
    embed_component_metadata(module, &interface, world, StringEncoding::UTF8).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adapter_is_what_it_is_made_of() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plugin");
        let made = wat::parse_file(folder.join("adapter.wat")).unwrap();
        if std::env::var_os("CONCORD_RENEW_BINDINGS").is_some() {
            std::fs::write(folder.join("adapter.bin"), &made).unwrap();
        }
        assert!(std::fs::read(folder.join("adapter.bin")).unwrap() == made, "adapter.wat says how to make it anew");
    }

    /// As a compiler makes it that cannot do without: nothing of WASI is left for the host.
    #[test]
    fn the_first_preview_of_wasi_is_inside() {
        let text = r#"(module
            (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8))
            (func (export "concord:plugin/describe@0.1.0#describe") (result i32) (i32.const 0))
            (func (export "concord:plugin/filter@0.1.0#open") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))
            (func (export "concord:plugin/filter@0.1.0#judge") (param i32 i32) (result i32) (i32.const 0)))"#;
        let component = componentize(&wat::parse_str(text).unwrap(), Some(Role::Filter)).unwrap();
        let engine = wasmtime::Engine::default();
        let component = wasmtime::component::Component::from_binary(&engine, &component).unwrap();
        let imports: Vec<_> = component.component_type().imports(&engine).map(|(name, _)| name.to_owned()).collect();
        assert!(imports.iter().all(|import| import.starts_with("concord:plugin/")), "{imports:?}");
    }

    #[test]
    fn what_is_no_module_is_told() {
        let why = |text: &str, role| componentize(&wat::parse_str(text).unwrap(), role).unwrap_err();
        assert_eq!(componentize(b"hello", None), Err("it is no WebAssembly".to_owned()));
        assert_eq!(why("(component)", None), "it is a component already");
        assert!(why("(module)", None).contains("--role"));
        let program = r#"(module (func (export "_start")))"#;
        assert!([None, Some(Role::Filter)].iter().all(|role| why(program, *role).starts_with("it is a program")));
        let foreign = r#"(module (import "env" "f" (func)))"#;
        let why = why(foreign, Some(Role::Resolver));
        assert!(why.contains("it is no resolver") && why.contains("env"), "{why}");
    }
}
