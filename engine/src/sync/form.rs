//! A table's form at one node: which of its columns are which of the shared row's, or what a mapping makes of them.

use std::sync::Arc;

use super::brought::Marks;
use super::lens::Lens;
use super::mapped::{Reshape, reshape, seen_behind, told};
use super::plugins::Plugins;
use super::shape::same_name;
use super::table::{Form, SharedColumn, Table};
use crate::config::{Config, Operations, TableConfig, TableNode};
use crate::model::{Column, KeyRule, NodeId, TableSpec, Type, Value};
use crate::node::{Catalogue, CatalogueColumn};

impl Table {
    /// The table's form at a node, from what the node's catalogue says now; or in words what is not as it was.
    pub fn form_at(
        &self,
        config: &Config,
        node: NodeId,
        catalogue: &Catalogue,
        plugins: &mut Plugins,
    ) -> Result<Form, String> {
        let table = &config.tables[self.index];
        let reshape = reshape(config, table, node, catalogue, plugins);
        let reshape = reshape.map_err(|why| format!("{why}; run `concord check` once that is seen to"))?;
        self.form_with(table, node, catalogue, reshape)
    }

    /// The same, where it is known what a mapping makes of the node's table.
    pub(super) fn form_with(
        &self,
        config: &TableConfig,
        node: NodeId,
        catalogue: &Catalogue,
        reshape: Option<Arc<dyn Reshape>>,
    ) -> Result<Form, String> {
        let written = catalogue.written_refusals.iter().filter(|_| self.takes_rows(node));
        if let Some(refusal) = catalogue.refusals.iter().chain(written).next() {
            return Err(refusal.clone());
        }
        let names = &config.nodes[node.index()];
        let (columns, behind) = match &reshape {
            None => (self.columns_at(config, node, catalogue)?, Vec::new()),
            Some(reshape) => self.columns_before(names, catalogue, &**reshape)?,
        };
        let place = |shared: &usize| columns.iter().position(|column| column.shared == Some(*shared));
        let key: Option<Vec<usize>> = self.key.iter().map(place).collect();
        let key = key.ok_or("a column of the key is omitted")?;
        if key.len() != catalogue.key.len() || !key.iter().all(|&at| catalogue.key.contains(&columns[at].name)) {
            return Err(format!(
                "its key is no longer ({}), and only with that key can changes be carried that were recorded until now",
                self.key_names()
            ));
        }
        let keys = reshape.as_deref().map_or_else(Vec::new, |reshape| self.key_rules(reshape, &behind));
        let whole =
            key.iter().zip(&keys).filter(|(_, rule)| matches!(rule, Some(KeyRule::Spread { .. }))).map(|(at, _)| *at);
        if let Some(column) = whole.map(|at| &columns[at]).find(|column| column.domain.holds(&Value::Int(-1)).is_err())
        {
            return Err(format!(
                "`{}` holds no numbers below 0, under which the rows of other nodes would be kept; let it be signed",
                column.name
            ));
        }
        let images = match &reshape {
            None => self.policy.recorded().iter().filter_map(place).collect(),
            Some(reshape) => self.images_before(&**reshape, &behind)?,
        };
        let named = |images: &Vec<usize>| images.iter().map(|&at| columns[at].name.clone()).collect();
        let own_images = reshape.as_ref().map_or_else(Vec::new, |_| named(&images));
        let omits = self.columns.iter().map(|column| &column.name).filter(|name| names.omits(name)).cloned().collect();
        let spec = TableSpec {
            index: self.index,
            name: self.name.clone(),
            schema: catalogue.schema.clone(),
            local: catalogue.name.clone(),
            key,
            keys,
            uniques: catalogue.uniques.clone(),
            references: catalogue.references.clone(),
            referenced: catalogue.referenced.clone(),
            user_triggers: catalogue.user_triggers.clone(),
            partitions: catalogue.partitions.clone(),
            partitioned: catalogue.partitioned,
            keeps_own: reshape.is_none() && self.columns.iter().any(|column| self.is_own(config, node, &column.name)),
            takes_all: self.operations == Operations::ALL && !self.has_subsets(),
            captured: self.is_source(node),
            written: self.from != Some(node),
            deletes: self.operations.delete || self.subset(node).is_some(),
            images,
            shape: self.kept_at(Some(omits), self.marks(node), own_images),
            layout: self.columns.iter().map(|column| (column.name.clone(), column.ty.clone())).collect(),
            columns,
        };
        let grains = self.columns.iter().enumerate().filter_map(|(place, column)| Some((place, column.grain?)));
        let lens = match reshape {
            None => Lens::new(&spec, self.columns.len()),
            Some(reshape) => Lens::behind(reshape, &spec, behind, self.columns.len()),
        };
        Ok(Form { lens: lens.with_grains(grains), spec: Arc::new(spec) })
    }

    /// Whether a column lives at a node that only takes rows, and not at the one that they come from. Whatever is written to it
    /// there would be what stood in it some time ago, and nothing tells what users did to it since.
    fn is_own(&self, config: &TableConfig, node: NodeId, column: &str) -> bool {
        let giver = self.from.filter(|from| *from != node).map(|from| &config.nodes[from.index()]);
        giver.is_some_and(|giver| giver.omits(column)) && !config.nodes[node.index()].omits(column)
    }

    /// The columns of a node's table that are those of the shared row.
    fn columns_at(&self, config: &TableConfig, node: NodeId, catalogue: &Catalogue) -> Result<Vec<Column>, String> {
        let names = &config.nodes[node.index()];
        let mut columns = Vec::new();
        for (shared, column) in self.columns.iter().enumerate() {
            if names.omits(&column.name) || self.is_own(config, node, &column.name) {
                continue;
            }
            let local = names.local(&column.name);
            let Some(found) = catalogue.columns.iter().find(|c| same_name(&c.name, local) && !c.generated) else {
                return Err(format!("column `{local}` is missing"));
            };
            columns.push(column_of(found, Some(shared), column.ty.clone()));
        }
        Ok(columns)
    }

    /// All columns of a node's table that a mapping is told of, and for each column that it makes of them its place in the shared
    /// row.
    fn columns_before(
        &self,
        names: &TableNode,
        catalogue: &Catalogue,
        reshape: &dyn Reshape,
    ) -> Result<(Vec<Column>, Vec<usize>), String> {
        let mut behind = Vec::new();
        for made in &reshape.shape().columns {
            let name = names.shared(&made.name);
            let Some(place) = self.columns.iter().position(|column| same_name(&column.name, name)) else {
                return Err(format!("its mapping makes a column `{}`, which `{}` has not", made.name, self.name));
            };
            let shared = &self.columns[place];
            if names.omits(&shared.name) {
                return Err(format!(
                    "its mapping makes a column `{}`, and `omit` leaves it out; let one of them do without it",
                    made.name
                ));
            }
            if shared.ty != made.ty {
                return Err(format!(
                    "its mapping makes `{}` of {}, and it is {} among the nodes; let the mapping answer that kind",
                    made.name, made.ty, shared.ty
                ));
            }
            behind.push(place);
        }
        let lacks = |(place, column): &(usize, &SharedColumn)| !names.omits(&column.name) && !behind.contains(place);
        if let Some((_, column)) = self.columns.iter().enumerate().find(lacks) {
            return Err(format!("its mapping makes no column `{}`", names.local(&column.name)));
        }
        let of_key = |at: usize| reshape.key().iter().find(|(own, _)| *own == at).map(|&(_, made)| behind[made]);
        let columns = told(catalogue).enumerate().map(|(at, (column, ty))| column_of(column, of_key(at), ty));
        Ok((columns.collect(), behind))
    }

    /// By what rules the columns of the key have other values among the nodes.
    fn key_rules(&self, reshape: &dyn Reshape, behind: &[usize]) -> Vec<Option<KeyRule>> {
        let rules = || reshape.key().iter().zip(reshape.rules());
        let rule =
            |&shared: &usize| rules().find(|((_, made), _)| behind[*made] == shared).and_then(|(_, rule)| rule.clone());
        match rules().any(|(_, rule)| rule.is_some()) {
            true => self.key.iter().map(rule).collect(),
            false => Vec::new(),
        }
    }

    /// The node's own columns in which the recorded ones stand. Entries tell two values of a column and no row that could be mapped,
    /// and what is told of others' changes is written down in the same columns: so they have to be copies.
    fn images_before(&self, reshape: &dyn Reshape, behind: &[usize]) -> Result<Vec<usize>, String> {
        let image = |&shared: &usize| {
            let copy = reshape.copies().iter().find(|&&(_, made)| behind[made] == shared);
            copy.map(|&(own, _)| own).ok_or_else(|| {
                format!(
                    "its mapping does not say that `{}` is a copy of a column of the node, and the conflicts of `{}` are decided by what \
                     each change did to it; let the mapping tell so (`copy-of`), or remove `mapping`, or let another policy decide",
                    self.columns[shared].name, self.name
                )
            })
        };
        self.policy.recorded().iter().map(image).collect()
    }

    /// The nodes' tables as the others see them.
    pub fn seen(&self, catalogues: &[(NodeId, Catalogue)]) -> Vec<(NodeId, Catalogue)> {
        let seen = |(node, catalogue): &(NodeId, Catalogue)| {
            let reshape = self.form(*node).and_then(|form| form.lens.mapping());
            (*node, reshape.map_or_else(|| catalogue.clone(), |reshape| seen_behind(catalogue, reshape)))
        };
        catalogues.iter().map(seen).collect()
    }

    /// How rows are to be brought to a node by the file.
    fn marks(&self, node: NodeId) -> Marks {
        Marks {
            filter: self.subset(node).and_then(|subset| subset.mark.clone()),
            mapping: self.mapping_mark(node).cloned(),
        }
    }

    /// What tells the mapping at a node from others, if there is one.
    pub fn mapping_mark(&self, node: NodeId) -> Option<&String> {
        self.mappings.get(node.index()).and_then(Option::as_ref)
    }
}

fn column_of(found: &CatalogueColumn, shared: Option<usize>, ty: Type) -> Column {
    Column {
        name: found.name.clone(),
        shared,
        native: found.native.clone(),
        collation: found.collation.clone(),
        domain: found.domain.clone(),
        ty,
        nullable: found.nullable,
    }
}

#[cfg(test)]
impl Form {
    /// A table that has the first so many columns of a shared row of this width, of which the first is the key.
    pub fn bare(columns: &[(&str, Type)], width: usize) -> Form {
        let column = |(shared, (name, ty)): (usize, &(&str, Type))| Column::bare(shared, name, ty.clone());
        let columns = columns.iter().enumerate().map(column).collect();
        let spec = TableSpec { columns, key: vec![0], ..TableSpec::bare(0, "t", std::iter::empty()) };
        Form { lens: Lens::new(&spec, width), spec: Arc::new(spec) }
    }
}
