//! What is loaded, in which order, and whether that may be asked for.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Condition, Leg, Load, LoadOptions};
use crate::error::{Error, Result};
use crate::model::{NodeId, TableSpec};
use crate::sync::order;
use crate::sync::session::Session;
use crate::sync::verify::no_table_called;

impl Session {
    /// The tables that are to be gone through and stand still.
    pub(super) fn stand_still(&self, options: &LoadOptions) -> Vec<String> {
        let chosen = |name: &String| options.tables.is_empty() || options.tables.contains(name);
        let still = self.tables.iter().filter(|table| table.stands_still());
        still.map(|table| table.name.clone()).filter(chosen).collect()
    }

    /// Fails if something is asked for that the file alone shows to be wrong.
    pub fn accepts(&self, options: &LoadOptions) -> Result<()> {
        self.preferred(options)?;
        let names: Vec<&str> = self.config.tables.iter().map(|table| table.name.as_str()).collect();
        for name in &options.tables {
            if !names.contains(&name.as_str()) {
                return Err(no_table_called(name, &names));
            }
            self.needs_history(name)?;
        }
        match &options.condition {
            Some(_) if !self.config.keeps_histories() => Err(Error::Usage(
                "--where says which rows are loaded, and every table is kept in step by comparison, which needs no load\n    \
                 leave it out"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn preferred(&self, options: &LoadOptions) -> Result<Option<NodeId>> {
        options.prefer.as_deref().map(|name| self.node_called(name)).transpose()
    }

    /// Fails if nodes would be let back in and not all rows were compared: they begin anew in all tables at once, and what they lack in
    /// others would be told by no history.
    pub(super) fn compares_enough(&self, absent: &[NodeId], options: &LoadOptions) -> Result<()> {
        let Some(&at) = absent.first() else { return Ok(()) };
        let left_out = match (options.tables.is_empty(), &options.condition) {
            (false, Some(_)) => "--table and --where",
            (false, None) => "--table",
            (true, Some(_)) => "--where",
            (true, None) => return self.all_go_on(at),
        };
        let load = if options.refilter { "concord load --refilter" } else { "concord load" };
        Err(Error::Refused(vec![format!(
            "node `{}` has to be let in again, and for that all its tables are compared: run `{load}` without {left_out} first",
            self.names[at.index()],
        )]))
    }

    /// Which tables are gone through where: tables that others refer to first, and nodes in the order of the file.
    pub(super) fn plan_load(&self, options: &LoadOptions, prefer: Option<NodeId>) -> Result<Load> {
        options.tables.iter().try_for_each(|name| self.table_called(name).map(drop))?;
        let chosen = |table: &str| options.tables.is_empty() || options.tables.iter().any(|name| name == table);
        let mut conditions = HashMap::new();
        for table in self.tables.iter().filter(|table| chosen(&table.name) && !table.compared) {
            if let Some(text) = &options.condition {
                conditions.insert(table.index, Arc::new(Condition::parse(text, table)?));
            }
        }
        // What is referred to anywhere comes first everywhere.
        let mut specs: Vec<TableSpec> = Vec::new();
        for table in &self.tables {
            let mut forms = table.forms.iter().flatten().map(|form| &form.spec);
            let Some(first) = forms.next() else { continue };
            let mut spec = (**first).clone();
            spec.references.clear();
            for form in table.forms.iter().flatten() {
                for reference in &form.spec.references {
                    let node = table
                        .forms
                        .iter()
                        .position(|own| own.as_ref().is_some_and(|own| Arc::ptr_eq(&own.spec, &form.spec)));
                    let target = self.tables.iter().find(|other| {
                        let there = node.and_then(|node| other.forms[node].as_ref());
                        there.is_some_and(|there| {
                            there.spec.local == reference.referenced_table
                                && there.spec.schema == reference.referenced_schema
                        })
                    });
                    if let Some(first) = target.and_then(|target| target.forms.iter().flatten().next()) {
                        let mut reference = reference.clone();
                        reference.referenced_table.clone_from(&first.spec.local);
                        reference.referenced_schema.clone_from(&first.spec.schema);
                        spec.references.push(reference);
                    }
                }
            }
            specs.push(spec);
        }
        let mut legs = Vec::new();
        let borrowed: Vec<&TableSpec> = specs.iter().collect();
        for group in order::parents_first(&borrowed) {
            let mut group: Vec<usize> = group.into_iter().map(|at| specs[at].index).collect();
            group.sort_unstable();
            for index in group {
                let table = &self.tables[index];
                let walkers = self.members.iter().map(|member| member.id);
                let walkers = walkers.filter(|&node| table.is_source(node) && table.form(node).is_some());
                legs.extend(walkers.filter(|_| chosen(&table.name)).map(|walker| Leg { table: index, walker }));
            }
        }
        Ok(Load {
            prefer,
            refilter: options.refilter,
            conditions,
            legs,
            since: Vec::new(),
            on_their_way: Vec::new(),
            left_out: Vec::new(),
            unfinished: Vec::new(),
            let_in: Vec::new(),
        })
    }
}
