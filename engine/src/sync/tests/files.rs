//! Two files of SQLite, and a session of a sync between them.

use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::config::Config;
use crate::sync::session::Session;

/// Nodes `a` and `b` on which this was run; `tables` is what the file says of them. The files go with the folder.
pub fn two(sql: &str, tables: &str) -> (TempDir, [Connection; 2], Session) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = "name = \"test\"\n".to_owned();
    let databases = ["a", "b"].map(|name| {
        let path = folder.path().join(name);
        let database = Connection::open(&path).expect("a file");
        database.execute_batch(sql).expect("tables");
        text += &format!("[nodes.{name}]\nurl = \"sqlite:{}\"\n", path.display());
        database
    });
    let config = Config::parse(Path::new("concord.toml"), text + tables, &|_| None).expect("a good file");
    (folder, databases, Session::new(config))
}
