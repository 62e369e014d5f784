//! Random numbers for ids and sampling.
//!
//! The user can seed the global generator of a crate such as `fastrand`: ids would repeat, and
//! drawing ids would change the user's own sequence. So this crate has its own generator. It is
//! fast but predictable: never use its numbers as keys or tokens.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Extra entropy mixed into every thread's seed; changed after a snapshot restore.
static ENTROPY: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static GENERATOR: Cell<Option<Generator>> = const { Cell::new(None) };
}

/// Makes the random numbers of all threads depend on `entropy` from now on.
///
/// Processes that are resumed from the same snapshot would otherwise draw the same numbers.
/// `entropy` must differ between them, so read it from the kernel after the restore.
pub fn reseed(entropy: u64) {
    ENTROPY.store(entropy, Ordering::Relaxed);
}

/// Returns a random number.
///
/// Takes a few nanoseconds, because each thread has a generator that is seeded once. A system call
/// would take about 250 ns.
///
/// ```
/// use tracestitch_wire::random;
///
/// assert_ne!(random::number(), random::number());
/// ```
pub fn number() -> u64 {
    let entropy = ENTROPY.load(Ordering::Relaxed);
    let mut generator = match GENERATOR.get() {
        Some(generator) if generator.entropy == entropy => generator,
        _ => Generator::seeded(&RandomState::new(), entropy),
    };
    let number = generator.next();
    GENERATOR.set(Some(generator));
    number
}

/// Returns a random number of at least 0 and less than 1, with 53 random bits.
///
/// ```
/// use tracestitch_wire::random;
///
/// assert!((0.0..1.0).contains(&random::fraction()));
/// ```
pub fn fraction() -> f64 {
    (number() >> 11) as f64 / (1_u64 << 53) as f64
}

/// The generator wyrand (<https://github.com/wangyi-fudan/wyhash>, version 4.2).
#[derive(Clone, Copy)]
struct Generator {
    state: u64,
    /// Value of [`ENTROPY`] at the time of seeding.
    entropy: u64,
}

impl Generator {
    /// A generator seeded with `keys`, which come from the kernel, and `entropy`. After a snapshot
    /// restore, `keys` are the same in all processes.
    #[cold]
    fn seeded(keys: &RandomState, entropy: u64) -> Self {
        Self {
            state: keys.hash_one((entropy, std::thread::current().id())),
            entropy,
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x2d35_8dcc_aa6c_78a5);
        let product = u128::from(self.state) * u128::from(self.state ^ 0x8bb8_4b93_962e_acc9);
        (product >> 64) as u64 ^ product as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn first_of_a_thread() -> u64 {
        std::thread::spawn(number).join().unwrap()
    }

    #[test]
    fn threads_draw_different_numbers() {
        let firsts: HashSet<_> = (0..100).map(|_| first_of_a_thread()).collect();
        assert_eq!(firsts.len(), 100);
    }

    #[test]
    fn seed_depends_on_keys_and_entropy() {
        let keys = RandomState::new();
        let drawn = |keys, entropy| Generator::seeded(keys, entropy).next();
        assert_eq!(drawn(&keys, 1), drawn(&keys, 1));
        assert_ne!(drawn(&keys, 1), drawn(&keys, 2));
        assert_ne!(drawn(&keys, 1), drawn(&RandomState::new(), 1));
    }

    /// Restores the generator of this thread, like a snapshot.
    #[test]
    fn new_entropy_reaches_threads_that_are_seeded_already() {
        number();
        let restored = GENERATOR.get();
        let before = number();
        GENERATOR.set(restored);
        assert_eq!(number(), before, "not seeded for each number");
        GENERATOR.set(restored);
        reseed(7);
        assert_ne!(number(), before);
    }

    /// A generator with a stuck or biased bit would make ids that collide.
    #[test]
    fn each_bit_is_set_half_of_the_time() {
        const DRAWS: u32 = 10_000;
        let mut generator = Generator {
            state: 7,
            entropy: 0,
        };
        let mut set = [0; 64];
        for _ in 0..DRAWS {
            let number = generator.next();
            for (bit, count) in set.iter_mut().enumerate() {
                *count += (number >> bit & 1) as u32;
            }
        }
        for (bit, count) in set.into_iter().enumerate() {
            // Ten standard deviations of 50 around the half.
            assert!(count.abs_diff(DRAWS / 2) < 500, "bit {bit}: {count}");
        }
    }

    #[test]
    fn fractions_fill_the_unit_interval() {
        let fractions: Vec<_> = (0..1_000).map(|_| fraction()).collect();
        assert!(
            fractions
                .iter()
                .all(|fraction| (0.0..1.0).contains(fraction))
        );
        for tenth in 0..10 {
            let in_tenth = |fraction: &&f64| (**fraction * 10.0) as u32 == tenth;
            assert!(
                fractions.iter().any(|fraction| in_tenth(&fraction)),
                "{tenth}"
            );
        }
    }
}
