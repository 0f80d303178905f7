//! Whether somebody vouches for a bundle: a signature that `minisign` made, beside the file.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::Given;
use crate::config::{SigningKey, one_line};

/// A signature has four short lines.
const LARGEST: u64 = 4096;

/// What there is to say about who made a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It bears none.
    Absent,
    /// There is one, and no key to compare it with.
    Unchecked,
    /// One of the keys made it; what its maker signed beside the file, such as its name.
    Good { key: String, comment: String },
}

impl Given {
    /// Looks at the signature. If there are keys, there has to be one of theirs.
    pub fn signature(&self, keys: &[SigningKey]) -> Result<Signature, String> {
        let shown = self.path.display();
        let Some(bytes) = &self.bytes else {
            return match keys.is_empty() {
                true => Ok(Signature::Absent),
                false => Err(format!(
                    "{shown} is a folder, which bears no signature, and only signed bundles are taken here; pack it and sign the file"
                )),
            };
        };
        let mut path = self.path.clone().into_os_string();
        path.push(".minisig");
        let path = PathBuf::from(path);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{} cannot be read: {why}", path.display()));
            }
            Err(_) if keys.is_empty() => return Ok(Signature::Absent),
            Err(_) => {
                let help = "ask whoever made the bundle for its signature";
                return Err(format!("{shown} bears no signature: there is no {}; {help}", path.display()));
            }
        };
        if keys.is_empty() {
            return Ok(Signature::Unchecked);
        }
        let mut text = String::new();
        let read = file.take(LARGEST).read_to_string(&mut text);
        let signature = read.ok().and_then(|_| minisign_verify::Signature::decode(&text).ok());
        let signature = signature.ok_or_else(|| format!("{} is no signature of minisign", path.display()))?;
        let tried: Vec<_> = keys.iter().map(|key| (key, key.key.verify(bytes, &signature, true))).collect();
        match tried.iter().find(|(_, tried)| tried.is_ok()) {
            Some((key, _)) => {
                // minisign puts tabs between what it tells.
                let comment = one_line(signature.trusted_comment()).chars().take(200).collect();
                Ok(Signature::Good { key: key.text.clone(), comment })
            }
            None if tried.iter().all(|(_, tried)| matches!(tried, Err(minisign_verify::Error::UnexpectedKeyId))) => {
                let why = "another key made it than those that are trusted here";
                Err(format!("the signature {} is not taken: {why}", path.display()))
            }
            None => Err(format!(
                "the signature {} is not taken: it names a key that is trusted here, but is not that key's of this file as it is; \
                 the file or the signature was changed, or it is that of another version",
                path.display()
            )),
        }
    }
}
