//! The `concord` command: see [`concord::cli`].

use concord::allocator::{self, Allocator};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> std::process::ExitCode {
    allocator::give_back_soon();
    concord::cli::main()
}
