//! Memory for programs that live for milliseconds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are handed out and never taken back but for the last of them; below what the kernel may back with a
/// huge page, which it would have to clear as a whole.
const SIZE: usize = 1 << 20;
/// Who wants more at once is better served by the system: it may live long and grow.
const LARGE: usize = 64 << 10;
/// Bytes that the kernel is asked for together, in place of a page fault for each page.
const STEP: usize = 64 << 10;

/// An allocator that hands out its first megabyte from the front to the back, and leaves what comes after that, or is
/// large, to the system's. A command of the runtime is done before it has used that up, and has then neither looked
/// for free memory nor given any back; a program that stays goes on with the system's allocator.
#[derive(Debug)]
pub struct Arena {
    /// Where its memory begins: 0 before there is some, 1 if there is none to be had.
    start: AtomicUsize,
    /// Bytes handed out.
    used: AtomicUsize,
    /// Bytes that the kernel was asked for.
    present: AtomicUsize,
    #[cfg(debug_assertions)]
    counter: counter::Counter,
}

impl Arena {
    /// One that has no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            start: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            present: AtomicUsize::new(0),
            #[cfg(debug_assertions)]
            counter: counter::Counter::new(),
        }
    }

    /// Its memory, as an address.
    fn start(&self) -> Option<usize> {
        match self.start.load(Ordering::Acquire) {
            0 => self.map(),
            1 => None,
            start => Some(start),
        }
    }

    #[cold]
    fn map(&self) -> Option<usize> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, which overlaps nothing.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), SIZE, protection, flags, -1, 0) };
        let start = match mapped == libc::MAP_FAILED {
            true => 1,
            false => mapped.expose_provenance(),
        };
        // Two threads may be here at once: the memory of the one that comes second is never used.
        match self
            .start
            .compare_exchange(0, start, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => (start != 1).then_some(start),
            Err(1) => None,
            Err(first) => Some(first),
        }
    }

    /// Room for `layout`; none if the system is to provide it.
    fn take(&self, layout: Layout) -> Option<usize> {
        if layout.size() >= LARGE {
            return None;
        }
        let start = self.start()?;
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let at = (start + used).checked_next_multiple_of(layout.align())? - start;
            let end = at + layout.size();
            if end > SIZE {
                return None;
            }
            match self
                .used
                .compare_exchange_weak(used, end, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => {
                    self.fetch(start, end);
                    return Some(start + at);
                }
                Err(now) => used = now,
            }
        }
    }

    /// Room for `layout` from here or from the system; null if there is none.
    ///
    /// # Safety
    ///
    /// `layout` is of some size, as for [`GlobalAlloc::alloc`].
    unsafe fn place(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(place) => ptr::with_exposed_provenance_mut(place),
            // SAFETY: the caller's promises are the same.
            None => unsafe { System.alloc(layout) },
        }
    }

    /// Has the kernel make the pages up to `end` present, some more of them at a time.
    fn fetch(&self, start: usize, end: usize) {
        let present = self.present.load(Ordering::Relaxed);
        if end <= present {
            return;
        }
        let until = end.next_multiple_of(STEP).min(SIZE);
        self.present.store(until, Ordering::Relaxed);
        let from = ptr::with_exposed_provenance_mut(start + present);
        // SAFETY: all of it is this arena's mapping, whose contents this leaves alone. Where the kernel does not know
        // it (before 5.14) each page comes when it is touched.
        unsafe { libc::madvise(from, until - present, libc::MADV_POPULATE_WRITE) };
    }

    /// How far from the start the memory at `place` is; none if it is the system's.
    fn offset(&self, place: *mut u8) -> Option<usize> {
        let start = self.start.load(Ordering::Acquire);
        let offset = place.addr().checked_sub(start)?;
        (start > 1 && offset < SIZE).then_some(offset)
    }

    /// Moves the end of what is handed out, if it is at `from`: the last piece grows, shrinks or goes. What was done to
    /// a piece that goes is done before somebody else gets its memory.
    fn move_end(&self, from: usize, to: usize) -> bool {
        let moved = self
            .used
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
        moved.is_ok()
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: a piece is handed out once, aligned and of its size, in memory that stays mapped; only the last one is ever
// taken back. What is not in that memory was the system's and goes back there.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        #[cfg(debug_assertions)]
        self.counter.count();
        // SAFETY: the caller's promises are the same.
        unsafe { self.place(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        match self.offset(place) {
            Some(offset) => {
                self.move_end(offset + layout.size(), offset);
            }
            // SAFETY: it was the system's that allocated it, with this layout.
            None => unsafe { System.dealloc(place, layout) },
        }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(place) else {
            // SAFETY: it was the system's that allocated it, with this layout.
            return unsafe { System.realloc(place, layout, size) };
        };
        let (end, wanted) = (offset + layout.size(), offset.saturating_add(size));
        if size <= layout.size() {
            self.move_end(end, wanted);
            return place;
        }
        if size < LARGE && wanted <= SIZE && self.move_end(end, wanted) {
            if let Some(start) = self.start() {
                self.fetch(start, wanted);
            }
            return place;
        }
        // SAFETY: the size is not zero and fits, as the caller promises; the alignment is that of a layout.
        let layout_then = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as the caller promises.
        let new = unsafe { self.place(layout_then) };
        if !new.is_null() {
            // SAFETY: the new piece is larger than the old one and another.
            unsafe { ptr::copy_nonoverlapping(place, new, layout.size()) };
        }
        new
    }
}

/// Counts allocations, of this process and all that it makes, for a test of the runtime: never in a release.
#[cfg(debug_assertions)]
mod counter {
    use std::ptr;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    /// Names a file of eight bytes, the number.
    const VARIABLE: &std::ffi::CStr = c"GREENLANG_COUNT_ALLOCATIONS";

    #[derive(Debug)]
    pub(super) struct Counter {
        /// The file's memory as an address: 0 before it was looked for, 1 if there is none.
        at: AtomicUsize,
    }

    impl Counter {
        pub(super) const fn new() -> Self {
            Self {
                at: AtomicUsize::new(0),
            }
        }

        pub(super) fn count(&self) {
            let at = match self.at.load(Ordering::Acquire) {
                0 => self.map(),
                at => at,
            };
            if at > 1 {
                // SAFETY: the mapping is never removed, and as large as a page.
                let number = unsafe { &*ptr::with_exposed_provenance::<AtomicU64>(at) };
                number.fetch_add(1, Ordering::Relaxed);
            }
        }

        #[cold]
        fn map(&self) -> usize {
            let at = map_file().unwrap_or(1);
            self.at.store(at, Ordering::Release);
            at
        }
    }

    fn map_file() -> Option<usize> {
        // SAFETY: a string with an end; nothing here changes the environment.
        let path = unsafe { libc::getenv(VARIABLE.as_ptr()) };
        if path.is_null() {
            return None;
        }
        // SAFETY: what getenv returns is a string with an end.
        let fd = unsafe { libc::open(path, libc::O_RDWR | libc::O_CLOEXEC) };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, which overlaps nothing; without a file it fails.
        let mapped =
            unsafe { libc::mmap(ptr::null_mut(), 4096, protection, libc::MAP_SHARED, fd, 0) };
        // SAFETY: nobody else has it, and the mapping does not need it.
        unsafe { libc::close(fd) };
        (mapped != libc::MAP_FAILED).then(|| mapped.expose_provenance())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// A piece that is filled with a byte.
    fn filled(arena: &Arena, layout: Layout, byte: u8) -> *mut u8 {
        // SAFETY: no size of these tests is zero.
        let place = unsafe { arena.alloc(layout) };
        // SAFETY: that much was allocated.
        unsafe { ptr::write_bytes(place, byte, layout.size()) };
        place
    }

    fn resized(arena: &Arena, place: *mut u8, from: Layout, size: usize) -> *mut u8 {
        // SAFETY: each piece of these tests is allocated with the layout that it is resized with.
        unsafe { arena.realloc(place, from, size) }
    }

    fn freed(arena: &Arena, place: *mut u8, layout: Layout) {
        // SAFETY: each piece of these tests is freed once, with its layout.
        unsafe { arena.dealloc(place, layout) };
    }

    #[track_caller]
    fn assert_filled(place: *mut u8, size: usize, byte: u8) {
        // SAFETY: so much of it was filled.
        let seen = unsafe { std::slice::from_raw_parts(place, size) };
        assert_eq!(seen, vec![byte; size]);
    }

    #[test]
    fn pieces_are_aligned_and_apart_until_it_is_full() {
        let arena = Arena::new();
        let mut pieces: Vec<(usize, usize)> = Vec::new();
        for round in 0.. {
            let layout = layout(1 + round % 3000, 1 << (round % 8));
            let place = filled(&arena, layout, 0xab);
            assert_eq!(place.addr() % layout.align(), 0, "{layout:?}");
            let Some(offset) = arena.offset(place) else {
                freed(&arena, place, layout);
                break;
            };
            pieces.push((offset, layout.size()));
        }
        assert!(pieces.len() > 500, "{}", pieces.len());
        for pair in pieces.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?}");
        }
    }

    #[test]
    fn last_piece_grows_where_it_is_and_others_move_with_what_is_in_them() {
        let arena = Arena::new();
        let first = filled(&arena, layout(8, 8), 7);
        let first = resized(&arena, first, layout(8, 8), 16);
        let second = filled(&arena, layout(8, 8), 8);
        let moved = resized(&arena, first, layout(16, 8), 4096);
        assert_ne!(moved, first, "something is behind it");
        assert_filled(moved, 8, 7);
        let grown = resized(&arena, moved, layout(4096, 8), 8192);
        assert_eq!(grown, moved, "it is the last");
        freed(&arena, moved, layout(8192, 8));
        let third = filled(&arena, layout(8, 8), 9);
        assert_eq!(third, moved, "the last is taken back");
        assert_filled(second, 8, 8);
    }

    #[test]
    fn large_pieces_are_the_systems() {
        let arena = Arena::new();
        let place = filled(&arena, layout(LARGE, 16), 1);
        assert_eq!(arena.offset(place), None);
        let place = resized(&arena, place, layout(LARGE, 16), 2 * LARGE);
        assert_filled(place, LARGE, 1);
        freed(&arena, place, layout(2 * LARGE, 16));
        let small = filled(&arena, layout(100, 1), 9);
        let grown = resized(&arena, small, layout(100, 1), LARGE);
        assert_eq!(arena.offset(grown), None);
        assert_filled(grown, 100, 9);
        freed(&arena, grown, layout(LARGE, 1));
    }

    #[test]
    fn threads_get_pieces_of_their_own() {
        let arena = Arena::new();
        let use_much = |number: u8| {
            for _ in 0..1000 {
                let place = filled(&arena, layout(40, 8), number);
                std::thread::yield_now();
                assert_filled(place, 40, number);
            }
        };
        std::thread::scope(|scope| {
            for number in 0..4 {
                let use_much = &use_much;
                scope.spawn(move || use_much(number));
            }
        });
    }
}
