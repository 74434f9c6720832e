//! What the generated files of an image contain: database-like pages, log text, media.

use std::io::{self, Write};

use super::random::Random;

/// Size of a database page.
pub(super) const PAGE: usize = 8192;

/// Row templates that pages are filled from: text as varied, and as redundant, as a table's.
#[derive(Debug)]
pub(super) struct Vocabulary {
    words: Vec<String>,
    rows: Vec<String>,
}

impl Vocabulary {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::for_part(seed, "vocabulary");
        let words: Vec<_> = (0..4000_usize)
            .map(|n| format!("{:016x}", random.next())[..3 + n % 9].to_owned())
            .collect();
        let rows = (0..20_000)
            .map(|_| {
                let count = 3 + random.index(11);
                phrase(&words, count, &mut random)
            })
            .collect();
        Self { words, rows }
    }

    fn phrase(&self, count: usize, random: &mut Random) -> String {
        phrase(&self.words, count, random)
    }
}

fn phrase(words: &[String], count: usize, random: &mut Random) -> String {
    let chosen: Vec<_> = (0..count)
        .map(|_| words[random.index(words.len())].as_str())
        .collect();
    chosen.join(" ")
}

/// One page of a heap table: header and row pointers in front, rows behind, 63 to 88 % full, the
/// free space between them zero.
pub(super) fn page(number: u64, lsn: u64, rows: &Vocabulary, random: &mut Random) -> Vec<u8> {
    let fill = 5200 + random.index(2048);
    let (mut pointers, mut body) = (Vec::new(), Vec::with_capacity(PAGE));
    let mut used = 24;
    let mut row = 0_u64;
    while used < fill {
        let id = number * 64 + row;
        let start = body.len();
        body.extend(id.to_le_bytes());
        body.extend(random.below(1_000_000).to_le_bytes()[..4].iter());
        body.extend((random.below(100_000_000) as f64 / 1e4).to_le_bytes());
        body.extend((1_700_000_000_000 + id * 977).to_le_bytes());
        body.extend(rows.rows[random.index(rows.rows.len())].as_bytes());
        body.extend(format!("{:08x}", random.below(1 << 32)).as_bytes());
        pointers.extend((row * 61).to_le_bytes()[..2].iter());
        pointers.extend(low_16(body.len() - start));
        used += body.len() - start + 4;
        row += 1;
    }
    let mut page = Vec::with_capacity(PAGE);
    page.extend(lsn.to_le_bytes());
    page.extend(random.below(1 << 32).to_le_bytes()[..4].iter()); // the page's checksum
    page.extend(number.to_le_bytes());
    page.extend((pointers.len() as u64).to_le_bytes()[..4].iter());
    page.extend(pointers);
    page.resize(PAGE - body.len(), 0);
    page.extend(body);
    page
}

/// A length within a page, as a page stores it.
fn low_16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes()
}

/// An update in place: most touch the header and a few fields of one row, some rewrite the page.
pub(super) fn update_page(
    page_bytes: &mut Vec<u8>,
    number: u64,
    lsn: u64,
    rows: &Vocabulary,
    random: &mut Random,
) {
    if random.percent(30) {
        *page_bytes = page(number, lsn, rows, random);
    } else {
        page_bytes[..8].copy_from_slice(&lsn.to_le_bytes());
        let at = PAGE / 2 + random.index(PAGE / 2 - 40);
        random.fill(&mut page_bytes[at..at + 32]);
    }
}

/// Writes `length` bytes of service log, beginning `start_ms` after midnight of the first day.
pub(super) fn write_log(
    out: &mut impl Write,
    length: u64,
    start_ms: u64,
    words: &Vocabulary,
    random: &mut Random,
) -> io::Result<()> {
    const UNITS: [&str; 7] = [
        "sshd", "systemd", "kernel", "nginx", "postgres", "cron", "dockerd",
    ];
    const STATUS: [u32; 6] = [200, 200, 200, 304, 404, 500];
    let mut left = usize::try_from(length).unwrap_or(usize::MAX);
    let mut time = start_ms;
    while left > 0 {
        time += random.below(3000);
        let count = 2 + random.index(7);
        let line = format!(
            "Oct {:2} {:02}:{:02}:{:02}.{:03} vm1 {}[{}]: {} client=10.{}.{}.{} id={:08x} \
             status={} time={}ms\n",
            1 + time / 86_400_000 % 28,
            time / 3_600_000 % 24,
            time / 60_000 % 60,
            time / 1000 % 60,
            time % 1000,
            UNITS[random.index(UNITS.len())],
            300 + random.below(8700),
            words.phrase(count, random),
            random.below(256),
            random.below(256),
            random.below(256),
            random.below(1 << 32),
            STATUS[random.index(STATUS.len())],
            random.below(900),
        );
        let cut = line.len().min(left);
        out.write_all(&line.as_bytes()[..cut])?;
        left -= cut;
    }
    Ok(())
}

/// Writes `length` bytes that no compressor can shorten.
pub(super) fn write_media(
    out: &mut impl Write,
    length: u64,
    random: &mut Random,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 18];
    let mut left = length;
    while left > 0 {
        let piece = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        random.fill(&mut buffer[..piece]);
        out.write_all(&buffer[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

/// A file as the next version of its package would have it: small differences all over, and
/// everything behind a point moved by a few bytes.
pub(super) fn rebuild(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=bytes.len() / 8192 {
        let at = random.index(bytes.len());
        let end = bytes.len().min(at + 8);
        random.fill(&mut bytes[at..end]);
    }
    let at = random.index(bytes.len());
    let mut inserted = vec![0; 1 + random.index(63)];
    random.fill(&mut inserted);
    bytes.splice(at..at, inserted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_whole_and_partly_free() {
        let (rows, mut random) = (Vocabulary::new(1), Random::new(1));
        for number in 0..50 {
            let mut bytes = page(number, 1 << 32, &rows, &mut random);
            assert_eq!(bytes.len(), PAGE);
            let zeros = bytes.iter().filter(|byte| **byte == 0).count();
            assert!(zeros > PAGE / 20, "{zeros}");
            update_page(&mut bytes, number, 2 << 32, &rows, &mut random);
            assert_eq!(bytes.len(), PAGE);
            assert_eq!(bytes[..8], (2_u64 << 32).to_le_bytes());
        }
    }

    #[test]
    fn logs_and_media_are_as_long_as_asked() {
        let (words, mut random) = (Vocabulary::new(1), Random::new(1));
        let mut log = Vec::new();
        write_log(&mut log, 5001, 0, &words, &mut random).unwrap();
        assert_eq!(log.len(), 5001);
        assert!(log.starts_with(b"Oct  1 00:00:0"));
        let mut media = Vec::new();
        write_media(&mut media, 300_001, &mut random).unwrap();
        assert_eq!(media.len(), 300_001);
    }

    #[test]
    fn a_rebuilt_file_is_a_little_longer() {
        let mut bytes = vec![7; 20_000];
        rebuild(&mut bytes, &mut Random::new(3));
        assert!((20_001..20_064).contains(&bytes.len()));
    }
}
