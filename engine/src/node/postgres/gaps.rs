//! What Concord's triggers do not see because the tables belong to somebody else.

use super::schema::get;
use super::wire::Args;
use super::{HISTORY, Postgres, capture, quote, sql};
use crate::model::TableSpec;
use crate::node::Result;

/// A table or partition of another role, which alone can let its triggers fire in replication sessions.
struct Foreign {
    /// The place of its table among those that were asked about.
    table: usize,
    name: String,
    owner: String,
    /// Whether the owner is a superuser, of whom Concord's role is to be no member: it could do whatever that may.
    is_super: bool,
}

impl Postgres {
    /// See [`crate::node::Node::gaps`].
    pub(super) async fn find_gaps(&mut self, tables: &[TableSpec]) -> Result<Vec<String>> {
        let forms = self.forms(tables).await?;
        let role = quote::ident(&self.role);
        let foreign = self.find_foreign(tables).await?;
        let line = |Foreign { table, name, owner, is_super }: &Foreign| {
            let always = capture::always(&tables[*table], forms[*table]).into_iter();
            let statement = always.filter(|(of, _)| of == name).map(|(_, statement)| statement).collect::<String>();
            let told = format!(
                "changes of {name} by sessions with session_replication_role = replica are not recorded, because it belongs to {owner}"
            );
            match is_super {
                true => {
                    format!(
                        "{told}; they are once this superuser has run this after `concord install`:\n  {statement};\n\
                         or once the table belongs to an ordinary role that {role} is a member of (ALTER TABLE … OWNER TO), and `concord \
                         install` was run after"
                    )
                }
                false => format!(
                    "{told}; they are once Concord's role is a member of its owner, and `concord install` was run after:\n  \
                     GRANT {owner} TO {role};\n\
                     or once its owner has run this after `concord install`:\n  {statement};"
                ),
            }
        };
        Ok(foreign.iter().map(line).collect())
    }

    async fn find_foreign(&mut self, tables: &[TableSpec]) -> Result<Vec<Foreign>> {
        let mut names: Vec<(usize, String)> = Vec::new();
        for (at, spec) in tables.iter().enumerate().filter(|(_, spec)| spec.captured) {
            names.push((at, sql::table(spec)));
            names.extend(spec.partitions.iter().map(|leaf| (at, leaf.clone())));
        }
        let mut args = Args::new();
        args.add(names.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>()).add(HISTORY);
        let rows = self
            .fetch(
                "SELECT t.n, pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text, \
                    EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = c.relowner AND r.rolsuper) \
                 FROM unnest($1::pg_catalog.text[]) WITH ORDINALITY AS t (name, n) \
                 JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(t.name) \
                 WHERE NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') AND (SELECT pg_catalog.bool_and(g.tgenabled = 'A') \
                    FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid \
                    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace AND n.nspname = $2 \
                    WHERE g.tgrelid = c.oid) IS NOT TRUE ORDER BY t.n",
                args,
            )
            .await?;
        let foreign = |row| {
            let at: i64 = get(row, 0)?;
            let (table, name) = names[at as usize - 1].clone();
            Ok(Foreign { table, name, owner: quote::ident(&get::<String>(row, 1)?), is_super: get(row, 2)? })
        };
        rows.iter().map(foreign).collect()
    }
}
