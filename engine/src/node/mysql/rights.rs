//! What the account may not do and needs to.

use std::collections::{BTreeSet, HashSet};

use super::schema::told;
use super::wire::{Args, number, text};
use super::{MySql, cascades, quote, service, sql};
use crate::model::{OnGone, TableSpec};
use crate::node::{MissingRight, Result, Writes};

/// What is done to service tables, and the right that it takes.
const ON_SERVICE: [(&str, &str); 8] = [
    ("CREATE", "create"),
    ("DROP", "drop"),
    ("ALTER", "alter"),
    ("INDEX", "index"),
    ("SELECT", "read"),
    ("INSERT", "insert into"),
    ("UPDATE", "update"),
    ("DELETE", "delete from"),
];

/// Those of them that only `install` needs.
const TO_INSTALL: [&str; 4] = ["CREATE", "DROP", "ALTER", "INDEX"];

/// What a role does not do, as it ends the name of a right.
const BY_ITSELF: &str = " by itself, since MariaDB's triggers have no right that comes by a role";

/// A right that is needed on a table, and what it is for.
struct Wanted {
    table: String,
    right: &'static str,
    what: String,
}

impl Wanted {
    fn on(table: &str, right: &'static str, what: &str) -> Wanted {
        Wanted { table: table.to_owned(), right, what: format!("{what} {table}") }
    }

    /// Before a row goes, Concord looks whether rows of these tables would go with it.
    fn of_referring(table: &TableSpec) -> impl Iterator<Item = Wanted> {
        let referring = table.referenced.iter().filter(|key| key.on_delete != OnGone::Refuse);
        referring.map(|key| Wanted {
            table: key.table.clone(),
            right: "SELECT",
            what: format!("read {}, whose rows refer to {}", key.table, table.local),
        })
    }
}

impl MySql {
    pub(super) async fn read_missing_rights(&mut self, tables: &[TableSpec]) -> Result<Vec<MissingRight>> {
        let mut wanted = Vec::new();
        for table in tables {
            for (right, what) in [
                ("SELECT", "read"),
                ("INSERT", "insert into"),
                ("UPDATE", "update"),
                ("DELETE", "delete from"),
                ("TRIGGER", "create triggers on"),
            ] {
                if right != "TRIGGER" || table.captured {
                    wanted.push(Wanted::on(&table.local, right, what));
                }
            }
            wanted.extend(Wanted::of_referring(table));
        }
        let service = service_names(tables);
        let mut missing = match self.has_role().await? {
            false => self.missing_of(&service, &ON_SERVICE, wanted).await?,
            true if self.main()?.facts.maria => self.missing_in_triggers(&service, tables).await?,
            true => Vec::new(),
        };
        if !self.has_role().await? && self.is_kept_from_triggers(tables).await? {
            missing.push(MissingRight {
                what: "create triggers, because the server writes a binary log and lets nobody do so who is no administrator \
                       (put the setting into the file that the server starts with as well)"
                    .to_owned(),
                grant: "SET GLOBAL log_bin_trust_function_creators = 1;".to_owned(),
            });
        }
        Ok(missing)
    }

    /// Which of the rights that triggers need come by a role only: whatever a definer's role may do, on MariaDB they may not.
    async fn missing_in_triggers(&mut self, service: &[String], tables: &[TableSpec]) -> Result<Vec<MissingRight>> {
        let edges = self.read_edges().await?;
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for table in tables.iter().filter(|table| table.captured) {
            names.insert(&table.local);
            names.extend(cascades::sources(&edges, &table.local));
        }
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let on_table =
            |table| [("SELECT", "read"), ("TRIGGER", "create triggers on")].map(|(right, what)| (table, right, what));
        let wanted = names.into_iter().flat_map(on_table);
        let wanted = wanted.map(|(table, right, what)| Wanted::on(table, right, what)).collect();
        let on_service: Vec<_> = ON_SERVICE.into_iter().filter(|(right, _)| *right == "INSERT").collect();
        let mut missing = self.missing_of(service, &on_service, wanted).await?;
        missing.iter_mut().for_each(|right| right.what += BY_ITSELF);
        Ok(missing)
    }

    /// Whether triggers are to be created and the binary log is in the way.
    async fn is_kept_from_triggers(&mut self, tables: &[TableSpec]) -> Result<bool> {
        let triggers = self.read_triggers_as_shown().await?;
        let has_own =
            |table: &TableSpec| triggers.iter().any(|trigger| trigger.table == table.local && trigger.may_be_ours());
        if tables.iter().all(|table| !table.captured || has_own(table)) {
            return Ok(false);
        }
        let settings = "SELECT CAST(@@global.log_bin AND NOT @@global.log_bin_trust_function_creators AS SIGNED)";
        let rows = self.main()?.fetch(settings, Args::new()).await?;
        let asks = rows.first().and_then(|row| number(row, 0)) == Some(1);
        let mut held = self.privileges("USER_PRIVILEGES", None).await?.into_iter();
        Ok(asks && !held.any(|right| right == "SUPER" || right == "BINLOG ADMIN"))
    }

    /// Rights that come by a role are not listed: whoever has one is asked to try.
    async fn has_role(&mut self) -> Result<bool> {
        let roles = self.main()?.fetch("SELECT CURRENT_ROLE()", Args::new()).await?;
        Ok(roles.first().and_then(|row| text(row, 0)).is_some_and(|role| !role.is_empty() && role != "NONE"))
    }

    pub(super) async fn read_missing_rights_to_compare(
        &mut self,
        tables: &[(&TableSpec, Writes)],
    ) -> Result<Vec<MissingRight>> {
        let mut wanted = Vec::new();
        for &(table, Writes { insert, update, delete }) in tables {
            wanted.push(Wanted::on(&table.local, "SELECT", "read"));
            for (needed, right, what) in
                [(insert, "INSERT", "insert into"), (update, "UPDATE", "update"), (delete, "DELETE", "delete from")]
            {
                wanted.extend(needed.then(|| Wanted::on(&table.local, right, what)));
            }
            wanted.extend(Wanted::of_referring(table).filter(|_| delete));
            wanted.extend(table.captured.then(|| Wanted::on(&table.local, "TRIGGER", "run triggers on")));
        }
        // Whatever users write is entered into a history, by triggers that have the rights of this account.
        let captured: Vec<TableSpec> =
            tables.iter().filter(|(table, _)| table.captured).map(|(table, _)| (*table).clone()).collect();
        let service = if captured.is_empty() { Vec::new() } else { service_names(&captured) };
        let on_service: Vec<_> =
            ON_SERVICE.into_iter().filter(|(right, _)| !service.is_empty() && !TO_INSTALL.contains(right)).collect();
        match self.has_role().await? {
            false => self.missing_of(&service, &on_service, wanted).await,
            true if self.main()?.facts.maria => self.missing_in_triggers(&service, &captured).await,
            true => Ok(Vec::new()),
        }
    }

    /// Those of the rights that the account itself has not: to all of the service tables, of which some may be still to be made, and
    /// to tables of users.
    async fn missing_of(
        &mut self,
        service: &[String],
        on_service: &[(&'static str, &str)],
        wanted: Vec<Wanted>,
    ) -> Result<Vec<MissingRight>> {
        let (database, account, maria) = {
            let facts = &self.main()?.facts;
            (facts.database.clone(), facts.account.clone(), facts.maria)
        };
        let to = grantee(&account);
        let everywhere = self.privileges("USER_PRIVILEGES", None).await?;
        let here = self.privileges("SCHEMA_PRIVILEGES", None).await?;
        let has = |right: &str| everywhere.iter().chain(&here).any(|held| held == right);
        let mut missing = Vec::new();
        let mut lacking = HashSet::new();
        for &(right, what) in on_service.iter().filter(|(right, _)| !has(right)) {
            for table in service {
                if !self.privileges("TABLE_PRIVILEGES", Some(table)).await?.iter().any(|held| held == right) {
                    lacking.insert(right);
                    missing.push(MissingRight {
                        what: format!("{what} service tables in {database}"),
                        grant: format!("GRANT {right} ON {}.* TO {to};", quote::ident(&database)),
                    });
                    break;
                }
            }
        }
        if on_service.iter().any(|(right, _)| TO_INSTALL.contains(right)) {
            missing.extend(lacking_locks(maria, has, &database, &to));
        }
        for Wanted { table, right, what } in wanted {
            // What is granted on all tables is so on this one.
            if has(right) || lacking.contains(right) {
                continue;
            }
            if self.privileges("TABLE_PRIVILEGES", Some(&table)).await?.iter().any(|held| held == right) {
                continue;
            }
            let grant = format!("GRANT {right} ON {}.{} TO {to};", quote::ident(&database), quote::ident(&table));
            let right = MissingRight { what, grant };
            if !missing.contains(&right) {
                missing.push(right);
            }
        }
        Ok(missing)
    }

    async fn privileges(&mut self, view: &str, table: Option<&str>) -> Result<Vec<String>> {
        let listed = listed(&self.main()?.facts.account);
        let mut args = Args::new();
        args.add(&*listed);
        let place = match (view, table) {
            ("SCHEMA_PRIVILEGES", _) => " AND DATABASE() LIKE TABLE_SCHEMA",
            (_, Some(table)) => {
                args.add(table);
                " AND TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?"
            }
            _ => "",
        };
        // Whoever may read the server's own tables, also by a role, sees the rights of everybody. Names differ in the case of letters alone.
        let statement = format!(
            "SELECT PRIVILEGE_TYPE FROM information_schema.{view} \
             WHERE CAST(GRANTEE AS BINARY) = CAST(? AS BINARY){place}"
        );
        let rows = self.main()?.fetch(&statement, args).await?;
        rows.iter().map(|row| told(row, 0)).collect()
    }
}

/// The service tables that are there once these tables are installed.
fn service_names(tables: &[TableSpec]) -> Vec<String> {
    let histories = tables.iter().filter(|table| table.captured).map(|table| sql::history_name(&table.name));
    service::TABLES.iter().map(|(name, _)| (*name).to_owned()).chain(histories).collect()
}

/// Where no trigger can be replaced at a stroke, its table is locked meanwhile: a right to all tables of a database or to none.
fn lacking_locks(maria: bool, has: impl Fn(&str) -> bool, database: &str, to: &str) -> Option<MissingRight> {
    const RIGHT: &str = "LOCK TABLES";
    (!maria && !has(RIGHT)).then(|| MissingRight {
        what: format!("lock tables in {database} while a trigger is replaced"),
        grant: format!("GRANT {RIGHT} ON {}.* TO {to};", quote::ident(database)),
    })
}

/// The account as a GRANT names it.
pub(super) fn grantee(account: &str) -> String {
    let (user, host) = account.rsplit_once('@').unwrap_or((account, "%"));
    format!("{}@{}", quoted(user), quoted(host))
}

/// The account as the server's views name it: whatever is in its names stands there as it is.
fn listed(account: &str) -> String {
    let (user, host) = account.rsplit_once('@').unwrap_or((account, "%"));
    format!("'{user}'@'{host}'")
}

fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_as_where_it_is_listed() {
        let odd = r"o'x\y@z@%";
        assert_eq!([listed("app@localhost"), listed(odd)], ["'app'@'localhost'", r"'o'x\y@z'@'%'"]);
        assert_eq!(grantee(odd), r"'o''x\\y@z'@'%'");
    }

    #[test]
    fn replacing_a_trigger_takes_a_right_on_mysql() {
        let lacking = |maria, held: &[&str]| lacking_locks(maria, |right| held.contains(&right), "shop", "'me'@'%'");
        assert_eq!(lacking(true, &["TRIGGER"]), None);
        assert_eq!(lacking(false, &["TRIGGER", "LOCK TABLES"]), None);
        let right = lacking(false, &["TRIGGER"]).expect("it is missing");
        assert_eq!(right.grant, "GRANT LOCK TABLES ON `shop`.* TO 'me'@'%';");
        assert!(right.what.contains("while a trigger is replaced"), "{}", right.what);
    }
}
