//! `${VAR}` and `${file:PATH}` in a node's URL.
//!
//! One pass: what a variable or a file holds is never searched for further placeholders. Which parts of the URL came
//! from where is kept, because a password is written differently inside a URL than in a variable.

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Where variables come from: [`std::env::var_os`], except in tests.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A stretch of a URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it stands in the file.
    Literal(String),
    /// What a variable or a file holds.
    Value(String),
}

/// Why a text could not be expanded. Names the variable or file, never what it holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub message: String,
    pub help: String,
}

/// Secrets are short; anything longer is the wrong file.
const LONGEST: u64 = 64 * 1024;

/// Splits `text` at its placeholders and looks up what they stand for. Paths are relative to `folder`. All failures
/// are reported, not only the first.
pub(super) fn expand(text: &str, folder: &Path, lookup: Lookup<'_>) -> Result<Vec<Piece>, Vec<Failure>> {
    let (mut pieces, mut failures) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once("${") {
        pieces.push(Piece::Literal(literal.to_owned()));
        let Some((inside, after)) = after.split_once('}') else {
            failures.push(failure(
                "`${` without the `}` that ends it",
                "write ${VAR} or ${file:PATH}; a `$` that means itself is written %24 in a URL",
            ));
            return Err(failures);
        };
        match value(inside, folder, lookup) {
            Ok(value) => pieces.push(Piece::Value(value)),
            Err(why) => failures.push(why),
        }
        rest = after;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    if failures.is_empty() { Ok(pieces) } else { Err(failures) }
}

fn value(inside: &str, folder: &Path, lookup: Lookup<'_>) -> Result<String, Failure> {
    if let Some(path) = inside.strip_prefix("file:") {
        return content(&folder.join(path.trim())).map_err(|why| {
            failure(
                format!("the file `{}` named in ${{file:…}} {why}", path.trim().escape_debug()),
                "its path is relative to the folder of this file; it holds the secret alone, on one line",
            )
        });
    }
    let plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !plain(inside) {
        return Err(failure(
            "what stands between `${` and `}` is not the name of a variable",
            "names are made of letters, digits and `_`; a file is written ${file:PATH}",
        ));
    }
    match lookup(inside).map(OsString::into_string) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) => Err(failure(
            format!("the environment variable `{inside}` is not valid UTF-8"),
            "characters of a URL outside ASCII are written %XX",
        )),
        None => Err(failure(
            format!("the environment variable `{inside}` is not set"),
            format!("set it before running concord, for example: export {inside}=…"),
        )),
    }
}

/// What the file holds, without the line end at its end.
fn content(path: &Path) -> Result<String, &'static str> {
    let why = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "does not exist",
        io::ErrorKind::PermissionDenied => "may not be read by this user",
        _ => "cannot be read",
    };
    let about = std::fs::metadata(path).map_err(why)?;
    if about.is_dir() {
        return Err("is a folder");
    }
    if about.len() > LONGEST {
        return Err("is too long to hold a secret");
    }
    let text = String::from_utf8(std::fs::read(path).map_err(why)?).map_err(|_| "is not valid UTF-8")?;
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text)).to_owned())
}

fn failure(message: impl Into<String>, help: impl Into<String>) -> Failure {
    Failure { message: message.into(), help: help.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<OsString> {
        match name {
            "PW" => Some("${HOST}p@ss".into()),
            "HOST" => Some("db".into()),
            _ => None,
        }
    }

    fn joined(text: &str) -> Result<String, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "secret\r\n").unwrap();
        std::fs::write(folder.path().join("two"), "a\n\n").unwrap();
        std::fs::write(folder.path().join("bad"), [0xff, 0xfe]).unwrap();
        match expand(text, folder.path(), &lookup) {
            Ok(pieces) => Ok(pieces
                .into_iter()
                .map(|piece| match piece {
                    Piece::Literal(text) => text,
                    Piece::Value(text) => format!("<{text}>"),
                })
                .collect()),
            Err(failures) => Err(failures.into_iter().map(|failure| failure.message).collect()),
        }
    }

    #[test]
    fn one_pass_and_no_recursion() {
        assert_eq!(joined("a${PW}b${HOST}"), Ok("a<${HOST}p@ss>b<db>".to_owned()));
        assert_eq!(joined("${file:pw}@x"), Ok("<secret>@x".to_owned()));
        assert_eq!(joined("${file:two}"), Ok("<a\n>".to_owned()));
        assert_eq!(joined("$HOME $5"), Ok("$HOME $5".to_owned()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let failed = |text: &str| joined(text).unwrap_err().join("; ");
        assert_eq!(
            failed("${A}${B}"),
            "the environment variable `A` is not set; the environment variable `B` is not set"
        );
        assert_eq!(failed("${file:no}"), "the file `no` named in ${file:…} does not exist");
        assert_eq!(failed("${file:.}"), "the file `.` named in ${file:…} is a folder");
        assert_eq!(failed("${file:bad}"), "the file `bad` named in ${file:…} is not valid UTF-8");
        assert_eq!(failed("${A-b}"), "what stands between `${` and `}` is not the name of a variable");
        assert_eq!(failed("x${A"), "`${` without the `}` that ends it");
    }
}
