//! Randomness in tests that a failure tells how to repeat.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// A seed that is printed when the test that holds it fails.
#[derive(Debug)]
pub struct Seed {
    value: u64,
}

/// A fresh seed, or the one in `HOLDFAST_TEST_SEED` to repeat a failure.
///
/// # Panics
///
/// When `HOLDFAST_TEST_SEED` is no number.
pub fn seed() -> Seed {
    let value = match std::env::var("HOLDFAST_TEST_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("HOLDFAST_TEST_SEED={text} is no number")),
        Err(_) => rand::random(),
    };
    Seed { value }
}

impl Seed {
    /// The number itself.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// A generator that gives the same numbers for the same seed and the same `stream`.
    pub fn rng(&self, stream: u64) -> StdRng {
        StdRng::seed_from_u64(self.value ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat this failure: HOLDFAST_TEST_SEED={}", self.value);
        }
    }
}
