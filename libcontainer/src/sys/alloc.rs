//! An allocator for processes that live for milliseconds: it hands out a fixed arena from front to back and takes nothing
//! back but the last block. musl's own returns pages to the kernel at once and asks for them again, which costs a
//! create some 150 mmap(2) and munmap(2) calls and their page faults (docs/adr/0009-allocator.md).
//!
//! Memory beyond the arena, and everything after [`live_long`], comes from the system's allocator. The arena is
//! zero-initialised data: only pages that were used count as resident.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes of the arena. A plain `run` was seen to touch 120 KiB of it; the rest is for large configurations.
const SIZE: usize = 2 << 20;

#[repr(align(64))]
struct Arena(UnsafeCell<[u8; SIZE]>);

// SAFETY: bytes of the arena are only reached through blocks that `Bump` has handed out, and no byte is handed out twice:
// the program that has `Bump` as its allocator has one thread from its start to its end.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; SIZE]));
/// Bytes handed out.
static USED: AtomicUsize = AtomicUsize::new(0);
static LIVES_LONG: AtomicBool = AtomicBool::new(false);

/// The allocator; for `#[global_allocator]` of a program with ONE thread, as a runtime that clones must be anyway.
#[derive(Debug)]
pub struct Bump;

/// Says that this process will run for long: from now on memory comes from the system's allocator, which takes it back.
pub fn live_long() {
    LIVES_LONG.store(true, Ordering::Relaxed);
}

/// Says that the long part is over and the process ends soon: memory comes from the arena again.
pub fn end_soon() {
    LIVES_LONG.store(false, Ordering::Relaxed);
}

/// Where `ptr` lies in the arena.
fn offset(ptr: *mut u8) -> Option<usize> {
    let at = (ptr as usize).checked_sub(ARENA.0.get() as usize)?;
    (at < SIZE).then_some(at)
}

/// Takes `layout` from the arena: the block's offset. Plain loads and stores suffice: the program has one thread.
fn take(layout: Layout) -> Option<usize> {
    // The arena is aligned to 64; a larger alignment is the system's affair.
    if layout.align() > 64 || LIVES_LONG.load(Ordering::Relaxed) {
        return None;
    }
    let start = USED.load(Ordering::Relaxed).checked_next_multiple_of(layout.align())?;
    let end = start.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
    USED.store(end, Ordering::Relaxed);
    Some(start)
}

/// Moves the end of the last block from `from` to `to`; false when the block is not the last.
fn move_end(from: usize, to: usize) -> bool {
    let last = USED.load(Ordering::Relaxed) == from;
    if last {
        USED.store(to, Ordering::Relaxed);
    }
    last
}

// SAFETY: a block is either a part of the arena that no other block overlaps (`take` moves `USED` over it, and only the owner of the
// last block moves it back), aligned as asked and large enough; or the system allocator's own,
// told apart by its address.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match take(layout) {
            // SAFETY: `start` is within the arena.
            Some(start) => unsafe { ARENA.0.get().cast::<u8>().add(start) },
            // SAFETY: the caller's own promise about `layout`.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        match offset(ptr) {
            Some(start) => {
                // The last block goes back; another one stays until the process ends.
                move_end(start + layout.size(), start);
            }
            // SAFETY: not of the arena, so it came from the system allocator with this layout.
            None => unsafe { System.dealloc(ptr, layout) },
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(start) = offset(ptr) else {
            // SAFETY: not of the arena, so it came from the system allocator with this layout.
            return unsafe { System.realloc(ptr, layout, new_size) };
        };
        let (end, wanted) = (start + layout.size(), start.saturating_add(new_size));
        let last = wanted <= SIZE && move_end(end, wanted);
        if last || new_size <= layout.size() {
            return ptr;
        }
        // SAFETY: size and alignment are the caller's, who promises that they make a layout.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both blocks are at least `layout.size()` bytes long (the new one is larger) and do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(ptr, new, layout.size()) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_do_not_overlap_and_the_last_one_grows_in_place() {
        let bump = Bump;
        let layout = Layout::from_size_align(24, 8).unwrap();
        // SAFETY: layouts of non-zero size; every pointer is used within its block.
        unsafe {
            let a = bump.alloc(Layout::from_size_align(3, 1).unwrap());
            let b = bump.alloc(layout);
            assert_eq!(b as usize % 8, 0);
            assert!(b as usize >= a as usize + 3);
            b.write_bytes(7, 24);
            let grown = bump.realloc(b, layout, 4096);
            assert_eq!(grown, b);
            assert_eq!(*grown.add(23), 7);
            let c = bump.alloc(layout);
            assert!(c as usize >= grown as usize + 4096);
            let moved = bump.realloc(grown, Layout::from_size_align(4096, 8).unwrap(), 8192);
            assert_ne!(moved, grown);
            assert_eq!(*moved.add(23), 7);
            let large = bump.alloc(Layout::from_size_align(SIZE + 1, 8).unwrap());
            assert!(offset(large).is_none());
            bump.dealloc(large, Layout::from_size_align(SIZE + 1, 8).unwrap());
        }
    }
}
