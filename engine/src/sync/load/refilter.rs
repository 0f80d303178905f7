//! Moving rows by filters that are others now: until that is done nobody goes on with the former filters or with the new ones.

use super::LoadOptions;
use super::progress::Progress;
use crate::config::Operations;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::TableSpec;
use crate::node;
use crate::sync::brought;
use crate::sync::session::Session;
use crate::sync::table::{Form, Table};

/// Tables whose rows are being moved to where the filters of the file say, although others may be installed.
#[derive(Default)]
pub(in crate::sync) struct Refilters {
    tables: Vec<String>,
    /// Those of them to which rows are brought through another mapping at some node, or through none any more.
    remapped: Vec<String>,
    /// Whether that is noted beside them. Where something else is noted then, somebody else moves the rows, or may have put others there.
    noted: bool,
}

impl Refilters {
    /// Whether it is this load that moves the rows of a table, by the shape that is kept at a node.
    pub fn moves(&self, table: &Table, kept: Option<&str>) -> bool {
        let is_ours = || kept.is_some_and(|kept| brought::marks(kept).are_moved_by(table));
        self.tables.contains(&table.name) && (!self.noted || is_ours())
    }

    /// Whether the shared rows of a table may be others than they were.
    pub fn remaps(&self, table: &Table) -> bool {
        self.remapped.contains(&table.name)
    }

    /// What has stood still may have been passed over, and is left to the next load.
    pub fn leave_out<'a>(&mut self, stopped: impl Iterator<Item = &'a Table>) {
        stopped.for_each(|stopped| self.tables.retain(|table| *table != stopped.name));
    }
}

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
        let tables = match options.tables.is_empty() {
            true => self.config.tables.iter().map(|table| table.name.clone()).collect(),
            false => options.tables.clone(),
        };
        self.refilters = Refilters { tables, ..Refilters::default() };
        Ok(())
    }

    /// Refuses where a table that is to be gone through stands still for another reason than its filters.
    pub(super) fn may_refilter(&self) -> Result<()> {
        let mut stopped = self.stopped().into_iter();
        if let Some(stopped) = stopped.find(|stopped| self.refilters.tables.contains(&stopped.table)) {
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
        if self.refilters.tables.is_empty() {
            return Ok(());
        }
        let (mut noting, mut remapped) = (Vec::new(), Vec::new());
        for member in &mut self.members {
            let Some(node) = member.node.as_deref_mut() else { continue };
            let reading = Error::at(&member.name, "reading by which filter rows were moved");
            let Some(service) = node.service().await.map_err(reading)? else { continue };
            let mut shapes = Vec::new();
            for table in &self.tables {
                let Some(spec) = table.spec(member.id) else { continue };
                let Some(kept) = service.shape(&table.name) else { continue };
                if brought::brought_otherwise(Some(kept), spec).is_none() || !self.refilters.moves(table, Some(kept)) {
                    continue;
                }
                let (was, is) = (brought::marks(kept), brought::marks(&spec.shape));
                if was.mapping != is.mapping {
                    remapped.push(table.name.clone());
                }
                let marks = if moving { was.clone().moving(&is, table) } else { is };
                if marks != was {
                    shapes.push((table.name.clone(), brought::with_marks(kept, marks)));
                }
            }
            if !shapes.is_empty() {
                noting.push((member.id, shapes));
            }
        }
        self.refilters.remapped.extend(remapped);
        if moving && !noting.is_empty() {
            // What a load has reached before others moved the rows is to be gone through again.
            Progress::forget(self).await?;
        }
        for (at, shapes) in noting {
            let member = &mut self.members[at.index()];
            let Some(node) = member.node.as_deref_mut() else { continue };
            let doing = || Error::at(&member.name, "noting by which filter rows were moved");
            fault::point("refilter-noted").await.map_err(node::Error::from).map_err(doing())?;
            node.keep_shapes(&shapes).await.map_err(doing())?;
        }
        self.refilters.noted = true;
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
                let kept = service.shape(&spec.name);
                if let Some(why) = brought::brought_otherwise(kept, spec) {
                    let remedy = brought::remedy(kept, &self.tables[spec.index], spec);
                    problems.push(format!("node `{}`: `{}`: {why}; {remedy}", member.name, spec.name));
                }
            }
        }
        Ok(problems)
    }
}
