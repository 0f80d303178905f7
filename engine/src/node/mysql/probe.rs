//! Who answers at a URL, and what in its settings weakens or forbids what Concord promises.

use super::replication::Replication;
use super::wire::{Args, number, text};
use super::{MySql, connect};
use crate::node::{Probe, Result};

const READ_ONLY: &str =
    "the server is read-only, as a replica is; give the node the url of the server that is written to";

impl MySql {
    pub(super) async fn read_probe(&mut self) -> Result<Probe> {
        let facts = self.main()?.facts.clone();
        let statement = format!(
            "SELECT CONCAT_WS(':', @@hostname, @@port, @@datadir), {}, CAST(@@log_bin AS SIGNED), @@binlog_format, \
             CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), CAST(@@lower_case_table_names AS SIGNED)",
            connect::READ_ONLY
        );
        let rows = self.main()?.fetch(&statement, Args::new()).await?;
        let row = rows.first();
        let said = |at| row.and_then(|row| text(row, at)).unwrap_or_default();
        let count = |at| row.and_then(|row| number(row, at)).unwrap_or(0);
        let server = match facts.maria {
            true => format!("MariaDB {}", facts.version.split('-').next().unwrap_or_default()),
            false => format!("MySQL {}", facts.version.split('-').next().unwrap_or_default()),
        };
        let mut refusals = Vec::new();
        let least = if facts.maria { [10, 7, 0] } else { [8, 0, 19] };
        if version(&facts.version) < least {
            let [major, minor, patch] = least;
            refusals.push(format!("{server} is too old; Concord needs {major}.{minor}.{patch} or newer"));
        }
        // What is refused as too old need not know how to tell.
        let replication = if refusals.is_empty() { self.read_replication().await? } else { Replication::Nothing };
        let read_only = connect::is_read_only(&said(1)).then_some(READ_ONLY);
        refusals.extend(replication.refusal().or(read_only).map(str::to_owned));
        if count(2) == 1 && said(3) == "STATEMENT" {
            refusals.push(
                "the server's binary log holds statements (binlog_format = STATEMENT), which Concord's transactions cannot \
                 be written to; set binlog_format = ROW"
                    .to_owned(),
            );
        }
        let cluster = "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'";
        let cluster = self.main()?.fetch(cluster, Args::new()).await?;
        if cluster.first().and_then(|row| text(row, 1)).is_some_and(|value| value == "ON") {
            refusals.push(
                "the server is one of a Galera cluster, whose members may accept what others undo; Concord needs a server of \
                 its own kind"
                    .to_owned(),
            );
        }
        let mut warnings: Vec<String> = replication.warning(&facts.account).into_iter().collect();
        if count(4) != 1 {
            warnings.push(format!(
                "innodb_flush_log_at_trx_commit is {}: a crash may lose what was committed, and with it changes that others \
                 have; set it to 1",
                count(4)
            ));
        }
        // So that it is known how far it strays.
        self.clock().await?;
        let database = if count(5) == 0 { facts.database } else { facts.database.to_lowercase() };
        Ok(Probe { server, role: facts.account, identity: format!("{}/{database}", said(0)), warnings, refusals })
    }
}

/// The first three numbers.
fn version(text: &str) -> [u32; 3] {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    // Before version 11 MariaDB put 5.5.5 before its own, for old replicas.
    let text_start = text.starts_with("5.5.5-");
    if text_start {
        numbers.by_ref().take(3).for_each(drop);
    }
    [0; 3].map(|_| numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_servers_say() {
        assert_eq!(version("10.11.19-MariaDB-0+deb12u1"), [10, 11, 19]);
        assert_eq!(version("5.5.5-10.6.2-MariaDB"), [10, 6, 2]);
        assert_eq!(version("8.0.36"), [8, 0, 36]);
    }
}
