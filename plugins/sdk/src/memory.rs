//! Memory. Rows come and go as many small blocks, and to a general allocator a plugin that maps them pays more than for all else
//! it does. So small blocks are kept in lists, each of one size, and only what they are cut from, and what is large, is asked of the
//! system's. What was freed is there for blocks of that size alone, so what is kept is the most that there ever was of each size.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Sizes are multiples of it, in bytes, which is how all blocks are aligned.
const GRAIN: usize = 16;

/// The largest small block, in bytes.
const LARGEST: usize = 512;

/// Small blocks are cut from pieces of so many bytes.
const PIECE: usize = 32 << 10;

struct Free {
    next: Option<NonNull<Free>>,
}

/// Lists of small blocks.
struct Small {
    /// Blocks that are free, by their size in grains, less one.
    free: [Cell<Option<NonNull<Free>>>; LARGEST / GRAIN],
    /// What is not cut yet.
    rest: Cell<*mut u8>,
    end: Cell<*mut u8>,
}

// SAFETY: a plugin has one thread; see where this module is taken in.
unsafe impl Sync for Small {}

#[cfg(not(test))]
#[global_allocator]
static SMALL: Small = Small::new();

impl Small {
    const fn new() -> Small {
        Small {
            free: [const { Cell::new(None) }; LARGEST / GRAIN],
            rest: Cell::new(ptr::null_mut()),
            end: Cell::new(ptr::null_mut()),
        }
    }

    /// The place of the list for such blocks; `None` if they are not small. No block is empty.
    fn list(layout: Layout) -> Option<usize> {
        (layout.size() <= LARGEST && layout.align() <= GRAIN).then(|| (layout.size() - 1) / GRAIN)
    }

    fn cut(&self, size: usize) -> *mut u8 {
        let rest = self.rest.get();
        if self.end.get() as usize - rest as usize >= size {
            self.rest.set(rest.wrapping_add(size));
            return rest;
        }
        // SAFETY: a piece is not empty. What is left of the last one is given up.
        let piece = unsafe { System.alloc(Layout::from_size_align_unchecked(PIECE, GRAIN)) };
        if piece.is_null() {
            return piece;
        }
        self.rest.set(piece.wrapping_add(size));
        self.end.set(piece.wrapping_add(PIECE));
        piece
    }
}

// SAFETY: a block of a list is one that was cut, or given back, with the list's size; it is in the list or with whoever asked for it.
unsafe impl GlobalAlloc for Small {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(list) = Small::list(layout) else {
            // SAFETY: as asked.
            return unsafe { System.alloc(layout) };
        };
        match self.free[list].get() {
            Some(block) => {
                // SAFETY: what is in the list was written by `dealloc`.
                self.free[list].set(unsafe { block.as_ref() }.next);
                block.as_ptr().cast()
            }
            None => self.cut((list + 1) * GRAIN),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match (Small::list(layout), NonNull::new(block.cast::<Free>())) {
            (Some(list), Some(free)) => {
                // SAFETY: nobody has the block any more, and a grain holds this.
                unsafe { free.write(Free { next: self.free[list].get() }) };
                self.free[list].set(Some(free));
            }
            // SAFETY: it came from there.
            _ => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: whoever asks has made sure of it.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Small::list(layout), Small::list(wanted)) {
            (Some(one), Some(other)) if one == other => block,
            // SAFETY: it came from there.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            // SAFETY: both blocks have the bytes that are copied, and are two.
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was asked for, with the byte that it was filled with.
    struct Held {
        block: *mut u8,
        layout: Layout,
        byte: u8,
    }

    impl Held {
        fn fill(&mut self, byte: u8) {
            self.byte = byte;
            // SAFETY: the block has so many bytes.
            unsafe { self.block.write_bytes(byte, self.layout.size()) };
        }

        fn holds(&self, bytes: usize) {
            // SAFETY: all of it was written.
            let held = unsafe { std::slice::from_raw_parts(self.block, bytes) };
            assert!(held.iter().all(|byte| *byte == self.byte), "{bytes} bytes of {:?}", self.layout);
        }
    }

    /// Blocks of all sizes about the largest small one come, grow, shrink and go, and none touches another.
    #[test]
    fn blocks_keep_what_is_written_to_them() {
        let memory = Small::new();
        let mut held: Vec<Held> = Vec::new();
        let mut random = 1_u64;
        let mut below = |most: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % most
        };
        for round in 0..60_000 {
            let byte = round as u8;
            let most = if below(20) == 0 { 3 * PIECE } else { LARGEST + 100 };
            let size = 1 + below(most);
            match (below(5), held.len()) {
                (0 | 1, 1..) => {
                    let gone = held.swap_remove(below(held.len()));
                    gone.holds(gone.layout.size());
                    // SAFETY: it came from there.
                    unsafe { memory.dealloc(gone.block, gone.layout) };
                }
                (2, 1..) => {
                    let at = below(held.len());
                    let moved = &mut held[at];
                    let kept = moved.layout.size().min(size);
                    // SAFETY: it came from there, and no size is 0 or near the end of all addresses.
                    moved.block = unsafe { memory.realloc(moved.block, moved.layout, size) };
                    moved.layout = Layout::from_size_align(size, moved.layout.align()).expect("it is small");
                    moved.holds(kept);
                    moved.fill(byte);
                }
                _ => {
                    let layout = Layout::from_size_align(size, 1 << below(7)).expect("it is small");
                    // SAFETY: no size is 0.
                    let block = unsafe { memory.alloc(layout) };
                    assert!(!block.is_null() && block.addr().is_multiple_of(layout.align()), "{layout:?}");
                    let mut new = Held { block, layout, byte };
                    new.fill(byte);
                    held.push(new);
                }
            }
        }
        held.iter().for_each(|one| one.holds(one.layout.size()));
    }

    /// The same blocks are used over and over.
    #[test]
    fn what_is_given_back_is_given_out_again() {
        let memory = Small::new();
        let of = |size| Layout::from_size_align(size, 8).expect("it is small");
        let mut layout = of(40);
        // SAFETY: no size is 0.
        let first = unsafe { memory.alloc(layout) };
        for size in [33, 48, 40] {
            // SAFETY: it came from there, with this layout.
            unsafe { memory.dealloc(first, layout) };
            layout = of(size);
            // SAFETY: no size is 0.
            assert_eq!(unsafe { memory.alloc(layout) }, first, "{size}");
        }
    }
}
