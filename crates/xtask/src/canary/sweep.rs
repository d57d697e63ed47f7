//! Searching a stream for very many needles at once, in memory that does not grow with the stream.
//!
//! Of each needle the eight bytes in its middle are kept as a number (its ends are often the same in all: `kw_live_`).
//! The stream slides through an eight-byte window; a bitmap says for nearly every position that no needle has it, and
//! only behind the bitmap is a needle compared whole.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};

use super::forms::{self, Form};

const PROBE_BYTES: usize = size_of::<u64>();
const BITMAP_BITS: u32 = 24;
const BLOCK_BYTES: usize = 1 << 20;

struct Needle {
    bytes: Vec<u8>,
    line: usize,
    form: Form,
}

pub(super) struct Needles {
    all: Vec<Needle>,
    /// The positions in `all` that have this probe.
    by_probe: HashMap<u64, Vec<usize>>,
    bitmap: Vec<u64>,
    len_max: usize,
}

impl Needles {
    /// Every form of every secret; a secret goes with its line.
    pub(super) fn new(secrets: &[(usize, Vec<u8>)]) -> Self {
        let mut this = Self {
            all: Vec::new(),
            by_probe: HashMap::new(),
            bitmap: vec![0; 1 << (BITMAP_BITS - 6)],
            len_max: 0,
        };
        for (line, secret) in secrets {
            for (form, bytes) in forms::of(secret) {
                this.insert(Needle { bytes, line: *line, form });
            }
        }
        this
    }

    fn insert(&mut self, needle: Needle) {
        let Some(probe) = needle.probe() else {
            return;
        };
        let (word, bit) = bitmap_place(probe);
        if let Some(word) = self.bitmap.get_mut(word) {
            *word |= bit;
        }
        self.len_max = self.len_max.max(needle.bytes.len());
        self.by_probe.entry(probe).or_default().push(self.all.len());
        self.all.push(needle);
    }

    /// Which secrets stand in `input`, and in which form.
    pub(super) fn search(&self, mut input: impl Read) -> io::Result<BTreeSet<(usize, Form)>> {
        let mut found = BTreeSet::new();
        // The end of the last block and the next one, so that a needle across their border is seen whole.
        let mut buffer = Vec::new();
        loop {
            let mut block = (&mut input).take(BLOCK_BYTES as u64);
            if block.read_to_end(&mut buffer)? == 0 {
                return Ok(found);
            }
            self.search_block(&buffer, &mut found);
            let kept_from = buffer.len().saturating_sub(self.len_max);
            buffer.drain(..kept_from);
        }
    }

    fn search_block(&self, buffer: &[u8], found: &mut BTreeSet<(usize, Form)>) {
        let mut window = 0_u64;
        for (index, byte) in buffer.iter().enumerate() {
            window = (window << 8) | u64::from(*byte);
            let (word, bit) = bitmap_place(window);
            let may_be = self.bitmap.get(word).is_some_and(|word| word & bit != 0);
            // Before eight bytes were read the window is padded with zeros: `probe_at` would lie before the buffer.
            if may_be && let Some(probe_at) = (index + 1).checked_sub(PROBE_BYTES) {
                self.compare(buffer, probe_at, window, found);
            }
        }
    }

    fn compare(&self, buffer: &[u8], probe_at: usize, window: u64, found: &mut BTreeSet<(usize, Form)>) {
        let candidates = self.by_probe.get(&window).into_iter().flatten().filter_map(|at| self.all.get(*at));
        for needle in candidates {
            let stands_here = probe_at
                .checked_sub(needle.probe_offset())
                .and_then(|start| buffer.get(start..start + needle.bytes.len()))
                .is_some_and(|bytes| bytes == needle.bytes);
            if stands_here {
                found.insert((needle.line, needle.form));
            }
        }
    }
}

impl Needle {
    fn probe_offset(&self) -> usize {
        self.bytes.len().saturating_sub(PROBE_BYTES) / 2
    }

    /// The eight bytes in the middle; `None` for a needle shorter than that, which `forms` never makes.
    fn probe(&self) -> Option<u64> {
        let (_, rest) = self.bytes.split_at_checked(self.probe_offset())?;
        rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }
}

/// Multiplying by an odd constant spreads all bytes into the upper bits (Fibonacci hashing).
fn bitmap_place(probe: u64) -> (usize, u64) {
    let bit = probe.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - BITMAP_BITS);
    (usize::try_from(bit >> 6).unwrap_or_default(), 1 << (bit & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"kw_live_0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s";

    /// Hands out at most `step` bytes a call, as a pipe may.
    struct Slow<'a> {
        rest: &'a [u8],
        step: usize,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.step.min(buffer.len());
            let (now, rest) = self.rest.split_at(most.min(self.rest.len()));
            buffer[..now.len()].copy_from_slice(now);
            self.rest = rest;
            Ok(now.len())
        }
    }

    fn check_found_at(at: usize, found: bool) {
        let mut haystack = vec![b'.'; at];
        haystack.extend_from_slice(SECRET);
        haystack.extend_from_slice(&[b'.'; 100]);
        let needles = Needles::new(&[(7, SECRET.to_vec())]);
        for step in [usize::MAX, 4093] {
            let hits = needles.search(Slow { rest: &haystack, step }).unwrap();
            assert_eq!(hits.contains(&(7, Form::Raw)), found, "at {at} by {step}");
        }
    }

    #[test]
    fn a_needle_is_found_at_the_start_and_across_every_border_of_blocks() {
        check_found_at(0, true);
        for back in 0..=SECRET.len() {
            check_found_at(BLOCK_BYTES - back, true);
        }
        check_found_at(2 * BLOCK_BYTES - 20, true);
    }

    #[test]
    fn a_needle_at_the_very_end_is_found_and_half_of_one_is_not() {
        let needles = Needles::new(&[(1, SECRET.to_vec())]);
        assert!(!needles.search(SECRET).unwrap().is_empty());
        assert!(needles.search(&SECRET[1..]).unwrap().is_empty());
        assert!(needles.search(&SECRET[..SECRET.len() - 1]).unwrap().is_empty());
    }

    #[test]
    fn needles_with_the_same_middle_are_told_apart() {
        let needles =
            Needles::new(&[(1, b"aaaa-the-middle-aaaa".to_vec()), (2, b"bbbb-the-middle-bbbb".to_vec())]);
        let hits = needles.search(b"x bbbb-the-middle-bbbb y".as_slice()).unwrap();
        assert_eq!(hits, BTreeSet::from([(2, Form::Raw)]));
    }

    #[test]
    fn zeros_before_the_first_eight_bytes_are_no_hit() {
        let needles = Needles::new(&[(1, vec![0; 8])]);
        assert!(needles.search([0; 7].as_slice()).unwrap().is_empty());
        assert!(!needles.search([0; 8].as_slice()).unwrap().is_empty());
    }
}
