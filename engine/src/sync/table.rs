//! A synced table as the cycle sees it: the shared shape, the policy, and its form at every node.

use std::collections::HashMap;
use std::sync::Arc;

use super::lens::Lens;
use super::subset::Subset;
use super::uncompared::Uncompared;
use crate::config::Operations;
use crate::merge::Policy;
use crate::model::{Domain, Grain, NodeId, Parked, TableSpec, Type, Waiting};
use crate::plugin::{Failure, Part, Resolver};

/// One table of the sync.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its place in the file.
    pub index: usize,
    pub name: String,
    pub columns: Vec<SharedColumn>,
    /// Places of the key in `columns`.
    pub key: Vec<usize>,
    pub policy: Policy,
    /// Who is asked where the policy says so.
    pub resolver: Option<Arc<Resolver>>,
    /// Which rows belong at each node, by [`NodeId`]; all where there is none.
    pub subsets: Vec<Option<Subset>>,
    /// What tells the mapping at each node from others, by [`NodeId`]; none where no plugin maps.
    pub mappings: Vec<Option<String>>,
    pub operations: Operations,
    /// The place of the column that tells when a row was last changed, if one is named.
    pub updated: Option<usize>,
    /// The only node whose changes are carried, if the table goes one way.
    pub from: Option<NodeId>,
    /// Whether it is kept in step by comparison: no history is kept of it, and the cycle has nothing to do with it.
    pub compared: bool,
    /// Its form at each node, by [`NodeId`]; `None` where the node is away or the table is stopped there.
    pub forms: Vec<Option<Form>>,
    /// Why the table stands still, if it does.
    pub stopped: Option<String>,
    /// Why it stands still for its filters alone: its forms are right then, so that reports can tell of it.
    pub filtered_otherwise: Option<String>,
    /// The form at each node with the shape that was kept there when both were found to agree, see [`Table::is_as_installed`].
    pub as_installed: HashMap<NodeId, (Arc<TableSpec>, String)>,
    /// How far the load has come that lets nodes in, if this session is at that.
    pub uncompared: Option<Uncompared>,
}

#[cfg(test)]
impl Table {
    /// The table `t`, with a key of its first column, which goes every way, and where the latest change wins.
    pub(super) fn bare(columns: &[(&str, Type)], forms: Vec<Option<Form>>) -> Table {
        let shared = |(name, ty): &(&str, Type)| SharedColumn { name: (*name).to_owned(), ty: ty.clone(), grain: None };
        Table {
            index: 0,
            name: "t".to_owned(),
            columns: columns.iter().map(shared).collect(),
            key: vec![0],
            policy: Policy::LatestWins,
            resolver: None,
            subsets: Vec::new(),
            mappings: Vec::new(),
            operations: Operations::ALL,
            updated: None,
            from: None,
            compared: false,
            forms,
            stopped: None,
            filtered_otherwise: None,
            as_installed: HashMap::new(),
            uncompared: None,
        }
    }
}

/// A table at one node.
#[derive(Clone, Debug)]
pub struct Form {
    pub spec: Arc<TableSpec>,
    pub lens: Lens,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedColumn {
    pub name: String,
    pub ty: Type,
    /// To what values are brought that some nodes keep more exactly than others, where the file allows that.
    pub grain: Option<Grain>,
}

impl Table {
    /// Whether the node's history tells users' changes that are carried elsewhere.
    pub fn is_source(&self, node: NodeId) -> bool {
        !self.compared && self.gives_rows(node)
    }

    /// Whether changes that others' histories tell are carried to the node.
    pub fn is_target(&self, node: NodeId) -> bool {
        !self.compared && self.takes_rows(node)
    }

    /// Whether the node's rows go anywhere.
    pub fn gives_rows(&self, node: NodeId) -> bool {
        self.from.is_none_or(|from| from == node)
    }

    /// Whether rows are written to the node at all.
    pub fn takes_rows(&self, node: NodeId) -> bool {
        self.from != Some(node)
    }

    /// Whether a node can hear of a change from another node than the one that made it, so that entries have to tell
    /// where they come from. They also have to tell what came to a node with a filter and what left it, see `Ruling::notes`.
    pub fn relays(&self) -> bool {
        self.from.is_none() && (self.forms.len() > 2 || self.has_subsets())
    }

    /// Whether entries that tell where a change comes from are left out where a row stands before and after, see `Ruling::is_at_both`.
    pub fn may_leave_untold(&self) -> bool {
        self.relays() && self.forms.len() == 2
    }

    /// Whether a row may be made where none stands although others have it, because inserts are not carried or it does not
    /// belong there: whoever makes it has seen nothing of theirs, whatever was passed there.
    pub fn makes_blindly(&self) -> bool {
        self.from.is_none() && (!self.operations.insert || self.has_subsets())
    }

    /// Whether whoever makes a row at a node may have been kept from seeing one that stands elsewhere.
    pub fn is_blind(&self, maker: NodeId) -> bool {
        self.makes_blindly() && (!self.operations.insert || self.subset(maker).is_some())
    }

    /// Whether deciding about its rows takes a plugin, and the time that it takes.
    pub fn asks_plugins(&self) -> bool {
        self.resolver.is_some() || self.has_subsets() || !self.mappings.is_empty()
    }

    /// What plugins do for the table.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        let resolver = self.resolver.iter().map(|resolver| resolver.part());
        let judges = self.subsets.iter().flatten().filter_map(|subset| subset.judge.part());
        let mappings = self.forms.iter().flatten().filter_map(|form| form.lens.mapping()?.part());
        resolver.chain(judges).chain(mappings)
    }

    /// From here on plugins are not asked any more once they break at whatever they are asked.
    pub fn begin_round(&self) {
        self.parts().for_each(Part::begin_round);
    }

    /// The same where a load asks once more about what it could not write, see [`Part::begin_last_round`].
    pub fn begin_last_round(&self) {
        self.parts().for_each(Part::begin_last_round);
    }

    pub fn end_round(&self) {
        self.parts().for_each(Part::end_round);
    }

    /// What became of plugins that broke at everything that they were asked in this round, and are not asked any more. No row is to
    /// wait for that about which nobody was asked: the table stands still.
    pub fn gave_up(&self) -> Vec<Failure> {
        self.parts().flat_map(Part::gave_up).collect()
    }

    /// Why a plugin that has answered before breaks at all that it is asked in a last round. A sync that is asked about these rows alone
    /// would stop.
    pub fn broke_at_all(&self) -> Option<Failure> {
        self.parts().find_map(Part::broke_at_all)
    }

    /// Whether some node may be without a row that nobody has deleted.
    pub fn may_lack_rows(&self) -> bool {
        self.makes_blindly() || self.has_subsets()
    }

    /// Whether this node may be without a row that nobody has deleted, so that its having none says nothing.
    pub fn may_lack_it(&self, node: NodeId) -> bool {
        self.from.is_none() && !self.operations.insert || self.subset(node).is_some()
    }

    /// Whether a row may be deleted by somebody to whom changes of it were not carried.
    pub fn deletes_blindly(&self) -> bool {
        self.from.is_none() && self.operations.delete && !self.operations.update
    }

    /// Whether every node takes everything, and writes down what it took.
    pub fn tells_all(&self) -> bool {
        let total = |form: &Form| form.lens.is_total();
        self.relays()
            && self.operations == Operations::ALL
            && !self.has_subsets()
            && self.forms.iter().flatten().all(total)
    }

    /// What waits, as it is to be taken. Of columns that live everywhere nothing is unknown but because they are younger than it, nor
    /// where changes are recorded, or filters have to see the row.
    pub fn as_it_counts(&self, parked: Parked) -> Parked {
        let everywhere =
            |column: usize| self.forms.iter().all(|form| form.as_ref().is_some_and(|form| form.lens.has(column)));
        let is_younger =
            |&column: &usize| self.has_subsets() || self.policy.recorded().contains(&column) || everywhere(column);
        let is_outdated = matches!(&parked.content, Waiting::Row { unknown, .. } if unknown.iter().any(is_younger));
        if is_outdated { parked.outdated() } else { parked }
    }

    /// Whether nothing of its histories is carried for now.
    pub fn stands_still(&self) -> bool {
        self.stopped.is_some() && !self.compared
    }

    /// Columns that some node which is there keeps as floats of 4 bytes: their places among the recorded ones, each with the place in the row.
    pub fn singles(&self) -> impl Iterator<Item = (usize, usize)> {
        let is_single = |form: &Form, recorded: usize| {
            let own = form.spec.images.get(recorded).and_then(|&at| form.spec.columns.get(at));
            own.is_some_and(|column| column.domain == Domain::Float { bits: 32 })
        };
        let recorded = self.policy.recorded().iter().copied().enumerate();
        recorded.filter(move |&(recorded, _)| self.forms.iter().flatten().any(|form| is_single(form, recorded)))
    }

    /// The form at a node, unless the node is away or the table stands still.
    pub fn form(&self, node: NodeId) -> Option<&Form> {
        self.forms[node.index()].as_ref().filter(|_| self.stopped.is_none())
    }

    /// The node's own view of the table, as [`Table::form`].
    pub fn spec(&self, node: NodeId) -> Option<&Arc<TableSpec>> {
        self.form(node).map(|form| &form.spec)
    }

    /// Whether the shape that is kept at a node was found to agree with the form there, and both are still the same: then neither has
    /// to be read once more.
    pub fn is_as_installed(&self, node: NodeId, kept: Option<&str>) -> bool {
        let (Some(spec), Some((known, shape))) = (self.spec(node), self.as_installed.get(&node)) else { return false };
        Arc::ptr_eq(spec, known) && kept == Some(shape.as_str())
    }

    /// They were found to agree.
    pub fn found_as_installed(&mut self, node: NodeId, kept: Option<&str>) {
        let found = self.spec(node).cloned().zip(kept.map(str::to_owned));
        self.as_installed.extend(found.map(|found| (node, found)));
    }
}
