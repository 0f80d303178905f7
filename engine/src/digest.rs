//! What stands for longer texts and bytes: their SHA-256. Databases and files keep it, so that it is never to be another.

use sha2::{Digest, Sha256};

/// Bytes in hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| char::from(DIGITS[usize::from(four)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The SHA-256, in hexadecimal digits.
pub fn digest(of: impl AsRef<[u8]>) -> String {
    hexadecimal(&Sha256::digest(of))
}

/// As many bytes of the SHA-256 as tell apart what is not chosen to deceive, in hexadecimal digits.
pub fn short_digest(of: impl AsRef<[u8]>) -> String {
    hexadecimal(&Sha256::digest(of)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first is of FIPS 180-2, B.1.
    #[test]
    fn digests_are_those_of_the_standard() {
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(short_digest("abc"), "ba7816bf8f01cfea");
        assert_eq!(hexadecimal(&[0, 9, 0xa0, 0xff]), "0009a0ff");
    }
}
