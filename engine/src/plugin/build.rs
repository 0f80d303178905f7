//! From what a compiler makes to a component.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata, metadata};
use wit_parser::Resolve;

use super::failure::Role;

/// The interface that roles are served by.
const INTERFACE: &str = include_str!("../../../wit/plugin.wit");

/// Makes a component of a core module that was compiled with bindings for an interface. The bindings of Rust's `wit-bindgen` leave
/// a note in the module of the interface that it serves; where there is none, as those of C leave none, it is that of `role`.
/// Fails, in words, if neither is there or the module does not serve it.
pub fn componentize(module: &[u8], role: Option<Role>) -> Result<Vec<u8>, String> {
    match module.get(..8) {
        Some([b'\0', b'a', b's', b'm', 1, 0, 0, 0]) => {}
        Some([b'\0', b'a', b's', b'm', ..]) => return Err("it is a component already".to_owned()),
        _ => return Err("it is no WebAssembly".to_owned()),
    }
    let (noted, _) = metadata::decode(module).map_err(|why| format!("{why:#}"))?;
    let mut module = module.to_owned();
    match (noted, role) {
        (Some(_), None) => {}
        (Some(_), Some(_)) => return Err("it says itself what it serves; leave --role out".to_owned()),
        (None, Some(role)) => note(&mut module, role)?,
        (None, None) => {
            return Err("it does not say what it serves; name its role with --role, such as --role resolver".to_owned());
        }
    }
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|why| match role {
        Some(role) => format!("it is no {role}: {why:#}"),
        None => format!("{why:#}"),
    })
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
    fn what_is_no_module_is_told() {
        let why = |text: &str, role| componentize(&wat::parse_str(text).unwrap(), role).unwrap_err();
        assert_eq!(componentize(b"hello", None), Err("it is no WebAssembly".to_owned()));
        assert_eq!(why("(component)", None), "it is a component already");
        assert!(why("(module)", None).contains("--role"));
        let foreign = r#"(module (import "env" "f" (func)))"#;
        let why = why(foreign, Some(Role::Resolver));
        assert!(why.contains("it is no resolver") && why.contains("env"), "{why}");
    }
}
