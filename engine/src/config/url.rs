//! The URL of a node: what it must look like, and the part of it that may be shown.

use std::path::{Component, Path, PathBuf};

use url::Url;

use super::expand::{Failure, Piece};
use super::nearest;
use crate::node::{self, Target};

/// A URL that can be connected to, as far as can be told without doing so.
pub(super) struct Address {
    pub target: Target,
    /// Equal for two URLs that certainly lead to the same database.
    pub identity: String,
    /// What stands in the file itself and should not: a password, or a private key.
    pub literal_secret: Option<&'static str>,
}

/// Stands in a URL's outline for each stretch that came from a variable or a file.
const HOLE: char = '\u{1}';

/// Parameters of a URL whose values are secrets.
const SECRET_PARAMETERS: [&str; 3] = ["password", "sslpassword", "key"];

/// Parameters of a URL that name the file of a private key, or hold the key itself.
const KEY_PARAMETERS: [&str; 2] = ["sslkey", "ssl-key"];

/// Parameters of a URL that name files.
const FILE_PARAMETERS: [&str; 8] =
    ["sslrootcert", "ssl-root-cert", "sslca", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];

/// Checks an expanded URL. Relative paths of files are relative to `folder`.
///
/// A value that stands where a URL holds a user, a password or a parameter is taken as it is and percent-encoded
/// here; elsewhere it is part of the URL.
pub(super) fn address(pieces: &[Piece], folder: &Path) -> Result<Address, Failure> {
    let outline: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Value(_) => HOLE.to_string(),
        })
        .collect();
    let literal_chars = pieces.iter().filter_map(|piece| match piece {
        Piece::Literal(text) => Some(text),
        Piece::Value(_) => None,
    });
    let blanks = outline.starts_with("sqlite:");
    if literal_chars.flat_map(|text| text.chars()).any(|c| c.is_control() || (c == ' ' && !blanks)) {
        return Err(fail("the URL contains a blank or a control character", "a blank in a URL is written %20"));
    }
    let url = assemble(pieces, &outline);
    let literal_secret = match (holds_password(&outline), holds_key(&outline)) {
        (true, _) => Some("password"),
        (false, true) => Some("private key"),
        (false, false) => None,
    };
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(fail("the URL does not say which kind of database it leads to", FORMS));
    };
    match scheme {
        "sqlite" => sqlite(rest, folder).map(|(target, identity)| Address { target, identity, literal_secret }),
        "postgres" | "postgresql" => {
            let identity = postgres(&url)?;
            Ok(Address { target: Target::new(with_files_of(&url, folder)?), identity, literal_secret })
        }
        "mysql" | "mariadb" => {
            let identity = mysql(&url)?;
            Ok(Address { target: Target::new(with_files_of(&url, folder)?), identity, literal_secret })
        }
        // A kind of database this module has nothing particular to say about.
        _ if node::kinds().any(|kind| kind == scheme) => {
            Ok(Address { identity: url.clone(), target: Target::new(url), literal_secret })
        }
        // What stands before a colon may be a secret if it is no scheme, or comes from elsewhere.
        _ if outline.starts_with(&format!("{scheme}://")) && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            let help = match nearest::nearest(scheme, node::kinds()) {
                Some(kind) => format!("did you mean `{kind}`? {}", kinds()),
                None => kinds(),
            };
            Err(fail(format!("no kind of database is called `{scheme}`"), help))
        }
        _ => Err(fail("the URL does not say which kind of database it leads to", FORMS)),
    }
}

const FORMS: &str =
    "URLs look like postgres://user@host/database, mysql://user@host/database or sqlite:path/to/file.db";

fn kinds() -> String {
    format!("kinds of database: {}", node::kinds().collect::<Vec<_>>().join(", "))
}

/// Puts the pieces together.
fn assemble(pieces: &[Piece], outline: &str) -> String {
    let user = user_part(outline);
    let question = outline.find('?').unwrap_or(outline.len());
    let (mut url, mut at) = (String::new(), 0);
    for piece in pieces {
        match piece {
            Piece::Literal(text) => {
                url += text;
                at += text.len();
            }
            Piece::Value(text) => {
                match &user {
                    // A value that is user and password at once keeps its colon.
                    Some((from, to)) if at == *from && at + 1 == *to => {
                        let (name, password) = text.split_once(':').unwrap_or((text, ""));
                        url += &encoded(name);
                        if text.contains(':') {
                            url += ":";
                            url += &encoded(password);
                        }
                    }
                    Some((from, to)) if (*from..*to).contains(&at) => url += &encoded(text),
                    _ if at > question => url += &encoded(text),
                    _ => url += text,
                }
                at += HOLE.len_utf8();
            }
        }
    }
    url
}

/// From where to where an outline names user and password, if it does.
fn user_part(outline: &str) -> Option<(usize, usize)> {
    let from = outline.find("://")? + 3;
    let authority = outline[from..].split(['/', '?', '#']).next().unwrap_or_default();
    authority.rfind('@').map(|at| (from, from + at))
}

fn holds_password(outline: &str) -> bool {
    let literal = |secret: &str| !secret.is_empty() && !secret.contains(HOLE);
    let user = user_part(outline)
        .and_then(|(from, to)| outline[from..to].split_once(':'))
        .is_some_and(|(_, password)| literal(password));
    let query = outline.split_once('?').map_or("", |(_, query)| query);
    user || query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .any(|(name, value)| SECRET_PARAMETERS.contains(&name) && literal(value))
}

/// Whether a private key stands in an outline.
fn holds_key(outline: &str) -> bool {
    let query = outline.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| is_key(pair) && !pair.contains(HOLE))
}

/// Whether a parameter is a private key itself, and not the name of its file.
fn is_key(pair: &str) -> bool {
    let named = url::form_urlencoded::parse(pair.as_bytes()).next();
    named.is_some_and(|(name, value)| KEY_PARAMETERS.contains(&&*name) && node::is_inline(&value))
}

fn postgres(url: &str) -> Result<String, Failure> {
    const FORM: &str = "a PostgreSQL URL looks like postgres://user@host:5432/database; in names and passwords
\
                        the characters / ? # @ : % are percent-encoded, or come as they are from ${VAR} or ${file:PATH}";
    let parsed = Url::parse(url).map_err(|why| fail(format!("not a valid URL: {why}"), FORM))?;
    if parsed.cannot_be_a_base() {
        return Err(fail("not a valid URL: `//` is missing after the first colon", FORM));
    }
    // All of these are what is left of a password that was not encoded.
    let path = parsed.path().trim_start_matches('/');
    if path.contains(['@', '/', '=', '&'])
        || parsed.fragment().is_some()
        || parsed.query().is_some_and(|q| q.contains('@'))
    {
        return Err(fail("not a valid URL: it goes on after the name of the database", FORM));
    }
    let parameter = |names: &[&str]| {
        parsed.query_pairs().find(|(name, _)| names.contains(&name.as_ref())).map(|(_, value)| value.into_owned())
    };
    let host = parsed.host_str().filter(|host| !host.is_empty()).map(str::to_lowercase);
    let host = parameter(&["host", "hostaddr"]).or(host).unwrap_or_default();
    let port = parameter(&["port"]).unwrap_or_else(|| parsed.port().unwrap_or(5432).to_string());
    let database = parameter(&["dbname"]).unwrap_or_else(|| path.to_owned());
    let database = if database.is_empty() { parsed.username().to_owned() } else { database };
    Ok(format!("postgres {host} {port} {database}"))
}

fn mysql(url: &str) -> Result<String, Failure> {
    const FORM: &str = "a MySQL or MariaDB URL looks like mysql://user@host:3306/database; in names and passwords
\
                        the characters / ? # @ : % are percent-encoded, or come as they are from ${VAR} or ${file:PATH}";
    let parsed = Url::parse(url).map_err(|why| fail(format!("not a valid URL: {why}"), FORM))?;
    if parsed.cannot_be_a_base() {
        return Err(fail("not a valid URL: `//` is missing after the first colon", FORM));
    }
    // All of these are what is left of a password that was not encoded.
    let path = parsed.path().trim_start_matches('/');
    if path.contains(['@', '/', '=', '&'])
        || parsed.fragment().is_some()
        || parsed.query().is_some_and(|q| q.contains('@'))
    {
        return Err(fail("not a valid URL: it goes on after the name of the database", FORM));
    }
    if path.is_empty() {
        return Err(fail("the URL names no database", FORM));
    }
    let host = parsed.host_str().unwrap_or_default().to_lowercase();
    let socket = parsed.query_pairs().find(|(name, _)| name == "socket").map(|(_, value)| value.into_owned());
    Ok(format!("mysql {host} {} {path} {}", parsed.port().unwrap_or(3306), socket.unwrap_or_default()))
}

fn sqlite(rest: &str, folder: &Path) -> Result<(Target, String), Failure> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let Some(path) = decoded(path.strip_prefix("//").unwrap_or(path)) else {
        return Err(fail(
            "the URL holds a `%` that two hexadecimal digits do not follow",
            "a percent sign in the name of a file is written %25",
        ));
    };
    if path.is_empty() {
        return Err(fail("the URL names no file", "write sqlite:path/to/file.db; the path is relative to this file"));
    }
    if path == ":memory:" {
        return Err(fail(
            "a database in memory cannot be synced: nobody else can write to it",
            "name a file: sqlite:path/to/file.db",
        ));
    }
    let path = cleaned(&folder.join(path));
    let Some(text) = path.to_str() else {
        return Err(fail("the path of the file is not valid UTF-8", "move or rename its folder"));
    };
    // The folder is no part of what was written as a URL, and may be called anything.
    let text = text.replace('%', "%25").replace('?', "%3F");
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let identity = path.canonicalize().unwrap_or_else(|_| path.clone());
    Ok((Target::new(format!("sqlite:{text}{query}")), format!("sqlite {}", identity.display())))
}

/// The URL with the files that it names as they are found from `folder`; one may hold what else stands in a file.
fn with_files_of(url: &str, folder: &Path) -> Result<String, Failure> {
    let Some((start, query)) = url.split_once('?') else { return Ok(url.to_owned()) };
    let mut pairs = Vec::new();
    for pair in query.split('&') {
        let named = url::form_urlencoded::parse(pair.as_bytes()).next();
        let file = named.filter(|(name, value)| {
            FILE_PARAMETERS.contains(&name.as_ref()) && !value.is_empty() && !node::is_inline(value)
        });
        let Some((name, value)) = file else {
            pairs.push(pair.to_owned());
            continue;
        };
        let path = cleaned(&folder.join(&*value));
        let Some(path) = path.to_str() else {
            return Err(fail("the path of a file is not valid UTF-8", "move or rename its folder"));
        };
        pairs.push(format!("{name}={}", encoded(path)));
    }
    Ok(format!("{start}?{}", pairs.join("&")))
}

/// The text with what stands for each `%` and its two digits; `None` if they do not follow, or stand for no text.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).filter(|(digits, _)| !digits.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The path without `.` and, where that is safe to do by name alone, `..`.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(clean.components().next_back(), Some(Component::Normal(_))) => {
                // The parent of what a link leads to is not the folder that the link stands in.
                if clean.is_symlink() {
                    clean.push("..");
                } else {
                    clean.pop();
                }
            }
            _ => clean.push(part),
        }
    }
    clean
}

/// The URL with its password and its private key replaced by what is to stand for them, and whether there was one of either. For URLs
/// that [`address`] accepts.
pub(super) fn without_secrets(url: &str, password: &str, key: &str) -> (String, bool, bool) {
    let mut url = url.to_owned();
    let outline = outline_of(&url);
    let (has_password, has_key) = (holds_password(&outline), holds_key(&outline));
    if let Some((from, to)) = user_part(&url)
        && let Some(colon) = url[from..to].find(':')
        && has_password
    {
        url.replace_range(from + colon + 1..to, password);
    }
    if let Some((start, query)) = url.split_once('?') {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if has_password && SECRET_PARAMETERS.contains(&name) => format!("{name}={password}"),
            Some((name, _)) if has_key && is_key(pair) => format!("{name}={key}"),
            _ => pair.to_owned(),
        });
        url = format!("{start}?{}", pairs.collect::<Vec<_>>().join("&"));
    }
    (url, has_password, has_key)
}

/// The URL with a hole in place of each placeholder.
fn outline_of(url: &str) -> String {
    let mut parts = url.split("${");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |outline, part| {
        outline + &part.split_once('}').map_or(part.to_owned(), |(_, r)| format!("{HOLE}{r}"))
    })
}

/// What may be shown of the text that stands for a URL in the file, whatever it is.
pub(super) fn harmless(text: &str) -> String {
    let placeholder = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    if placeholder.is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')) {
        return text.to_owned();
    }
    let mut shown = Target::new(text).to_string();
    if let Some((scheme, _)) = text.split_once("://")
        && shown == "…"
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return format!("{scheme}://…");
    }
    if text.contains('@') && !shown.contains('…') {
        shown = shown.replacen("://", "://…@", 1);
    }
    if text.contains('?') && !shown.ends_with('…') {
        shown += "?…";
    }
    shown
}

/// Percent-encoded, so that it means itself anywhere in a URL.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn fail(message: impl Into<String>, help: impl Into<String>) -> Failure {
    Failure { message: message.into(), help: help.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(path: &str, folder: &str) -> Result<(String, String), String> {
        let address = address(&[Piece::Literal(format!("sqlite:{path}"))], Path::new(folder));
        address.map(|address| (address.target.secret_url().to_owned(), address.identity)).map_err(|why| why.message)
    }

    /// Jenkins calls folders `feature%2Fx`.
    #[test]
    fn a_folder_may_be_called_anything() {
        let (url, identity) = of_file("b%20c%3F/d%25.db", "/ws/a%2Fx?").unwrap();
        assert_eq!(url, "sqlite:/ws/a%252Fx%3F/b c%3F/d%25.db");
        assert_eq!(identity, "sqlite /ws/a%2Fx?/b c?/d%.db", "as it is called");
        assert_eq!(of_file("../a.db", "/ws/a%20b").unwrap().0, "sqlite:/ws/a.db");
        assert_eq!(of_file("/x/a%20b.db", "/ws").unwrap(), of_file("/x/a b.db", "/ws").unwrap(), "the same file");
    }

    #[test]
    fn files_for_tls_are_relative_to_the_folder() {
        for (given, read) in [
            ("postgres://h/d?sslrootcert=ca.crt&sslmode=require", "sslrootcert=%2Fws%2Fa%20b%2Fca.crt&sslmode=require"),
            ("postgres://h/d?user=a%2Fb+c&sslkey=../k%2By.pem", "user=a%2Fb+c&sslkey=%2Fws%2Fk%2By.pem"),
            ("mysql://h/d?ssl-ca=%2Fetc%2Fca.crt&ssl-cert=", "ssl-ca=%2Fetc%2Fca.crt&ssl-cert="),
            (
                "mysql://h/d?sslca=-----BEGIN%20CERTIFICATE-----&socket=s",
                "sslca=-----BEGIN%20CERTIFICATE-----&socket=s",
            ),
        ] {
            let found = address(&[Piece::Literal(given.to_owned())], Path::new("/ws/a b"));
            let url = found.map(|found| found.target.secret_url().to_owned()).map_err(|why| why.message).unwrap();
            assert_eq!(url.split_once('?').unwrap().1, read, "{given}");
        }
    }

    /// A key that stands in the URL itself is a secret, and a certificate or the name of a file is none.
    #[test]
    fn a_private_key_is_told_and_left_out() {
        let shown = |url: &str| {
            let address = address(&[Piece::Literal(url.to_owned())], Path::new("/ws")).map_err(|why| why.message);
            (without_secrets(url, "${P}", "${K}"), address.unwrap().literal_secret)
        };
        let key = "-----BEGIN%20PRIVATE%20KEY-----%0Acanary%0A-----END%20PRIVATE%20KEY-----";
        let encoded = "%2D----BEGIN+PRIVATE+KEY-----%0Acanary";
        for (url, left, secret) in [
            (format!("postgres://h/d?sslkey={key}&x=1"), "postgres://h/d?sslkey=${K}&x=1", Some("private key")),
            (format!("mysql://h/d?ssl%2Dkey={encoded}"), "mysql://h/d?ssl%2Dkey=${K}", Some("private key")),
            (format!("postgres://u:p@h/d?sslkey={key}"), "postgres://u:${P}@h/d?sslkey=${K}", Some("password")),
            ("postgres://u@h/d?sslkey=k.pem".to_owned(), "postgres://u@h/d?sslkey=k.pem", None),
        ] {
            let ((text, has_password, has_key), told) = shown(&url);
            assert_eq!((&*text, told), (left, secret), "{url}");
            assert_eq!((has_password, has_key), (secret == Some("password"), url.contains("BEGIN")), "{url}");
        }
    }

    #[test]
    fn a_percent_sign_has_two_digits() {
        for path in ["100%.db", "a%2", "a%zz.db", "a%+1.db", "a%ff.db", "%é"] {
            let told = of_file(path, "/ws").unwrap_err();
            assert!(told.starts_with("the URL holds a `%`"), "{path}: {told}");
        }
    }
}
