//! From one file to files in memory. Whoever made the file may have meant harm.

use std::io::Read;

use tar::{Archive, EntryType};
use zstd::stream::read::Decoder;

use super::Contents;
use super::contents::{LARGEST, MOST_FILES, shown};

/// How far back the compressed data may refer, as a power of two: 16 MiB, which is what the decoder keeps.
const WINDOW: u32 = 24;

/// What an archive may unpack to: the files, a header and padding for each, and the end.
const MOST: u64 = LARGEST + (MOST_FILES as u64 + 20) * 1024;

/// Ends at the first thing that is not as `pack` makes it, and at the limits, whatever the file claims.
pub fn unpack(bytes: &[u8]) -> Result<Contents, String> {
    let broken = |why: std::io::Error| format!("it is no bundle, or a broken one: {why}");
    let mut decoder = Decoder::with_buffer(bytes).map_err(broken)?;
    decoder.window_log_max(WINDOW).map_err(broken)?;
    let mut archive = Archive::new(decoder.take(MOST));
    let mut contents = Contents::default();
    // Raw: no extension of the format gets to rename a file, or to say another size.
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.header().path_bytes()).into_owned();
        if entry.header().entry_type() != EntryType::Regular {
            return Err(format!("`{}` is no plain file; a bundle holds no links, folders or devices", shown(&name)));
        }
        let size = entry.header().entry_size().map_err(broken)?;
        contents.take(&name, size, entry)?;
    }
    let mut rest = archive.into_inner();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match rest.read(&mut buffer).map_err(broken)? {
            0 if rest.limit() == 0 => return Err(format!("it unpacks to more than {} MiB", LARGEST >> 20)),
            0 => return Ok(contents),
            read if buffer[..read].iter().any(|&byte| byte != 0) => {
                return Err("something stands in it after its end".to_owned());
            }
            _ => {}
        }
    }
}
