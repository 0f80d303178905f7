//! Moving rows by filters that are others now: until that is done nobody goes on with the former filters or with the new ones.

use super::LoadOptions;
use crate::config::Operations;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::TableSpec;
use crate::node;
use crate::sync::session::Session;
use crate::sync::shape;
use crate::sync::table::{Form, Table};

impl Session {
    /// Notes which tables are to be gone through although other filters are installed.
    pub(super) fn begin_refilter(&mut self, options: &LoadOptions) -> Result<()> {
        if !options.refilter {
            return Ok(());
        }
        if options.condition.is_some() {
            let why = "--refilter is about all rows of a table, and --where leaves some out\n    leave one of them out";
            return Err(Error::Usage(why.to_owned()));
        }
        self.refilters = match options.tables.is_empty() {
            true => self.config.tables.iter().map(|table| table.name.clone()).collect(),
            false => options.tables.clone(),
        };
        Ok(())
    }

    /// Refuses where a table that is to be gone through stands still for another reason than its filters.
    pub(super) fn may_refilter(&self) -> Result<()> {
        let mut stopped = self.stopped().into_iter();
        if let Some(stopped) = stopped.find(|stopped| self.refilters.contains(&stopped.table)) {
            return Err(Error::Refused(vec![format!(
                "table `{}` stands still: {}; its rows are not moved until that is seen to",
                stopped.table, stopped.why
            )]));
        }
        // While a node is known to lack rows, what goes for filters goes for it.
        let lacks = |table: &&Table| table.subsets.iter().flatten().any(|subset| subset.mark.is_none());
        let total = |form: &Form| form.lens.is_total();
        let suits = |table: &&Table| {
            !table.policy.merges() && table.operations == Operations::ALL && table.forms.iter().flatten().all(total)
        };
        match self.tables.iter().filter(lacks).find(|table| !suits(table)) {
            Some(table) => Err(Error::Refused(vec![format!(
                "table `{}`: where a filter is taken away all columns and operations are to be carried and no changes added up until \
                 its rows are there; take the filter away first, and change `operations`, `omit` or `conflict` when that is done",
                table.name
            )])),
            None => Ok(()),
        }
    }

    /// Keeps beside the tables that are refiltered which filters are theirs now; while `moving`, that it is none of those that
    /// anybody may go by.
    pub(super) async fn keep_filters(&mut self, moving: bool) -> Result<()> {
        if self.refilters.is_empty() {
            return Ok(());
        }
        for member in &mut self.members {
            let Some(node) = member.node.as_deref_mut() else { continue };
            let doing = || Error::at(&member.name, "noting by which filter rows were moved");
            let Some(service) = node.service().await.map_err(doing())? else { continue };
            let mut shapes = Vec::new();
            for spec in Session::specs(&self.tables, member.id) {
                let Some(kept) = service.shape(&spec.name) else { continue };
                if self.refilters.contains(&spec.name) && shape::filters_otherwise(Some(kept), &spec).is_some() {
                    let filter = if moving { Some(shape::REFILTERED.to_owned()) } else { shape::filter(&spec.shape) };
                    shapes.push((spec.name, shape::with_filter(kept, filter)));
                }
            }
            if !shapes.is_empty() {
                fault::point("refilter-noted").await.map_err(node::Error::from).map_err(doing())?;
                node.keep_shapes(&shapes).await.map_err(doing())?;
            }
        }
        Ok(())
    }

    /// Where rows would have to be moved before anything else is done about a table, because its filters are others now.
    pub(in crate::sync) async fn moved_filters(&mut self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for member in &mut self.members {
            let specs: Vec<TableSpec> = Session::specs(&self.tables, member.id);
            let Some(node) = member.node.as_deref_mut() else { continue };
            let service = node.service().await.map_err(Error::at(&member.name, "reading the service tables"))?;
            let Some(service) = service.filter(|service| service.sync == self.config.name) else { continue };
            for spec in &specs {
                if let Some(why) = shape::filters_otherwise(service.shape(&spec.name), spec) {
                    problems.push(format!(
                        "node `{}`: `{}`: {why}; run `concord load --refilter --table {}`",
                        member.name, spec.name, spec.name
                    ));
                }
            }
        }
        Ok(problems)
    }
}
