//! Random input at every door that strangers or operators can reach: headers, signatures, bodies
//! and query strings.
//!
//! A run prints its seed and can be repeated with FUZZ_SEED.

mod bodies;
mod forgeries;
mod genuine;
mod headers;
mod queries;
mod tree;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The seed of this run, which `FUZZ_SEED` repeats.
fn seed() -> u64 {
    let seed = std::env::var("FUZZ_SEED").map_or_else(
        |_| rand::random(),
        |text| text.parse().expect("FUZZ_SEED is a number"),
    );
    println!("FUZZ_SEED={seed} repeats this run");
    seed
}

/// A runner of the seed's cases; what fails is made as small as it can be.
fn runner(cases: u32) -> TestRunner {
    let bytes: Vec<u8> = seed().to_le_bytes().repeat(4);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}
