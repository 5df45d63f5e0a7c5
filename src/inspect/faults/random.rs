//! Random numbers that a seed fixes.

/// A generator (SplitMix64; Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

/// The odd number nearest to 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

impl Random {
    /// Returns the generator of these words: others give another one.
    pub fn of(words: &[u64]) -> Self {
        let mut random = Self(0);
        for word in words {
            random.0 = random.bits() ^ word;
        }
        random.bits();
        random
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Returns a number from 0 up to, and without, 1.
    pub fn fraction(&mut self) -> f64 {
        // The 53 bits of a double's precision.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let number = (self.bits() >> 11) as f64;
        number / 9_007_199_254_740_992.0
    }

    /// Returns a number from -1 up to 1.
    pub fn signed(&mut self) -> f64 {
        self.fraction().mul_add(2.0, -1.0)
    }

    /// Returns a number below `most`, which is not 0.
    pub fn below(&mut self, most: u64) -> u64 {
        // The bias is below 2^-32 for every bound that is used here.
        self.bits() % most
    }

    /// Returns a number of the normal distribution with mean 0 and deviation 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.fraction(), self.fraction());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_give_the_same_numbers_and_others_do_not() {
        let numbers = |words: &[u64]| -> Vec<u64> {
            let mut random = Random::of(words);
            (0..8).map(|_| random.bits()).collect()
        };
        assert_eq!(numbers(&[7, 1, 0, 0]), numbers(&[7, 1, 0, 0]));
        for other in [[8, 1, 0, 0], [7, 2, 0, 0], [7, 1, 1, 0], [7, 1, 0, 1], [1, 7, 0, 0]] {
            assert_ne!(numbers(&[7, 1, 0, 0]), numbers(&other), "{other:?}");
        }
    }

    #[test]
    fn fractions_and_normal_numbers_have_their_mean_and_spread() {
        let mut random = Random::of(&[1]);
        let count = 100_000;
        let (mut sum, mut normal, mut squares) = (0.0, 0.0, 0.0);
        for _ in 0..count {
            let fraction = random.fraction();
            assert!((0.0..1.0).contains(&fraction));
            sum += fraction;
            let number = random.normal();
            normal += number;
            squares += number * number;
        }
        let count = f64::from(count);
        assert!((sum / count - 0.5).abs() < 0.01 && (normal / count).abs() < 0.02 && (squares / count - 1.0).abs() < 0.02);
    }
}
