//! What the account may not do and needs to.

use std::collections::{BTreeSet, HashSet};

use super::cascades::{self, Edge};
use super::schema::{one, told};
use super::wire::{Args, number, text};
use super::{MySql, quote, service, sql};
use crate::model::{Domain, OnGone, TableSpec};
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

/// Rights of which any, to a whole database, shows what its tables are made of and refer to.
const TO_TABLES: [&str; 13] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "REFERENCES",
    "INDEX",
    "ALTER",
    "CREATE VIEW",
    "SHOW VIEW",
    "DELETE HISTORY",
    "TRIGGER",
];

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

    /// The tables from which references bring changes to this one get triggers as well, which read the rows that refer to theirs.
    fn of_sources(edges: &[Edge], table: &TableSpec) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for source in cascades::recording(edges, table).into_iter().filter(|source| is_here(source)) {
            for (right, what) in [("SELECT", "read"), ("TRIGGER", "create triggers on")] {
                let what = format!("{what} {source}, from which references change rows of {}", table.local);
                wanted.push(Wanted { table: source.clone(), right, what });
            }
        }
        wanted
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
        let edges = self.read_edges().await?;
        for table in tables.iter().filter(|table| table.captured) {
            wanted.extend(Wanted::of_sources(&edges, table));
        }
        let service = service_names(tables);
        let mut missing = match self.has_role().await? {
            false => self.missing_of(&service, &ON_SERVICE, wanted).await?,
            true if self.main()?.facts.maria => self.missing_in_triggers(&service, tables, &edges).await?,
            true => Vec::new(),
        };
        for table in tables.iter().filter(|table| table.captured) {
            for change in from_elsewhere(&edges, table, &self.main()?.facts.database) {
                if missing.iter().all(|known| known.grant != change.grant) {
                    missing.push(change);
                }
            }
        }
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
    async fn missing_in_triggers(
        &mut self,
        service: &[String],
        tables: &[TableSpec],
        edges: &[Edge],
    ) -> Result<Vec<MissingRight>> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for table in tables.iter().filter(|table| table.captured) {
            names.insert(table.local.clone());
            names.extend(cascades::recording(edges, table).into_iter().filter(|source| is_here(source)));
        }
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let on_table = |table: &String| {
            [("SELECT", "read"), ("TRIGGER", "create triggers on")].map(|(right, what)| Wanted::on(table, right, what))
        };
        let wanted = names.iter().flat_map(on_table).collect();
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
        let mut missing = match self.has_role().await? {
            false => self.missing_of(&service, &on_service, wanted).await?,
            true if self.main()?.facts.maria => {
                let edges = self.read_edges().await?;
                self.missing_in_triggers(&service, &captured, &edges).await?
            }
            true => Vec::new(),
        };
        missing.extend(self.missing_to_see(tables).await?);
        Ok(missing)
    }

    /// What is missing to see what refers to tables that are not recorded here, and what they are made of: one right shows all of it.
    async fn missing_to_see(&mut self, tables: &[(&TableSpec, Writes)]) -> Result<Option<MissingRight>> {
        for (table, writes) in tables.iter().filter(|(table, _)| !table.captured) {
            if writes.delete
                && let Some(missing) = self.missing_to_see_referring(table).await?
            {
                return Ok(Some(missing));
            }
            if self.may_take_json_for_text(table).await? {
                return Ok(Some(self.right_to_see(format!("see whether texts of {} are json", table.local))?));
            }
        }
        Ok(None)
    }

    /// What is missing to see every reference to a table, where nothing is installed: without it nobody knows what a delete would take
    /// along.
    pub(super) async fn hidden_from_who_compares(&mut self, table: &TableSpec) -> Result<Option<MissingRight>> {
        match self.as_user {
            true => self.missing_to_see_referring(table).await,
            false => Ok(None),
        }
    }

    async fn missing_to_see_referring(&mut self, table: &TableSpec) -> Result<Option<MissingRight>> {
        let maria = self.main()?.facts.maria;
        let is_hidden = match maria {
            // It shows no key to whoever has rights on tables alone, or may read all of them and nothing else; so not this table's own either.
            true => {
                let own = "SELECT 1 FROM information_schema.TABLE_CONSTRAINTS \
                           WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? LIMIT 1";
                self.main()?.fetch(own, one(&table.local)).await?.is_empty()
            }
            // Of tables on which the account has no right it shows nothing. What a role may do is not listed.
            false => !self.has_role().await? && !self.sees_all_tables().await?,
        };
        match is_hidden {
            true => Ok(Some(self.right_to_see(format!("see which tables refer to {}", table.local))?)),
            false => Ok(None),
        }
    }

    /// Whether a column is of the type as which MariaDB keeps json, and the account does not see the check that tells the two apart.
    async fn may_take_json_for_text(&mut self, table: &TableSpec) -> Result<bool> {
        let may_be_json = table.columns.iter().any(|column| {
            matches!(column.domain, Domain::Text { .. })
                && column.native == "longtext"
                && column.collation.as_deref() == Some("utf8mb4_bin")
        });
        if !may_be_json || !self.main()?.facts.maria || self.has_role().await? {
            return Ok(false);
        }
        Ok(!self.sees_all_tables().await?)
    }

    /// Whether the account itself has a right to all tables of the database.
    async fn sees_all_tables(&mut self) -> Result<bool> {
        let mut held = self.privileges("USER_PRIVILEGES", None).await?;
        held.extend(self.privileges("SCHEMA_PRIVILEGES", None).await?);
        Ok(held.iter().any(|right| TO_TABLES.contains(&right.as_str())))
    }

    /// The right that lets nobody read or write anything.
    fn right_to_see(&mut self, what: String) -> Result<MissingRight> {
        let facts = &self.main()?.facts;
        let grant = format!("GRANT REFERENCES ON {}.* TO {};", quote::ident(&facts.database), grantee(&facts.account));
        Ok(MissingRight { what, grant })
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
            if missing.iter().all(|known| known.grant != grant) {
                missing.push(MissingRight { what, grant });
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

/// Whether a parent, as [`Edge`] names it, is of this database.
fn is_here(table: &str) -> bool {
    !table.contains('.')
}

/// References that bring changes to a captured table from tables of another database, where nothing can record them, each with the
/// statement that ends that.
fn from_elsewhere(edges: &[Edge], table: &TableSpec, database: &str) -> Vec<MissingRight> {
    let sources = cascades::recording(edges, table);
    let reaches = |child: &str| child == table.local || sources.contains(child);
    let leads = |edge: &&Edge| edge.acts() && sources.contains(&edge.parent) && reaches(&edge.child);
    let mut changes = Vec::new();
    for edge in edges.iter().filter(leads) {
        let Some((schema, parent)) = edge.parent.split_once('.') else { continue };
        let names = |columns: &[String]| quote::idents(columns.iter().map(String::as_str));
        let child = format!("{}.{}", quote::ident(database), quote::ident(&edge.child));
        changes.push(MissingRight {
            what: format!(
                "record what references bring to {} from {}, of another database, where it leaves no trace (by the statement \
                 rows there that are referred to can no longer be deleted, nor change their keys)",
                table.local, edge.parent
            ),
            grant: format!(
                "ALTER TABLE {child} ADD FOREIGN KEY ({}) REFERENCES {}.{} ({}) ON DELETE RESTRICT ON UPDATE RESTRICT; \
                 ALTER TABLE {child} DROP FOREIGN KEY {};",
                names(&edge.columns),
                quote::ident(schema),
                quote::ident(parent),
                names(&edge.referenced),
                quote::ident(&edge.name),
            ),
        });
    }
    changes
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
    use super::super::cascades::Action;
    use super::*;

    #[test]
    fn an_account_is_named_as_where_it_is_listed() {
        let odd = r"o'x\y@z@%";
        assert_eq!([listed("app@localhost"), listed(odd)], ["'app'@'localhost'", r"'o'x\y@z'@'%'"]);
        assert_eq!(grantee(odd), r"'o''x\\y@z'@'%'");
    }

    #[test]
    fn tables_that_nobody_syncs_get_triggers_for_what_references_do() {
        let edge = |child: &str, parent: &str, on_delete| Edge {
            name: format!("{child}_{parent}"),
            child: child.to_owned(),
            columns: vec!["p".to_owned()],
            parent: parent.to_owned(),
            referenced: vec!["id".to_owned()],
            on_delete,
            on_update: Action::Refuse,
        };
        let mut edges = vec![
            edge("c", "b", Action::Cascade),
            edge("b", "a", Action::Cascade),
            edge("c", "kept", Action::Refuse),
            edge("another", "elsewhere.p", Action::Cascade),
            // Neither of these changes what others refer to.
            edge("a", "elsewhere.regions", Action::Null),
            edge("a", "regions", Action::Null),
        ];
        let spec = TableSpec::bare(0, "c", std::iter::empty());
        let wanted = |edges: &[Edge]| -> Vec<(String, &'static str)> {
            Wanted::of_sources(edges, &spec).into_iter().map(|wanted| (wanted.table, wanted.right)).collect()
        };
        let there = ["a", "b"].map(|table| ["SELECT", "TRIGGER"].map(|right| (table.to_owned(), right)));
        assert_eq!(wanted(&edges), there.concat());
        let changes = from_elsewhere(&edges, &spec, "shop");
        assert!(changes.is_empty(), "{changes:?}");
        // By one that is between.
        edges.push(edge("a", "elsewhere.p", Action::Cascade));
        assert_eq!(wanted(&edges), there.concat());
        let changes = from_elsewhere(&edges, &spec, "shop");
        let [change] = &changes[..] else { panic!("{changes:?}") };
        assert!(change.what.contains("to c from elsewhere.p, of another database"), "{}", change.what);
        let grant = "ALTER TABLE `shop`.`a` ADD FOREIGN KEY (`p`) REFERENCES `elsewhere`.`p` (`id`) ON DELETE RESTRICT \
                     ON UPDATE RESTRICT; ALTER TABLE `shop`.`a` DROP FOREIGN KEY `a_elsewhere.p`;";
        assert_eq!(change.grant, grant);
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
