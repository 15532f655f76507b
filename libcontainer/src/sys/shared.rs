//! Memory that this process and the children it will clone both see.

use std::sync::atomic::AtomicU64;

use nix::errno::Errno;

/// `count` numbers, all 0, shared with every later child (mmap(2) MAP_SHARED). They stay mapped until execve or the end.
///
/// # Errors
/// ENOMEM.
pub fn shared_words(count: usize) -> Result<&'static [AtomicU64], Errno> {
    let bytes = count.max(1) * size_of::<AtomicU64>();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the address is null, so the kernel chooses a place that nothing else uses; there is no file.
    let at =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: `at` is the start of a mapping of at least `count` zeroed words, page-aligned and never unmapped, so it lives
    // as long as the process; atomics may be written by several processes at the same time.
    Ok(unsafe { std::slice::from_raw_parts(at.cast::<AtomicU64>(), count) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn the_words_are_zero_and_can_be_written() {
        let words = shared_words(600).unwrap();
        assert!(words.iter().all(|w| w.load(Ordering::Relaxed) == 0));
        words[599].store(7, Ordering::Relaxed);
        assert_eq!(words[599].load(Ordering::Relaxed), 7);
    }
}
