//! Numbers and IDs from a seed: SplitMix64, and IDs in the form of a KSUID.
//!
//! Written here and not taken from a crate because those may change their numbers from one version
//! to the next, and a seed must keep its meaning. Good for sample data and shuffles, never for a
//! secret.

use crate::clerk::Timestamp;

/// A sequence of numbers that its seed determines. Source: Steele, Lea, Flood, "Fast splittable
/// pseudorandom number generators", 2014.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// Returns the numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for each list of numbers.
    pub fn of(numbers: &[u64]) -> Self {
        let mut state = 0;
        for number in numbers {
            state = Self(state ^ number).number();
        }
        Self(state)
    }

    /// A sequence of its own for each text.
    pub fn of_text(text: &str) -> Self {
        let mut state = text.len() as u64;
        for byte in text.bytes() {
            state = Self(state ^ u64::from(byte)).number();
        }
        Self(state)
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 for a limit of 0. The preference for small numbers is below one in
    /// a billion for limits up to ten billion.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % (limit as u64).max(1)).expect("it is below a usize")
    }

    /// Returns `true` in this many of 100 cases.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// Puts `list` in an order in which each is equally likely.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
    }

    /// One of `list`, which is not empty.
    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// `prefix` and 27 characters of base 62: a KSUID, as Clerk's and Svix's IDs are. 4 bytes of
    /// time in seconds, 16 of chance, so IDs sort by time to the second.
    pub(super) fn ksuid(&mut self, prefix: &str, at: Timestamp) -> String {
        let seconds = u32::try_from(at.ms() / 1000 - KSUID_EPOCH).unwrap_or(0);
        let (high, low) = (self.number(), self.number());
        let half = u64::from(u32::MAX);
        let mut words = [
            u64::from(seconds),
            high >> 32,
            high & half,
            low >> 32,
            low & half,
        ];
        let mut digits = [0_u8; KSUID_LENGTH];
        for group in digits.rchunks_mut(DIGITS_AT_ONCE) {
            let mut rest = 0;
            for word in &mut words {
                let value = (rest << 32) | *word;
                *word = value / DIVISOR;
                rest = value % DIVISOR;
            }
            for digit in group.iter_mut().rev() {
                *digit = BASE_62[usize::try_from(rest % 62).expect("it is below 62")];
                rest /= 62;
            }
        }
        let mut id = String::with_capacity(prefix.len() + KSUID_LENGTH);
        id.push_str(prefix);
        id.extend(digits.iter().map(|digit| char::from(*digit)));
        id
    }
}

/// KSUID counts seconds from 2014-05-13T16:53:20Z (segmentio/ksuid).
const KSUID_EPOCH: i64 = 1_400_000_000;

/// 62^27 is just above 2^160.
const KSUID_LENGTH: usize = 27;

const BASE_62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Five digits of base 62 are the most that one division of 64 by 32 bits can yield.
const DIGITS_AT_ONCE: usize = 5;
const DIVISOR: u64 = 62_u64.pow(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_splitmix64s() {
        // The first numbers of seed 1234567 by the reference implementation
        // (prng.di.unimi.it/splitmix64.c).
        let mut random = Seeded::new(1_234_567);
        assert_eq!(random.number(), 6_457_827_717_110_365_317);
        assert_eq!(random.number(), 3_203_168_211_198_807_973);
        assert_eq!(random.number(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn a_ksuid_is_its_twenty_bytes_in_base_62_and_sorts_by_time() {
        let at = |seconds| Timestamp::from_seconds(seconds).unwrap();
        let id = Seeded::new(5).ksuid("x_", at(1_795_000_000));
        let mut value = [0_u8; 20];
        for digit in id.strip_prefix("x_").unwrap().bytes() {
            let mut carry = BASE_62.iter().position(|other| *other == digit).unwrap();
            for byte in value.iter_mut().rev() {
                carry += usize::from(*byte) * 62;
                *byte = u8::try_from(carry & 0xFF).unwrap();
                carry >>= 8;
            }
            assert_eq!(carry, 0, "{id} is beyond 160 bits");
        }
        let mut random = Seeded::new(5);
        assert_eq!(value[..4], 395_000_000_u32.to_be_bytes());
        assert_eq!(value[4..12], random.number().to_be_bytes());
        assert_eq!(value[12..], random.number().to_be_bytes());
        assert!(id < Seeded::new(6).ksuid("x_", at(1_795_000_001)));
    }

    #[test]
    fn a_shuffle_keeps_everything_and_its_seed_decides() {
        let shuffled = |seed| {
            let mut list: Vec<u32> = (0..100).collect();
            Seeded::new(seed).shuffle(&mut list);
            list
        };
        let mut sorted = shuffled(1);
        assert_eq!(sorted, shuffled(1));
        assert_ne!(sorted, shuffled(2));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn every_order_of_a_shuffle_comes_about_as_often() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6000 {
            let mut list = [0, 1, 2];
            Seeded::of(&[seed]).shuffle(&mut list);
            *counts.entry(list).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }
}
