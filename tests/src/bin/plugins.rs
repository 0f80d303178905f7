//! Compiles the plugins in `plugins/` to components, and says where they are.

fn main() {
    println!("{}", concord_tests::guests::plugins().display());
}
