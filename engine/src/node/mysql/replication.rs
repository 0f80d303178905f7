//! Whether what is written at another server arrives here by a log: triggers do not fire for all of that, so no history holds it.

use super::schema::told;
use super::wire::{Args, text};
use super::{MySql, rights};
use crate::node::{ErrorKind, Result};

/// What a server says of the logs of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// None is applied, as far as the account may see.
    Nothing,
    /// One could be, and is not now.
    Stopped,
    Applied,
    /// Those of a group of which every member is written to.
    Group,
    /// The account may not see that.
    Untold,
}

impl Replication {
    /// Why the server cannot take part, and what to do.
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            // MariaDB's `slave_run_triggers_for_rbr` alters nothing: by it, triggers fire for tables that have none there, and rows
            // are overwritten whole, with what others had changed in them.
            Replication::Applied => Some(
                "the server applies another server's log, as a replica does: Concord does not see all of what that changes, and \
                 what it writes here does not get there; give the node the url of the server that is written to, which applies \
                 no other's log",
            ),
            Replication::Group => Some(
                "the server is of a group that takes writes at every member (group_replication_single_primary_mode = OFF): what \
                 comes from the others fires no triggers and is recorded nowhere; let the group have one primary (SELECT \
                 group_replication_switch_to_single_primary_mode();) and give the node the url of the server that is written to",
            ),
            Replication::Nothing | Replication::Stopped | Replication::Untold => None,
        }
    }

    /// What an administrator should look at, where the account is to be given a right.
    pub fn warning(self, account: &str) -> Option<String> {
        match self {
            Replication::Stopped => Some(
                "the server is set up as a replica and does not apply the log now; once it does, as after a restart, Concord \
                 does not see all of what that changes: if it is no replica any more, let it forget the other server (RESET \
                 REPLICA ALL, on MariaDB with the name of the connection if it has one), or else give the node the url of the server that is written to"
                    .to_owned(),
            ),
            Replication::Untold => Some(format!(
                "may not see whether the server applies another server's log, as a replica does, of which Concord would not see \
                 all changes; an administrator grants it with: \
                 GRANT SELECT ON performance_schema.replication_applier_status TO {};",
                rights::grantee(account)
            )),
            Replication::Nothing | Replication::Applied | Replication::Group => None,
        }
    }
}

impl MySql {
    pub(super) async fn read_replication(&mut self) -> Result<Replication> {
        if self.main()?.facts.maria { self.replication_of_mariadb().await } else { self.replication_of_mysql().await }
    }

    async fn replication_of_mariadb(&mut self) -> Result<Replication> {
        // How many logs are applied, of any number of servers; who asks needs no right.
        let running = "SHOW GLOBAL STATUS LIKE 'Slaves_running'";
        let running = self.main()?.fetch(running, Args::new()).await?;
        if running.first().and_then(|row| text(row, 1)).is_some_and(|count| count != "0") {
            return Ok(Replication::Applied);
        }
        match self.main()?.ask("SHOW ALL SLAVES STATUS").await {
            Ok(Some(_)) => Ok(Replication::Stopped),
            Ok(None) => Ok(Replication::Nothing),
            // What stands still is shown to administrators.
            Err(error) if error.kind == ErrorKind::Rights => Ok(Replication::Nothing),
            Err(error) => Err(error),
        }
    }

    async fn replication_of_mysql(&mut self) -> Result<Replication> {
        let channels = "SELECT CHANNEL_NAME, CAST(SERVICE_STATE AS CHAR) \
                        FROM performance_schema.replication_applier_status";
        let rows = match self.main()?.fetch(channels, Args::new()).await {
            Ok(rows) => rows,
            Err(error) if error.kind == ErrorKind::Rights => return Ok(Replication::Untold),
            Err(error) => return Err(error),
        };
        let channels = rows.iter().map(|row| Ok((told(row, 0)?, told(row, 1)? == "ON")));
        let channels: Vec<(String, bool)> = channels.collect::<Result<_>>()?;
        // Only servers that can be of a group have the setting.
        let single = "SHOW GLOBAL VARIABLES LIKE 'group_replication_single_primary_mode'";
        let single = self.main()?.fetch(single, Args::new()).await?;
        let single = single.first().and_then(|row| text(row, 1)).is_none_or(|value| value == "ON");
        Ok(judged(&channels, single))
    }
}

/// From MySQL's channels, by their names and whether their logs are applied. A group has some of its own, also at its only primary.
fn judged(channels: &[(String, bool)], single_primary: bool) -> Replication {
    let is_of_group = |name: &str| name.starts_with("group_replication_");
    let is_applied = |of_group: bool| channels.iter().any(|(name, applied)| *applied && is_of_group(name) == of_group);
    if is_applied(false) {
        Replication::Applied
    } else if is_applied(true) && !single_primary {
        Replication::Group
    } else if channels.iter().any(|(name, _)| !is_of_group(name)) {
        Replication::Stopped
    } else {
        Replication::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_mysql_tell_replicas_from_primaries() {
        let (group, recovery) = ("group_replication_applier", "group_replication_recovery");
        for (channels, single_primary, expected) in [
            (&[("", true)][..], true, Replication::Applied),
            (&[], true, Replication::Nothing),
            (&[("", false), ("office", true)], true, Replication::Applied),
            (&[("", false)], true, Replication::Stopped),
            (&[(group, true), (recovery, false)], true, Replication::Nothing),
            (&[(group, true), (recovery, false)], false, Replication::Group),
            (&[(group, false)], false, Replication::Nothing),
            (&[(group, true), ("office", true)], true, Replication::Applied),
        ] {
            let named: Vec<_> = channels.iter().map(|&(name, applied)| (name.to_owned(), applied)).collect();
            assert_eq!(judged(&named, single_primary), expected, "{channels:?}");
        }
    }

    #[test]
    fn whoever_may_not_look_is_told_the_grant() {
        let told = Replication::Untold.warning("me@%").expect("a warning");
        let grant = "GRANT SELECT ON performance_schema.replication_applier_status TO 'me'@'%';";
        assert!(told.ends_with(grant) && Replication::Untold.refusal().is_none(), "{told}");
        for refused in [Replication::Applied, Replication::Group] {
            let why = refused.refusal().expect("a refusal");
            assert!(why.contains("the url of the server that is written to"), "{why}");
            assert_eq!(refused.warning("me@%"), None);
        }
    }
}
