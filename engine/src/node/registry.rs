//! The kinds of database there are.

use super::{Error, ErrorKind, Node, Result};

/// Where a node is: the URL from the configuration file. Shows no password, in any form of printing.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(String);

type Connect = for<'a> fn(&'a str) -> futures::future::BoxFuture<'a, Result<Box<dyn Node>>>;

/// One line for each kind of database: the schemes of its URLs, and how to connect.
const KINDS: &[(&[&str], Connect)] = &[
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
        Some((_, connect)) => connect(&target.0).await,
        None => Err(Error::new(ErrorKind::Other, format!("no kind of database answers to `{scheme}:`"))),
    }
}

impl Target {
    pub fn new(url: impl Into<String>) -> Target {
        Target(url.into())
    }

    /// The URL with its secrets. Only for the code that connects.
    pub fn secret_url(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whatever stands between the scheme and the last `@` before the path may be a secret, as may the query.
        let (scheme, rest) = self.0.split_once(':').unwrap_or(("", &self.0));
        let rest = rest.split('?').next().unwrap_or_default();
        match rest.strip_prefix("//") {
            Some(rest) => {
                let host_and_path = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                write!(f, "{scheme}://{host_and_path}")
            }
            None => write!(f, "{scheme}:{rest}"),
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
        ] {
            let target = Target::new(url);
            let shown = format!("{target} {target:?}");
            assert!(!shown.contains("canary") && !shown.contains("can@ary"), "{shown}");
        }
        assert_eq!(Target::new("postgres://me:x@db/shop").to_string(), "postgres://db/shop");
        assert_eq!(Target::new("sqlite:a/b.db").to_string(), "sqlite:a/b.db");
    }
}
