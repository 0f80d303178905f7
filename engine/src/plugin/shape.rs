//! The shape of a table, as a plugin is told it.

use super::bindings::concord::plugin::types as wit;
use crate::model::Type;

/// The columns of a table, in the order of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub name: String,
    pub columns: Vec<ShapeColumn>,
    /// The places of the key in `columns`, in the order of the key.
    pub key: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeColumn {
    pub name: String,
    pub ty: Type,
}

/// What a plugin is told about the sync.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Facts {
    pub sync: String,
    /// The nodes' names, in the order of the file.
    pub nodes: Vec<String>,
}

impl Shape {
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub(super) fn context(&self, config: &str, facts: &Facts) -> wit::Context {
        let column = |(at, column): (usize, &ShapeColumn)| wit::Column {
            name: column.name.clone(),
            kind: column.ty.to_string(),
            key: self.key.contains(&at),
            facts: Vec::new(),
        };
        let nodes = facts.nodes.iter().map(|node| ("node".to_owned(), node.clone()));
        wit::Context {
            table: wit::Table {
                name: self.name.clone(),
                columns: self.columns.iter().enumerate().map(column).collect(),
            },
            config: config.to_owned(),
            facts: std::iter::once(("sync".to_owned(), facts.sync.clone())).chain(nodes).collect(),
        }
    }
}
