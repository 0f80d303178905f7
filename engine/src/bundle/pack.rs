//! From files to one file: a tar archive that zstd made small.

use tar::{Builder, EntryType, Header};

use super::Contents;

/// Bundles are made seldom and fetched often.
const LEVEL: i32 = 19;

/// The same files always become the same bytes: in the order of their names, without owners or times.
pub fn pack(contents: &Contents) -> Result<Vec<u8>, String> {
    let failed = |why: std::io::Error| format!("it cannot be packed: {why}");
    let mut archive = Builder::new(Vec::new());
    for (name, bytes) in contents.files() {
        let mut header = Header::new_ustar();
        header.set_path(name).map_err(failed)?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        archive.append(&header, bytes).map_err(failed)?;
    }
    zstd::bulk::compress(&archive.into_inner().map_err(failed)?, LEVEL).map_err(failed)
}
