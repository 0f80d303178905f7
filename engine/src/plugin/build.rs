//! From what a compiler makes to a component.

use wit_component::ComponentEncoder;

/// Makes a component of a core module that was compiled with bindings for an interface, as Rust's `wit-bindgen` makes them.
/// Fails, in words, if the module has no interface with it or does not serve it.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, String> {
    match module.get(..8) {
        Some([b'\0', b'a', b's', b'm', 1, 0, 0, 0]) => {}
        Some([b'\0', b'a', b's', b'm', ..]) => return Err("it is a component already".to_owned()),
        _ => return Err("it is no WebAssembly".to_owned()),
    }
    let encoder = ComponentEncoder::default().validate(true).module(module);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|why| format!("{why:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_told() {
        let why = |text: &str| componentize(&wat::parse_str(text).unwrap()).unwrap_err();
        assert_eq!(componentize(b"hello"), Err("it is no WebAssembly".to_owned()));
        assert_eq!(why("(component)"), "it is a component already");
        assert!(why(r#"(module (import "env" "f" (func)))"#).contains("env"));
    }
}
