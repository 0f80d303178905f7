//! A plugin's file as it is read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::exact::Mark;
use super::limits::Limits;
use crate::digest::{digest, hexadecimal};

/// A message and a hint.
pub(super) type Why = (String, String);

/// What is to be known of all bytes of a file.
pub(super) struct Seen {
    /// The SHA-256, in hexadecimal digits.
    pub digest: String,
    /// Whether they hold what a tool leaves in all that it makes.
    pub marked: bool,
}

/// So much is read at a time, for which the processor's own memory has room.
const LOT: usize = 128 * 1024;

impl Seen {
    pub fn of(bytes: &[u8]) -> Seen {
        Seen { digest: digest(bytes), marked: Mark::new().is_in(bytes) }
    }

    /// The same of what is left to read, which is not kept.
    pub fn read(from: &mut impl Read) -> std::io::Result<Seen> {
        let (mark, mut digest, mut marked) = (Mark::new(), Sha256::new(), false);
        let mut lot = vec![0; LOT];
        // What stands in front was looked at; a mark may begin there.
        let mut before = 0;
        loop {
            let read = match from.read(&mut lot[before..]) {
                Ok(0) => return Ok(Seen { digest: hexadecimal(&digest.finalize()), marked }),
                Ok(read) => read,
                Err(why) if why.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(why) => return Err(why),
            };
            let end = before + read;
            digest.update(&lot[before..end]);
            marked = marked || mark.is_in(&lot[..end]);
            let kept = end.min(Mark::LONG - 1);
            lot.copy_within(end - kept..end, 0);
            before = kept;
        }
    }
}

/// The file, opened, if it is no larger than it may be. What is read of it is not more than that either.
pub(super) fn opened(file: &Path, name: &str, limits: &Limits) -> Result<impl Read, Why> {
    let shown = file.display();
    let unreadable = |why| unreadable(file, &why);
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > limits.file {
        return Err((
            format!("{shown} has {size} bytes, and the limit is {}", limits.file),
            limits.advice(name, "file", "that is meant"),
        ));
    }
    Ok(File::open(file).map_err(unreadable)?.take(limits.file))
}

/// Why it cannot be read, and what to do.
pub(super) fn unreadable(file: &Path, why: &std::io::Error) -> Why {
    let shown = file.display();
    match why.kind() {
        std::io::ErrorKind::NotFound => {
            let hint = "`concord plugin build`, or the tool of its language, makes it of what was written";
            (format!("there is no file {shown}"), hint.to_owned())
        }
        _ => (format!("{shown} cannot be read: {why}"), "check its permissions".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let (now, later) = self.0.split_at(self.0.len().min(self.1).min(into.len()));
            into[..now.len()].copy_from_slice(now);
            self.0 = later;
            Ok(now.len())
        }
    }

    #[test]
    fn what_is_read_in_lots_is_seen_as_a_whole() {
        let long: Vec<u8> = (0..3 * LOT).map(|at| (at % 251) as u8).collect();
        for (at, marked) in [(None, false), (Some(0), true), (Some(LOT - 5), true), (Some(3 * LOT - Mark::LONG), true)]
        {
            let mut bytes = long.clone();
            if let Some(at) = at {
                bytes[at..at + Mark::LONG].copy_from_slice(Mark::LEFT);
            }
            let whole = Seen::of(&bytes);
            assert_eq!(whole.marked, marked, "{at:?}");
            for step in [7_919, LOT, usize::MAX] {
                let read = Seen::read(&mut Slow(&bytes, step)).unwrap();
                assert_eq!((&read.digest, read.marked), (&whole.digest, marked), "{at:?}, {step} at a time");
            }
        }
        let short = Seen::read(&mut Slow(Mark::LEFT, 1)).unwrap();
        assert!(short.marked && short.digest == Seen::of(Mark::LEFT).digest);
    }
}
