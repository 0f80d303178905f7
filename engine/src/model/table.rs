//! A synced table as one node has it.

use super::domain::{Domain, Type};
use super::keys::{KeyRule, local_key, shared_key};
use super::value::{Key, Row, Value};

/// One synced table at one node: its local names, and the shape in which its rows are read and written there.
///
/// Rows at this node are lists of values in the order of `columns`. Columns stand in the order of the shared row;
/// those that do not live at this node are left out. Where a mapping makes the shared row, they are all columns of the table.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// The table's place in the configuration file, alike at all nodes.
    pub index: usize,
    /// The shared name; also names the history table.
    pub name: String,
    /// The local schema (PostgreSQL) the table was found in; `None` where databases have no schemas.
    pub schema: Option<String>,
    /// The local table name as the catalogue spells it.
    pub local: String,
    pub columns: Vec<Column>,
    /// The names and types of all columns of the shared row, also of those that do not live here.
    pub layout: Vec<(String, Type)>,
    /// Positions in `columns` of the key, in the key's shared order, which is alike at all nodes.
    pub key: Vec<usize>,
    /// By what rules the values of these columns are other ones among the nodes; empty if they are the same.
    pub keys: Vec<Option<KeyRule>>,
    /// Unique constraints and indexes besides the key.
    pub uniques: Vec<Unique>,
    /// References from this table, whether or not the other table is synced.
    pub references: Vec<ForeignKey>,
    /// References to this table, whether or not the other table is synced.
    pub referenced: Vec<ForeignKey>,
    /// Names of triggers that are not Concord's.
    pub user_triggers: Vec<String>,
    /// Whether the table's triggers have to be of the kind that partitions inherit; names of its partitions.
    pub partitions: Vec<String>,
    pub partitioned: bool,
    /// Whether the rows have columns here that nobody else gives values to, so that they are left out of what is written. One of
    /// them may take no row without a value: then rows that stand can be updated, and nothing else.
    pub keeps_own: bool,
    /// Whether every row that stands anywhere is to stand here as well, as nobody has a filter and all operations are carried: one that
    /// is not here was deleted, or has vanished.
    pub takes_all: bool,
    /// Whether users' changes at this node are carried elsewhere, so that triggers have to record them.
    pub captured: bool,
    /// Whether rows are written here at all, as they are not where a table that goes one way comes from.
    pub written: bool,
    /// Whether rows are deleted here, if any are written: by changes that arrive, or because a filter keeps them away.
    pub deletes: bool,
    /// Positions in `columns` whose values before and after each change are recorded as well, because the table's
    /// conflict policy asks for them.
    pub images: Vec<usize>,
    /// The shared shape (column names, types, key) as a text that `install` keeps beside the table and
    /// [`Service`](crate::node::Service) gives back, so that it stays the same while nodes are away.
    pub shape: String,
}

/// One column of a [`TableSpec`].
#[derive(Clone, Debug)]
pub struct Column {
    /// The local name as the catalogue spells it.
    pub name: String,
    /// Its place in the shared row, if it stands there as it is: none where a mapping makes something of it.
    pub shared: Option<usize>,
    /// The type in the database's own words.
    pub native: String,
    /// By what it compares texts, in those words too, where the database's SQL has to say so.
    pub collation: Option<String>,
    pub domain: Domain,
    /// The type in which its values travel.
    pub ty: Type,
    pub nullable: bool,
}

#[cfg(test)]
impl Column {
    /// A column of any database that takes all values of a type, and NULL.
    pub fn bare(shared: usize, name: &str, ty: Type) -> Column {
        Column {
            name: name.to_owned(),
            shared: Some(shared),
            native: String::new(),
            collation: None,
            domain: Domain::of(&ty),
            ty,
            nullable: true,
        }
    }
}

/// A unique constraint or index that is not the key, or an exclusion constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    pub name: String,
    /// The local columns, if two rows collide just when all of them are equal by the columns' own `=`; else none, as for
    /// an index over expressions or over part of the rows.
    pub columns: Vec<String>,
}

/// A reference from `columns` of one table to `referenced_columns` of another, in local names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    pub name: String,
    pub schema: Option<String>,
    pub table: String,
    pub columns: Vec<String>,
    pub referenced_schema: Option<String>,
    pub referenced_table: String,
    pub referenced_columns: Vec<String>,
    pub on_delete: OnGone,
    /// Whether the referring columns change with the referenced ones, to the same values, NULL or their default.
    pub follows: bool,
}

/// What a reference does to the referring row when the row it refers to goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGone {
    /// The deletion is refused.
    Refuse,
    /// The referring row is deleted.
    Cascade,
    /// The referring columns are set to NULL or to their default.
    Detach,
}

impl ForeignKey {
    /// Whether it refers to rows of this table, of the same node.
    pub fn leads_to(&self, table: &TableSpec) -> bool {
        table.local == self.referenced_table && table.schema == self.referenced_schema
    }
}

impl TableSpec {
    /// A table of which nothing is known but what it refers to: for putting tables in order.
    pub fn bare<'a>(index: usize, name: &str, refers_to: impl Iterator<Item = &'a str>) -> TableSpec {
        let reference = |other: &str| ForeignKey {
            name: String::new(),
            schema: None,
            table: name.to_owned(),
            columns: Vec::new(),
            referenced_schema: None,
            referenced_table: other.to_owned(),
            referenced_columns: Vec::new(),
            on_delete: OnGone::Refuse,
            follows: false,
        };
        TableSpec {
            index,
            name: name.to_owned(),
            schema: None,
            local: name.to_owned(),
            columns: Vec::new(),
            layout: Vec::new(),
            key: Vec::new(),
            keys: Vec::new(),
            uniques: Vec::new(),
            references: refers_to.map(reference).collect(),
            referenced: Vec::new(),
            user_triggers: Vec::new(),
            partitions: Vec::new(),
            partitioned: false,
            keeps_own: false,
            takes_all: false,
            captured: true,
            written: true,
            deletes: true,
            images: Vec::new(),
            shape: String::new(),
        }
    }

    /// The local name with its schema, for messages.
    pub fn full_name(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.local),
            None => self.local.clone(),
        }
    }

    /// The columns of the key, in the key's order.
    pub fn key_columns(&self) -> impl ExactSizeIterator<Item = &Column> + Clone {
        self.key.iter().map(|&at| &self.columns[at])
    }

    /// The table as if it had no columns but those of its key, for whoever only asks where rows stand.
    pub fn keys_alone(&self) -> TableSpec {
        TableSpec {
            columns: self.key_columns().cloned().collect(),
            key: (0..self.key.len()).collect(),
            uniques: Vec::new(),
            images: Vec::new(),
            ..self.clone()
        }
    }

    /// The columns recorded before and after each change.
    pub fn image_columns(&self) -> impl ExactSizeIterator<Item = &Column> + Clone {
        self.images.iter().map(|&at| &self.columns[at])
    }

    /// The recorded columns, with their places among these, to which no reference from this table hands on what changes elsewhere: what
    /// becomes of them is a change of its own.
    pub fn counted_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.image_columns().enumerate().filter(move |(_, column)| !self.is_handed_on(column))
    }

    /// Columns of the key, with their places in it, that stay as they are where a reference from this table gives a row another key: one
    /// row is recorded as gone then, and another as new. `None` where no reference does.
    pub fn kept_of_key(&self) -> Option<Vec<(usize, &Column)>> {
        let kept: Vec<_> = self.key_columns().enumerate().filter(|(_, column)| !self.is_handed_on(column)).collect();
        (kept.len() < self.key.len()).then_some(kept)
    }

    /// Whether a reference from this table may change the column.
    fn is_handed_on(&self, column: &Column) -> bool {
        self.references.iter().any(|key| key.columns.contains(&column.name))
    }

    /// The key of a local row.
    pub fn key_of(&self, row: &[Value]) -> Key {
        self.key.iter().map(|&at| row[at].clone()).collect()
    }

    /// A key of this node's as all nodes know it.
    pub fn shared_key(&self, local: Key) -> Key {
        shared_key(&self.keys, local)
    }

    /// The key that a shared one has here; or why it can have none.
    pub fn local_key(&self, shared: &Key) -> Result<Key, String> {
        local_key(&self.keys, shared.clone())
    }

    /// The first value of a local row that its column would not store as it is: the column's name and the reason.
    pub fn misfit(&self, row: &Row) -> Option<(&str, String)> {
        self.columns
            .iter()
            .zip(row)
            .find_map(|(column, value)| column.domain.holds(value).err().map(|why| (column.name.as_str(), why.0)))
    }

    /// Positions of the columns of a unique constraint, if its rows' values alone tell which of them collide.
    pub fn told_by(&self, unique: &Unique) -> Option<Vec<usize>> {
        let position = |name: &String| self.columns.iter().position(|column| column.name == *name);
        let columns: Option<Vec<usize>> = unique.columns.iter().map(position).collect();
        columns.filter(|columns| !columns.is_empty())
    }

    /// Whether a change made here by Concord may make the database change rows by itself.
    pub fn reacts(&self) -> bool {
        !self.user_triggers.is_empty() || self.referenced.iter().any(|key| key.on_delete != OnGone::Refuse)
    }
}
