//! Cutting what goes into statements, by number and by weight.

use std::ops::Range;

/// What the values in one statement may weigh, in bytes. PostgreSQL ends a session that sends it 1 GiB at once, and there bytes are
/// twice as long on their way.
pub const LARGE: usize = 64 << 20;

/// Parts of at most `most` each, of which none weighs more than [`LARGE`] unless it is one alone.
pub fn portions(weights: impl Iterator<Item = usize>, most: usize) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut weight = 0;
    for (at, weighs) in weights.enumerate() {
        match parts.last_mut() {
            Some(part) if part.len() < most && weight + weighs <= LARGE => part.end = at + 1,
            _ => {
                parts.push(at..at + 1);
                weight = 0;
            }
        }
        weight += weighs;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_neither_long_nor_heavy() {
        let cut = |weights: &[usize], most| portions(weights.iter().copied(), most);
        assert_eq!(cut(&[1; 5], 2), [0..2, 2..4, 4..5]);
        assert_eq!(cut(&[LARGE / 2, LARGE / 2, 1, 2 * LARGE, 1], 100), [0..2, 2..3, 3..4, 4..5]);
        assert!(cut(&[], 2).is_empty());
    }
}
