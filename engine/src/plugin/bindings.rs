//! What the interface in `wit/plugin.wit` is in Rust, generated from its world with every role.

wasmtime::component::bindgen!({ path: "../wit", world: "every-role", imports: { default: trappable } });
