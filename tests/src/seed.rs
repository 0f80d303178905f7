//! Randomness that can be replayed.

use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of one test run, from `CONCORD_SEED` or fresh. Says how to replay it if the test panics.
#[derive(Debug)]
pub struct Seed {
    seed: u64,
    test: &'static str,
}

impl Seed {
    /// `test` is the name by which `cargo test` finds the test again.
    pub fn new(test: &'static str) -> Seed {
        let seed = match std::env::var("CONCORD_SEED") {
            Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("CONCORD_SEED has to be a number, not `{seed}`")),
            Err(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
                Rng::new(now.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32)).next() >> 32
            }
        };
        Seed { seed, test }
    }

    pub fn value(&self) -> u64 {
        self.seed
    }

    /// A generator that gives the same numbers for the same seed and `stream`.
    pub fn rng(&self, stream: u64) -> Rng {
        let mut rng = Rng::new(self.seed);
        Rng::new(rng.next() ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with: CONCORD_SEED={} cargo test -p concord-tests -- {}", self.seed, self.test);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "a generator has no end, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound - 1`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let seed = Seed { seed: 7, test: "" };
        let draw = |stream| {
            let mut rng = seed.rng(stream);
            (0..5).map(|_| rng.below(100)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
