//! How the programs of Concord take and give back memory.

use std::ffi::{c_int, c_long};

/// Rows are many small values, made by one thread and often given up by another, which this allocator is made for.
pub use mimalloc::MiMalloc as Allocator;

/// `mi_option_purge_delay` of mimalloc, whose options keep their numbers.
const PURGE_DELAY: c_int = 15;

/// In milliseconds. mimalloc's own second is longer than a cycle: what one cycle gave up would lie idle beside what the next
/// one takes in another thread, and the peak would hold both.
const GIVE_BACK_AFTER: c_long = 10;

/// Has memory that was given up go back to the system soon, unless `MIMALLOC_PURGE_DELAY` says when. For the first line of a
/// program whose global allocator is [`Allocator`]; with another it does nothing.
pub fn give_back_soon() {
    // SAFETY: it stores a number where it knows the option's, and only this thread runs so early.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, GIVE_BACK_AFTER) };
}
