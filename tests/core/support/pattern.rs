//! Bytes that are known by their position, so that a receiver can tell a lost, doubled, changed or misplaced one.

/// A small generator (splitmix64): the same numbers on every machine, from one printed seed.
#[derive(Debug, Clone)]
pub struct Prng(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Prng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        let span = (high - low) as u64 + 1;
        low + usize::try_from(self.next() % span).unwrap()
    }

    /// A size from 1 to `most`; small ones are as likely as large ones.
    pub fn size(&mut self, most: usize) -> usize {
        let bits = self.between(1, usize::BITS as usize - most.leading_zeros() as usize);
        (self.between(0, (1 << bits) - 1) + 1).min(most)
    }
}

/// An endless stream of bytes: byte `i` of stream `seed` is always the same, and different streams differ.
#[derive(Debug, Clone)]
pub struct Pattern {
    seed: u64,
    position: u64,
}

impl Pattern {
    pub fn new(seed: u64) -> Self {
        Self { seed: mix(seed.wrapping_add(1)), position: 0 }
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn advance(&mut self, bytes: usize) {
        self.position += bytes as u64;
    }

    fn word(&self, index: u64) -> [u8; 8] {
        mix(self.seed.wrapping_add(index.wrapping_mul(GOLDEN))).to_le_bytes()
    }

    /// Writes the stream's bytes from its position on into `buffer`, without moving on.
    pub fn peek(&self, buffer: &mut [u8]) {
        let offset = (self.position % 8) as usize;
        let mut index = self.position / 8;
        let (head, rest) = buffer.split_at_mut(buffer.len().min((8 - offset) % 8));
        if !head.is_empty() {
            head.copy_from_slice(&self.word(index)[offset..offset + head.len()]);
            index += 1;
        }
        for piece in rest.chunks_mut(8) {
            piece.copy_from_slice(&self.word(index)[..piece.len()]);
            index += 1;
        }
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.peek(&mut bytes);
        self.advance(length);
        bytes
    }

    /// Panics unless `got` is what the stream says next; says where they part.
    pub fn check(&mut self, got: &[u8]) {
        let mut want = [0; 4096];
        for piece in got.chunks(want.len()) {
            let want = &mut want[..piece.len()];
            self.peek(want);
            if want != piece {
                let at = want.iter().zip(piece).take_while(|(a, b)| a == b).count() as u64;
                panic!("byte {} of the stream is not the one that was sent", self.position + at);
            }
            self.advance(piece.len());
        }
    }
}

#[test]
fn a_pattern_does_not_depend_on_how_it_is_cut() {
    let whole = Pattern::new(7).take(1000);
    let mut pieces = Pattern::new(7);
    let mut prng = Prng::new(1);
    let mut joined = Vec::new();
    while joined.len() < 1000 {
        let size = prng.size(17).min(1000 - joined.len());
        joined.extend(pieces.take(size));
    }
    assert_eq!(joined, whole);
    Pattern::new(7).check(&whole);
    assert_ne!(Pattern::new(8).take(1000), whole);
}

#[test]
#[should_panic(expected = "byte 700 of the stream")]
fn a_pattern_says_where_a_byte_is_missing() {
    let mut bytes = Pattern::new(7).take(1000);
    bytes.remove(700);
    Pattern::new(7).check(&bytes);
}
