//! Atomics and the lock: the standard library's, or loom's when it explores all interleavings.

#[cfg(loom)]
pub(crate) use self::modelled::{AtomicU64, Mutex, MutexGuard, Ordering, load, store};
#[cfg(not(loom))]
pub(crate) use self::real::{AtomicU64, Mutex, MutexGuard, Ordering, load, store};

#[cfg(not(loom))]
mod real {
    pub(crate) use std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };

    /// Loads a word of data.
    pub(crate) fn load(word: &AtomicU64) -> u64 {
        word.load(Ordering::Relaxed)
    }

    /// Stores a word of data.
    pub(crate) fn store(word: &AtomicU64, value: u64) {
        word.store(value, Ordering::Relaxed);
    }
}

#[cfg(loom)]
mod modelled {
    use std::ops::Deref;

    use loom::cell::UnsafeCell;
    use loom::sync::atomic;
    pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::Ordering};

    /// An atomic word that notices unordered accesses to data.
    #[derive(Debug)]
    pub(crate) struct AtomicU64 {
        word: atomic::AtomicU64,
        accesses: UnsafeCell<()>,
    }

    #[expect(unsafe_code, reason = "loom has no cell that threads can share")]
    // SAFETY: the cell has no content. Its accesses are recorded, not made.
    unsafe impl Sync for AtomicU64 {}

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> Self {
            Self {
                word: atomic::AtomicU64::new(value),
                accesses: UnsafeCell::new(()),
            }
        }
    }

    impl Deref for AtomicU64 {
        type Target = atomic::AtomicU64;

        fn deref(&self) -> &Self::Target {
            &self.word
        }
    }

    /// Loads a word of data. Fails the model unless all stores of the word happen before or after.
    pub(crate) fn load(word: &AtomicU64) -> u64 {
        word.accesses.with(|_| ());
        word.load(Ordering::Relaxed)
    }

    /// Stores a word of data. Fails the model unless all other accesses happen before or after.
    pub(crate) fn store(word: &AtomicU64, value: u64) {
        word.accesses.with_mut(|_| ());
        word.store(value, Ordering::Relaxed);
    }
}
