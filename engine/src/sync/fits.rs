//! How the values of each column fare between the nodes, as `check` tells it before anything is carried.

use serde::Serialize;

use super::shape::same_name;
use super::table::Table;
use crate::config::Config;
use crate::model::{Beyond, Grain, NodeId};
use crate::node::{Catalogue, CatalogueColumn};

/// How a column's values fare from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fit {
    pub column: String,
    pub from: String,
    pub to: String,
    /// `exact`: each arrives as it is. `waits`: rows with some values wait. `lossy`: values are rounded or cut, as the file allows.
    pub fit: &'static str,
    /// Which values, or what becomes of them; with `exact` what becomes of some where it counts as the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Table {
    /// All columns, from each node whose rows go anywhere to each that takes them. What becomes of values in a mapping only the
    /// plugin knows, but for those that it passes on as they are.
    pub(super) fn fits(&self, config: &Config, catalogues: &[(NodeId, Catalogue)]) -> Vec<Fit> {
        let mut fits = Vec::new();
        for column in &self.columns {
            let found = |(node, catalogue): &'_ (NodeId, Catalogue)| -> Option<(NodeId, CatalogueColumn)> {
                let form = self.form(*node)?;
                let is_own = |shared: usize| self.columns[shared].name == column.name;
                let own = match form.lens.mapping() {
                    None => form.spec.columns.iter().find(|own| own.shared.is_some_and(is_own))?,
                    Some(reshape) => {
                        let local = config.tables[self.index].nodes[node.index()].local(&column.name);
                        let made = reshape.shape().columns.iter().position(|made| same_name(&made.name, local))?;
                        let copy = reshape.copies().iter().find(|(_, copy)| *copy == made);
                        copy.map(|(own, _)| &form.spec.columns[*own])?
                    }
                };
                Some((*node, catalogue.columns.iter().find(|other| other.name == own.name)?.clone()))
            };
            let columns: Vec<(NodeId, CatalogueColumn)> = catalogues.iter().filter_map(found).collect();
            for (from, source) in columns.iter().filter(|(from, _)| self.gives_rows(*from)) {
                // Values come to what all keep wherever they are carried.
                let is_cut = |(_, other): &(NodeId, CatalogueColumn)| {
                    source.domain.misfits(&other.domain).iter().any(|beyond| beyond.can_be_cut)
                };
                let grain = column.grain.filter(|_| columns.iter().any(is_cut));
                for (to, target) in columns.iter().filter(|(to, _)| to != from && self.takes_rows(*to)) {
                    let name = |node: &NodeId| config.nodes[node.index()].name.clone();
                    let mut waiting = source.domain.misfits(&target.domain);
                    waiting.retain(|beyond| !beyond.can_be_cut || column.grain.is_none());
                    waiting.extend(grain.and_then(|grain| grain.rounds_beyond(&source.domain, &target.domain)));
                    // What neither has need not be told.
                    let lacks = target.lacks.clone().filter(|_| source.lacks != target.lacks);
                    waiting.extend(lacks.map(|values| Beyond { values, can_be_cut: false }));
                    let waiting = waiting.into_iter().map(|beyond| beyond.values).collect::<Vec<_>>().join(", ");
                    let (fit, why) = match (grain.map(Grain::told), waiting.as_str()) {
                        (None, "") => ("exact", None),
                        (None, waiting) => ("waits", Some(waiting.to_owned())),
                        (Some(grain), "") => ("lossy", Some(grain)),
                        (Some(grain), waiting) => ("lossy", Some(format!("{grain}; rows wait with {waiting}"))),
                    };
                    let alike = target.alike.filter(|_| source.alike != target.alike);
                    let both = why.iter().map(String::as_str).chain(alike).collect::<Vec<_>>().join("; ");
                    let why = Some(both).filter(|why| !why.is_empty());
                    fits.push(Fit { column: column.name.clone(), from: name(from), to: name(to), fit, why });
                }
            }
        }
        fits
    }
}
