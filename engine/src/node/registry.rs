//! The kinds of database there are.

use super::rekeyed::Rekeyed;
use super::{Error, ErrorKind, Node, Result};

/// Where a node is: the URL from the configuration file. Shows no password, in any form of printing.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(String);

type Connect = for<'a> fn(&'a str) -> futures::future::BoxFuture<'a, Result<Box<dyn Node>>>;

/// One line for each kind of database: the schemes of its URLs, and how to connect.
const KINDS: &[(&[&str], Connect)] = &[
    (&["mysql", "mariadb"], |url| Box::pin(super::mysql::connect(url))),
    (&["postgres", "postgresql"], |url| Box::pin(super::postgres::connect(url))),
    (&["sqlite"], |url| Box::pin(super::sqlite::connect(url))),
];

/// The URL schemes that can be connected to.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().flat_map(|(schemes, _)| schemes.iter().copied())
}

/// Connects to a database. An existing database is needed; none is created.
pub async fn connect(target: &Target) -> Result<Box<dyn Node>> {
    let scheme = target.0.split(':').next().unwrap_or_default();
    match KINDS.iter().find(|(schemes, _)| schemes.contains(&scheme)) {
        Some((_, connect)) => Ok(Box::new(Rekeyed(connect(&target.0).await?))),
        None => Err(Error::new(ErrorKind::Other, format!("no kind of database answers to `{scheme}:`"))),
    }
}

impl Target {
    pub fn new(url: impl Into<String>) -> Target {
        Target(url.into())
    }

    /// Whether it is a file, and no server with a clock of its own.
    pub fn is_file(&self) -> bool {
        self.0.starts_with("sqlite:")
    }

    /// The URL with its secrets. Only for the code that connects.
    pub fn secret_url(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Target {
    /// Scheme, host and path. Where it is not plain what of the text is which, less is shown rather than a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((scheme, rest)) = self.0.split_once(':') else { return f.write_str("…") };
        if !KINDS.iter().any(|(schemes, _)| schemes.contains(&scheme)) {
            return f.write_str("…");
        }
        let Some(rest) = rest.strip_prefix("//") else {
            // A path. Of other URLs that lack their slashes any part may be the password.
            return match scheme {
                "sqlite" => write!(f, "{scheme}:{}", rest.split('?').next().unwrap_or_default()),
                _ => write!(f, "{scheme}:…"),
            };
        };
        // A `?` before the last `@` may stand in a password, or the `@` in a parameter.
        let shown = match (rest.rsplit_once('@'), rest.find('?')) {
            (Some((before, _)), Some(question)) if question <= before.len() => "…",
            (Some((_, host)), _) => host.split('?').next().unwrap_or_default(),
            (None, _) => rest.split('?').next().unwrap_or_default(),
        };
        // A password whose `@host` is missing looks like a port, and one whose `?` is missing like a database.
        let host = shown.split('/').next().unwrap_or_default();
        let after_host = match host.strip_prefix('[') {
            Some(address) => address.split_once(']').map_or("x", |(_, rest)| rest),
            None => host.find(':').map_or("", |colon| &host[colon..]),
        };
        let plain = after_host.strip_prefix(':').unwrap_or(after_host).bytes().all(|b| b.is_ascii_digit())
            && !shown.contains('=');
        match plain {
            true => write!(f, "{scheme}://{shown}"),
            false => write!(f, "{scheme}://…"),
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_shows() {
        for url in [
            "postgres://me:canary@db.example/shop",
            "postgres://me:can@ary@db.example/shop?password=canary",
            "sqlite:shop.db?key=canary",
            "postgres://canary@db.example",
            "postgres://me:x?canary@db.example/shop",
            "postgres://db/shop?password=x@canary",
            "postgres://me:canary",
            "host=db password=canary",
            "canary:canary@db",
            "postgres:me:canary",
            "postgres://me:canarydb:5432/shop",
            "postgres://db/shop&password=canary",
        ] {
            let target = Target::new(url);
            let shown = format!("{target} {target:?}");
            assert!(!shown.contains("canary") && !shown.contains("can@ary"), "{shown}");
        }
        assert_eq!(Target::new("postgres://me:x@db/shop").to_string(), "postgres://db/shop");
        assert_eq!(Target::new("postgres://db:5433/shop").to_string(), "postgres://db:5433/shop");
        assert_eq!(Target::new("postgres://me@[::1]/shop").to_string(), "postgres://[::1]/shop");
        assert_eq!(Target::new("sqlite:a/b.db").to_string(), "sqlite:a/b.db");
    }
}
