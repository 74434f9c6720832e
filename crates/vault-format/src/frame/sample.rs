//! Whether compressing a frame can gain anything, told from a sample of it.
//!
//! Media, archives and encrypted file systems do not compress; trying costs as much time as the
//! compression of what does.

use crate::frame::compress;

/// Pieces of a frame whose bytes are counted, and their length.
const COUNTED: (usize, usize) = (16, 512);
/// Pieces that are compressed when the counts say nothing, and their length.
const TRIED: (usize, usize) = (4, 16 << 10);
/// Level of that: the cheapest.
const LEVEL: i32 = 1;

/// Whether the frame may become smaller. Frames that are too small for a sample may.
///
/// Bytes that are not used equally often compress, and nearly all that compresses is of this kind:
/// counting tells it in no time. What looks like noise by that may still repeat itself: a sample is
/// compressed.
pub(super) fn may_gain(plain: &[u8]) -> bool {
    if plain.len() < 2 * TRIED.0 * TRIED.1 || is_uneven(plain) {
        return true;
    }
    let mut sample = Vec::with_capacity(TRIED.0 * TRIED.1);
    pieces(plain, TRIED).for_each(|piece| sample.extend_from_slice(piece));
    let mut coded = Vec::new();
    compress(&sample, LEVEL, &mut coded) && coded.len() < sample.len() - sample.len() / 32
}

/// Whether some byte values are clearly more frequent than in noise.
fn is_uneven(plain: &[u8]) -> bool {
    let mut counts = [0_u64; 256];
    for byte in pieces(plain, COUNTED).flatten() {
        counts[usize::from(*byte)] += 1;
    }
    let all = (COUNTED.0 * COUNTED.1) as u64;
    // In noise the squares add up to all + all² / 256 on average, and hardly ever to 5 % more.
    let noise = all + all * all / 256;
    counts.iter().map(|count| count * count).sum::<u64>() > noise + noise / 20
}

/// Pieces from all over a frame that is at least as long as they are together.
fn pieces(plain: &[u8], (number, length): (usize, usize)) -> impl Iterator<Item = &[u8]> {
    let step = plain.len() / number;
    (0..number).map(move |at| &plain[at * step..at * step + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 1 << 20;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn noise_gains_nothing_and_the_rest_may() {
        let noise_only = noise(LEN);
        let text: Vec<u8> = (b'a'..b'x').cycle().take(LEN).collect();
        let block = noise(4096);
        let repeated = block.repeat(LEN / 4096);
        let mut half = noise(LEN);
        half[LEN / 2..].fill(0);
        let cases = [
            ("noise", &noise_only, false),
            ("text", &text, true),
            ("noise that repeats itself", &repeated, true),
            ("half of it zeros", &half, true),
            ("too short for a sample", &noise_only[..4096].to_vec(), true),
        ];
        for (what, plain, expected) in cases {
            assert_eq!(may_gain(plain), expected, "{what}");
        }
    }
}
