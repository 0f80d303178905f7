//! The catalogue: what a table is made of, what refers to it, and what the user may not do.

use std::collections::HashMap;

use sqlx::mysql::MySqlRow;

use super::cascades::{self, Action, Edge};
use super::types::NativeType;
use super::wire::{Args, number, raw, text};
use super::{MySql, capture, quote, rights};
use crate::model::{Domain, ForeignKey, OnGone, Unique};
use crate::node::{Catalogue, CatalogueColumn, Error, ErrorKind, Numbered, Result};

/// A column as the catalogue has it.
pub struct ColumnFacts {
    pub column: CatalogueColumn,
    pub charset: Option<String>,
    /// Such as `auto_increment`.
    pub extra: String,
    pub default: Option<String>,
}

/// A trigger as the catalogue has it.
#[derive(Clone, Debug)]
pub struct TriggerFacts {
    pub name: String,
    pub table: String,
    /// Such as `AFTER INSERT`.
    pub event: String,
    /// Empty if it is hidden.
    pub body: String,
    /// Whether MariaDB does not show what it does, since the account lacks TRIGGER on its table.
    pub hidden: bool,
    /// Who created it, and under which settings.
    pub made: String,
    /// When, to hundredths of a second.
    pub since: String,
}

impl TriggerFacts {
    pub fn is_ours(&self) -> bool {
        self.name.starts_with("concord_") && self.body.contains(capture::OURS)
    }

    /// The same, also of one of which nobody can tell because what it does is hidden.
    pub fn may_be_ours(&self) -> bool {
        self.is_ours() || self.hidden && self.name.starts_with("concord_")
    }

    /// Whether it has the name of one that records what references do.
    pub fn is_of_cascade(&self) -> bool {
        self.name.starts_with("concord_cd_") || self.name.starts_with("concord_cu_")
    }
}

/// An index that admits no two rows of the same values.
pub struct IndexFacts {
    pub name: String,
    pub unique: bool,
    /// `None` for an expression.
    pub columns: Vec<Option<String>>,
    /// Whether it is over whole columns, and not of words or places.
    pub whole: bool,
}

const COLUMNS: &str = "SELECT c.COLUMN_NAME, c.DATA_TYPE, c.COLUMN_TYPE, CAST(c.CHARACTER_MAXIMUM_LENGTH AS SIGNED), \
        CAST(c.NUMERIC_PRECISION AS SIGNED), CAST(c.NUMERIC_SCALE AS SIGNED), CAST(c.DATETIME_PRECISION AS SIGNED), \
        c.IS_NULLABLE, c.CHARACTER_SET_NAME, c.COLLATION_NAME, c.EXTRA, c.GENERATION_EXPRESSION, c.COLUMN_DEFAULT \
    FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = ? ORDER BY c.ORDINAL_POSITION";

const INDEXES: &str = "SELECT INDEX_NAME, CAST(NON_UNIQUE AS SIGNED), COLUMN_NAME, CAST(SUB_PART AS SIGNED), \
        INDEX_TYPE IN ('FULLTEXT', 'SPATIAL') FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? \
    ORDER BY INDEX_NAME = 'PRIMARY' DESC, INDEX_NAME, SEQ_IN_INDEX";

const REFERENCES: &str = "SELECT k.CONSTRAINT_NAME, k.TABLE_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA, \
        k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME \
    FROM information_schema.KEY_COLUMN_USAGE k \
    WHERE k.TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME IS NOT NULL \
    ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION";

/// What becomes of rows that refer to others. Asked for by itself: to join the two MariaDB looks into all databases.
const RULES: &str = "SELECT TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE \
    FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE()";

/// Keys of other databases that refer into this one.
const FOREIGN: &str = "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE \
    WHERE REFERENCED_TABLE_SCHEMA = DATABASE() AND TABLE_SCHEMA <> DATABASE() AND REFERENCED_TABLE_NAME = ?";

/// Asked by the table's database, which is the trigger's as well: asked by the trigger's, MariaDB looks into all databases.
const TRIGGERS: &str = "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT, DEFINER, \
        SQL_MODE, CAST(CREATED AS CHAR) FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = DATABASE() ORDER BY TRIGGER_NAME";

/// A text that the catalogue has to tell.
pub fn told(row: &MySqlRow, at: usize) -> Result<String> {
    let untold = || {
        let why = "the server's information_schema tells NULL in place of a name or a text; its account may lack a right, which \
                   `concord check` names";
        Error::new(ErrorKind::Other, why)
    };
    text(row, at).ok_or_else(untold)
}

pub fn one(text: &str) -> Args {
    let mut args = Args::new();
    args.add(text);
    args
}

impl MySql {
    pub(super) async fn read_columns(&mut self, table: &str) -> Result<Vec<ColumnFacts>> {
        let maria = self.main()?.facts.maria;
        let documents = match maria {
            false => Vec::new(),
            true => {
                let checks = "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS \
                              WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME = ?";
                let rows = self.main()?.fetch(checks, one(table)).await?;
                rows.iter().filter_map(|row| text(row, 0)).collect()
            }
        };
        let mut columns = Vec::new();
        for row in self.main()?.fetch(COLUMNS, one(table)).await? {
            let name = told(&row, 0)?;
            let size = |at| number(&row, at).and_then(|size| u32::try_from(size).ok());
            let native = NativeType {
                is_json: documents.contains(&format!("json_valid({})", quote::ident(&name))),
                name: told(&row, 1)?.to_lowercase(),
                full: told(&row, 2)?,
                length: size(3),
                precision: size(4),
                scale: size(5),
                digits: size(6).and_then(|digits| u8::try_from(digits).ok()),
                charset: text(&row, 8),
            };
            let is_float = maria && matches!(native.domain(), Domain::Float { .. });
            let generated = text(&row, 11).is_some_and(|expression| !expression.is_empty());
            columns.push(ColumnFacts {
                column: CatalogueColumn {
                    name,
                    domain: native.domain(),
                    lacks: native.lacks(),
                    // MariaDB stores what is written so as a zero without a sign.
                    alike: is_float.then_some("-0.0 arrives as 0.0"),
                    native: native.full,
                    collation: text(&row, 9),
                    nullable: told(&row, 7)? == "YES",
                    generated,
                },
                charset: native.charset,
                extra: text(&row, 10).unwrap_or_default(),
                default: text(&row, 12),
            });
        }
        Ok(columns)
    }

    pub(super) async fn read_indexes(&mut self, table: &str) -> Result<Vec<IndexFacts>> {
        let mut indexes: Vec<IndexFacts> = Vec::new();
        for row in self.main()?.fetch(INDEXES, one(table)).await? {
            let name = told(&row, 0)?;
            let column = text(&row, 2);
            let whole = column.is_some() && raw(&row, 3).is_none() && number(&row, 4) == Some(0);
            match indexes.last_mut().filter(|index| index.name == name) {
                Some(index) => {
                    index.whole &= whole;
                    index.columns.push(column);
                }
                None => {
                    indexes.push(IndexFacts { name, unique: number(&row, 1) == Some(0), whole, columns: vec![column] })
                }
            }
        }
        Ok(indexes)
    }

    /// All references of the database.
    pub(super) async fn read_edges(&mut self) -> Result<Vec<Edge>> {
        let mut edges: Vec<Edge> = Vec::new();
        let database = self.main()?.facts.database.clone();
        let mut rules = HashMap::new();
        for row in self.main()?.fetch(RULES, Args::new()).await? {
            let actions = (Action::parse(&told(&row, 2)?), Action::parse(&told(&row, 3)?));
            rules.insert((told(&row, 0)?, told(&row, 1)?), actions);
        }
        if rules.is_empty() {
            return Ok(edges);
        }
        for row in self.main()?.fetch(REFERENCES, Args::new()).await? {
            let (name, child) = (told(&row, 0)?, told(&row, 1)?);
            let Some(&(on_delete, on_update)) = rules.get(&(child.clone(), name.clone())) else { continue };
            let (own, other) = (told(&row, 2)?, told(&row, 5)?);
            let schema = told(&row, 3)?;
            let mut parent = told(&row, 4)?;
            if schema != database {
                parent = format!("{schema}.{parent}");
            }
            match edges.last_mut().filter(|edge| edge.name == name && edge.child == child) {
                Some(edge) => {
                    edge.columns.push(own);
                    edge.referenced.push(other);
                }
                None => edges.push(Edge {
                    name,
                    child,
                    columns: vec![own],
                    parent,
                    referenced: vec![other],
                    on_delete,
                    on_update,
                }),
            }
        }
        Ok(edges)
    }

    /// All triggers of the database. Fails if what one does is hidden that may be Concord's.
    pub(super) async fn read_triggers(&mut self) -> Result<Vec<TriggerFacts>> {
        let triggers = self.read_triggers_as_shown().await?;
        let Some(hidden) = triggers.iter().find(|trigger| trigger.hidden && trigger.may_be_ours()) else {
            return Ok(triggers);
        };
        let facts = &self.main()?.facts;
        let on = format!("{}.{}", quote::ident(&facts.database), quote::ident(&hidden.table));
        let why = format!(
            "may not see what the trigger {} of {} does, nor run it when users write; an administrator grants it with: \
             GRANT TRIGGER ON {on} TO {};",
            hidden.name,
            hidden.table,
            rights::grantee(&facts.account)
        );
        Err(Error::new(ErrorKind::Rights, why))
    }

    /// The same, whether or not it is shown what they do.
    pub(super) async fn read_triggers_as_shown(&mut self) -> Result<Vec<TriggerFacts>> {
        let rows = self.main()?.fetch(TRIGGERS, Args::new()).await?;
        let read = rows.iter().map(|row| {
            Ok(TriggerFacts {
                name: told(row, 0)?,
                table: told(row, 1)?,
                event: format!("{} {}", told(row, 2)?, told(row, 3)?),
                hidden: raw(row, 4).is_none(),
                body: text(row, 4).unwrap_or_default(),
                made: format!("{} {}", text(row, 5).unwrap_or_default(), text(row, 6).unwrap_or_default()),
                since: text(row, 7).unwrap_or_default(),
            })
        });
        read.collect()
    }

    pub(super) async fn read_partitions(&mut self, table: &str) -> Result<Vec<String>> {
        let rows = self
            .main()?
            .fetch(
                "SELECT CONCAT_WS(' ', PARTITION_NAME, SUBPARTITION_NAME) FROM information_schema.PARTITIONS \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND PARTITION_NAME IS NOT NULL \
                 ORDER BY PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION",
                one(table),
            )
            .await?;
        rows.iter().map(|row| told(row, 0)).collect()
    }

    pub(super) async fn read_catalogue(&mut self, table: &str) -> Result<Option<Catalogue>> {
        let found = self
            .main()?
            .fetch(
                "SELECT TABLE_NAME, TABLE_TYPE, COALESCE(ENGINE, '') FROM information_schema.TABLES \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?",
                one(table),
            )
            .await?;
        let Some(row) = found.first() else { return Ok(None) };
        let (name, kind, engine) = (told(row, 0)?, told(row, 1)?, told(row, 2)?);
        let mut refusals = refusals(&name, &kind, &engine);
        let columns = self.read_columns(&name).await?;
        let mut key = Vec::new();
        let mut uniques = Vec::new();
        for index in self.read_indexes(&name).await?.into_iter().filter(|index| index.unique) {
            let names: Option<Vec<String>> = index.columns.iter().cloned().collect();
            let names = names.filter(|_| index.whole);
            let nullable =
                |name: &String| columns.iter().any(|facts| facts.column.name == *name && facts.column.nullable);
            match names {
                Some(names) if key.is_empty() && !names.iter().any(nullable) => key = names,
                names => uniques.push(Unique { name: index.name, columns: names.unwrap_or_default() }),
            }
        }
        if key.is_empty() && kind == "BASE TABLE" {
            refusals.push(format!(
                "{name} has no key by which its rows can be told apart; add one: ALTER TABLE {} ADD PRIMARY KEY (...)",
                quote::ident(&name)
            ));
        }
        for ColumnFacts { column, .. } in &columns {
            if column.generated && key.contains(&column.name) {
                refusals.push(format!(
                    "{name}: key column {} is computed by the database and cannot be written; give the table another key",
                    column.name
                ));
            }
        }
        let numbered = columns.iter().filter(|facts| facts.extra.contains("auto_increment"));
        let mut numbered: Vec<Numbered> = numbered
            .filter(|facts| key.contains(&facts.column.name))
            .map(|facts| Numbered {
                column: facts.column.name.clone(),
                by: format!("AUTO_INCREMENT of {name}"),
                from_the_greatest: false,
                obstacle: None,
                server: None,
            })
            .collect();
        if !numbered.is_empty() {
            let server = self.read_server_steps().await?;
            numbered.iter_mut().for_each(|numbered| numbered.server = Some(server.clone()));
        }
        let edges = self.read_edges().await?;
        for foreign in self.main()?.fetch(FOREIGN, one(&name)).await? {
            refusals.push(format!(
                "{name} is referred to by {}.{} of another database, which Concord does not see; drop that reference",
                told(&foreign, 0)?,
                told(&foreign, 1)?
            ));
        }
        if let Some(edge) = edges.iter().find(|edge| edge.child == name && edge.acts() && edge.parent.contains('.')) {
            refusals.push(format!(
                "{name} refers to {} of another database by {}, which changes rows without a trace; make it ON DELETE \
                 RESTRICT ON UPDATE RESTRICT",
                edge.parent, edge.name
            ));
        }
        refusals.extend(cascades::refusal(&edges, &name));
        // Which rights are missing is told once the tables are known.
        let user_triggers = self.read_triggers_as_shown().await?;
        let user_triggers = user_triggers.into_iter().filter(|trigger| trigger.table == name && !trigger.may_be_ours());
        let user_triggers = user_triggers.map(|trigger| trigger.name).collect();
        let partitions = self.read_partitions(&name).await?;
        Ok(Some(Catalogue {
            schema: None,
            columns: columns.into_iter().map(|facts| facts.column).collect(),
            key,
            uniques,
            references: edges.iter().filter(|edge| edge.child == name).map(reference).collect(),
            referenced: edges.iter().filter(|edge| edge.parent == name).map(reference).collect(),
            user_triggers,
            partitioned: !partitions.is_empty(),
            partitions,
            refusals,
            written_refusals: Vec::new(),
            numbered,
            name,
        }))
    }
}

fn refusals(name: &str, kind: &str, engine: &str) -> Vec<String> {
    let mut refusals = Vec::new();
    let lower = name.to_lowercase();
    if lower.starts_with("concord_") || lower.starts_with("history_store_") {
        refusals.push(format!("{name} belongs to Concord; take it out of the configuration"));
    }
    match kind {
        "BASE TABLE" if !engine.eq_ignore_ascii_case("InnoDB") => refusals.push(format!(
            "{name} is kept by {engine}, which knows no transactions, so a change and its entry may be parted; run ALTER TABLE \
             {} ENGINE = InnoDB",
            quote::ident(name)
        )),
        "BASE TABLE" => {}
        "VIEW" | "SYSTEM VIEW" => refusals.push(format!("{name} is a view; sync the tables it is made of")),
        "SYSTEM VERSIONED" => refusals.push(format!(
            "{name} keeps its own former rows (WITH SYSTEM VERSIONING), which Concord cannot carry; run ALTER TABLE {} DROP \
             SYSTEM VERSIONING",
            quote::ident(name)
        )),
        other => refusals
            .push(format!("{name} is a {} and no table; take it out of the configuration", other.to_lowercase())),
    }
    refusals
}

fn reference(edge: &Edge) -> ForeignKey {
    ForeignKey {
        name: edge.name.clone(),
        schema: None,
        table: edge.child.clone(),
        columns: edge.columns.clone(),
        referenced_schema: None,
        referenced_table: edge.parent.clone(),
        referenced_columns: edge.referenced.clone(),
        on_delete: match edge.on_delete {
            Action::Refuse => OnGone::Refuse,
            Action::Cascade => OnGone::Cascade,
            Action::Null => OnGone::Detach,
        },
        follows: edge.on_update != Action::Refuse,
    }
}
