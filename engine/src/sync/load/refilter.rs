//! Moving rows by filters that are others now: until that is done nobody goes on with the former filters or with the new ones.

use super::LoadOptions;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::TableSpec;
use crate::node;
use crate::sync::session::Session;
use crate::sync::shape;

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

    /// Refuses where anything else stands in the way, since what is installed is written anew.
    pub(super) fn may_refilter(&self, options: &LoadOptions) -> Result<()> {
        match self.stopped().into_iter().next() {
            Some(stopped) if options.refilter => Err(Error::Refused(vec![format!(
                "table `{}` stands still: {}; nothing is refiltered until that is seen to",
                stopped.table, stopped.why
            )])),
            _ => Ok(()),
        }
    }

    /// Keeps beside the tables that are refiltered which filters are theirs now; while `moving`, that it is none of those that
    /// anybody may go by.
    pub(super) async fn keep_filters(&mut self, moving: bool) -> Result<()> {
        if self.refilters.is_empty() {
            return Ok(());
        }
        let (name, nodes) = (self.config.name.clone(), self.names.clone());
        for member in &mut self.members {
            let mut specs = Session::specs(&self.tables, member.id);
            let Some(node) = member.node.as_deref_mut() else { continue };
            let doing = || Error::at(&member.name, "noting by which filter rows were moved");
            let Some(service) = node.service().await.map_err(doing())? else { continue };
            let mut any = false;
            for spec in &mut specs {
                let kept = service.shape(&spec.name).unwrap_or_default();
                let is_other =
                    self.refilters.contains(&spec.name) && shape::filters_otherwise(Some(kept), spec).is_some();
                spec.shape = match (is_other, moving) {
                    (false, _) => kept.to_owned(),
                    (true, true) => shape::refiltered(&spec.shape),
                    (true, false) => std::mem::take(&mut spec.shape),
                };
                any |= spec.shape != kept;
            }
            if any {
                let sync = node::Sync { name: name.clone(), nodes: nodes.clone(), node: member.name.clone() };
                fault::point("refilter-noted").await.map_err(node::Error::from).map_err(doing())?;
                node.install(&sync, &specs).await.map_err(doing())?;
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
