//! The checksum of IP and TCP (RFC 1071).

/// A sum of 16-bit words in ones' complement. It is kept in the machine's own order of bytes, in which it is as right as in
/// the network's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// Adds `bytes`. Their number is even, except for the last ones.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        // Several sums side by side become vector instructions.
        let mut sums = [0_u64; 8];
        let mut rounds = bytes.chunks_exact(32);
        for round in &mut rounds {
            for (sum, word) in sums.iter_mut().zip(round.chunks_exact(4)) {
                *sum += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
            }
        }
        for word in rounds.remainder().chunks(4) {
            let mut whole = [0; 4];
            whole[..word.len()].copy_from_slice(word);
            self.0 += u64::from(u32::from_ne_bytes(whole));
        }
        self.0 += sums.iter().sum::<u64>();
    }

    /// Returns the checksum as it stands in a header.
    pub(super) fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xFFFF {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        // It has 16 bits now.
        (!(sum as u16)).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    #[test]
    fn wide_words_have_the_sum_of_narrow_ones() {
        let bytes: Vec<u8> = (0..3000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for length in (0..200).chain([1000, 2999, 3000]) {
            for start in [0, 2, 4, 30] {
                let mut sum = Sum::default();
                let part = &bytes[..length];
                let (first, rest) = part.split_at(start.min(length) & !1);
                sum.add(first);
                sum.add(rest);
                assert_eq!(sum.finish(), plain(part), "{length} bytes from {start}");
            }
        }
        let mut sum = Sum::default();
        sum.add(&[0xFF; 65_536]);
        assert_eq!(sum.finish(), [0, 0]);
    }
}
