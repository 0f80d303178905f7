//! `concord.lock`: which plugins may run, by the digests of their files.

use std::path::Path;

use toml_edit::Document;

use super::load::{Plugin, is_name};

/// The file, beside the configuration file.
pub const LOCK: &str = "concord.lock";

/// The pins of a sync's plugins, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub pins: Vec<Pin>,
}

/// A plugin that may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    pub name: String,
    /// What it called itself when it was pinned, for people.
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal digits.
    pub sha256: String,
}

const HEAD: &str = "# Which plugins may run, by the SHA-256 of their files. Written by `concord plugin lock`; keep it with concord.toml.\n\
                    version = 1\n";

impl Lock {
    /// Reads a file; one that is not there pins nothing.
    pub fn read(path: &Path) -> Result<Lock, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Lock::parse(&text).map_err(|why| {
                format!(
                    "{}: {why}; put the file back as it was, or delete it and run `concord plugin lock`",
                    path.display()
                )
            }),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
            Err(why) => Err(format!("{} cannot be read: {why}", path.display())),
        }
    }

    pub fn pin(&self, name: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.name == name)
    }

    /// Pins plugins as they are now. Whether that is anything new.
    pub fn set(&mut self, plugins: &[&Plugin]) -> bool {
        let before = self.clone();
        for plugin in plugins {
            self.pins.retain(|pin| pin.name != plugin.name);
            self.pins.push(Pin {
                name: plugin.name.clone(),
                version: plugin.description.version.clone(),
                sha256: plugin.digest.clone(),
            });
        }
        self.pins.sort_by(|a, b| a.name.cmp(&b.name));
        *self != before
    }

    /// The text of the file.
    pub fn write(&self) -> String {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        self.pins.iter().fold(HEAD.to_owned(), |text, Pin { name, version, sha256 }| {
            let version = quoted(version);
            text + &format!("\n[[plugin]]\nname = \"{name}\"\nversion = \"{version}\"\nsha256 = \"{sha256}\"\n")
        })
    }

    fn parse(text: &str) -> Result<Lock, String> {
        let document = Document::parse(text).map_err(|why| why.message().to_owned())?;
        let root = document.as_table();
        if root.get("version").and_then(|item| item.as_integer()) != Some(1) {
            return Err("it is not of version 1".to_owned());
        }
        let mut pins: Vec<Pin> = Vec::new();
        for table in root.get("plugin").and_then(|item| item.as_array_of_tables()).into_iter().flatten() {
            let text = |key: &str| table.get(key).and_then(|item| item.as_str()).map(str::to_owned);
            let (Some(name), Some(version), Some(sha256)) = (text("name"), text("version"), text("sha256")) else {
                return Err("a plugin lacks its name, version or sha256".to_owned());
            };
            let digest = sha256.len() == 64 && sha256.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
            if !is_name(&name) || !digest {
                return Err("a name or sha256 in it is none".to_owned());
            }
            if pins.iter().any(|pin| pin.name == name) {
                return Err(format!("`{name}` stands twice in it"));
            }
            pins.push(Pin { name, version, sha256 });
        }
        Ok(Lock { pins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let pin =
            |name: &str, version: &str| Pin { name: name.into(), version: version.into(), sha256: "0a".repeat(32) };
        let lock = Lock { pins: vec![pin("a", "1.0.0"), pin("b", "odd \"\\")] };
        assert_eq!(Lock::parse(&lock.write()).unwrap(), lock);
        assert_eq!(Lock::parse(HEAD).unwrap(), Lock::default());
    }

    #[test]
    fn what_is_no_lock_is_refused() {
        assert!(Lock::parse("version = 2").is_err());
        assert!(Lock::parse("version = 1\n[[plugin]]\nname = \"a\"").unwrap_err().contains("lacks"));
        let plugin = |name: &str, digest: &str| {
            format!("[[plugin]]\nname = \"{name}\"\nversion = \"1\"\nsha256 = \"{digest}\"\n")
        };
        assert!(Lock::parse(&format!("version = 1\n{}", plugin("../a", &"0".repeat(64)))).is_err());
        assert!(Lock::parse(&format!("version = 1\n{}", plugin("a", "00"))).is_err());
        let twice = plugin("a", &"0".repeat(64)).repeat(2);
        assert!(Lock::parse(&format!("version = 1\n{twice}")).unwrap_err().contains("twice"));
        assert_eq!(Lock::read(Path::new("/nowhere/concord.lock")), Ok(Lock::default()));
    }
}
