//! Looking at everything before anything is changed.

use std::collections::HashMap;

use serde::Serialize;

use super::attendance::{self, Away};
use super::fits::{self, Fit};
use super::mapped;
use super::numbers;
use super::session::Session;
use super::shape;
use super::snapshots;
use super::table::{Form, Table};
use crate::config::{Config, Conflict, Mode, PluginUse, TableConfig, TableNode, section_at};
use crate::error::{Error, Result};
use crate::model::{Column, Domain, NodeId, OnGone, TableSpec};
use crate::node::{self, Catalogue, Probe};

/// What `check` found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Checked {
    pub nodes: Vec<CheckedNode>,
    pub tables: Vec<CheckedTable>,
    /// Whether any table needs service tables and triggers, so that `install` has something to do.
    pub installs: bool,
    /// What has to be corrected before `install`.
    pub problems: Vec<String>,
    /// What may go on but deserves a look.
    pub warnings: Vec<String>,
    /// Ways to change tables that would not be recorded.
    pub unrecorded: Vec<String>,
    /// Nodes that could not be looked at.
    pub away: Vec<Away>,
    /// Tables, by place, whose keys are to be numbered in steps, with the places of the columns in the shared row.
    #[serde(skip)]
    pub(super) interleaved: Vec<(usize, Vec<usize>)>,
    #[serde(skip)]
    pub(super) unmade: Vec<Unmade>,
}

/// Columns, by place, that take no NULL, and that a mapping does not name: it may make their values of others, or not.
#[derive(Clone, Debug)]
pub(super) struct Unmade {
    pub table: usize,
    pub node: NodeId,
    pub columns: Vec<usize>,
}

#[derive(Clone, Debug, Serialize)]
pub struct CheckedNode {
    pub node: String,
    pub url: String,
    /// Such as "PostgreSQL 15.18"; absent when the node could not be reached.
    pub server: Option<String>,
    pub role: Option<String>,
    /// Whether the service tables of this sync are there.
    pub installed: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct CheckedTable {
    pub table: String,
    /// `triggers` or `compare`.
    pub mode: &'static str,
    pub key: Vec<String>,
    /// Shared column names with the type in which their values travel; one of which the nodes share no type tells that instead.
    pub columns: Vec<(String, String)>,
    pub conflict: String,
    /// The plugin that was opened to decide conflicts, which `conflict` names too.
    #[serde(skip)]
    pub resolver: Option<String>,
    /// Which rows belong at nodes that hold a part of them.
    pub filters: Vec<UsedPlugin>,
    /// What makes the shared rows of nodes whose tables have another shape.
    pub mappings: Vec<UsedPlugin>,
    /// How the values of each column fare between each two nodes.
    pub fits: Vec<Fit>,
}

/// The plugin that serves a role at a node.
#[derive(Clone, Debug, Serialize)]
pub struct UsedPlugin {
    pub node: String,
    pub plugin: String,
    /// What the file says to it, without its secrets.
    pub config: serde_json::Value,
    /// Rows on which it was tried, and how many of them it fails at; a mapping both ways.
    pub tried: u64,
    pub failed: u64,
}

impl Checked {
    /// The code with which the command ends.
    pub fn exit_code(&self) -> u8 {
        if self.away.iter().any(|away| away.unreachable) {
            crate::error::UNREACHABLE
        } else if self.problems.is_empty() {
            crate::error::DONE
        } else {
            crate::error::USAGE
        }
    }
}

impl CheckedTable {
    /// A table on whose shape the nodes do not agree, as far as each two of them do.
    fn refused(config: &Config, index: usize, catalogues: &[(NodeId, Catalogue)]) -> CheckedTable {
        let table = &config.tables[index];
        let mut plain = catalogues.iter().map(|(node, catalogue)| (&table.nodes[node.index()], &catalogue.key));
        let keyed = plain.find(|(part, key)| part.mapping.is_none() && !key.is_empty());
        let key: Option<Vec<String>> =
            keyed.map(|(part, key)| key.iter().map(|local| part.shared(local).to_owned()).collect());
        let (columns, fits) = fits::of_no_shape(config, index, catalogues);
        let policy = shape::built_in(&table.conflict, &[]).map(|policy| policy.name().to_owned());
        CheckedTable {
            table: table.name.clone(),
            mode: mode_told(table.mode == Mode::Compare),
            key: key.unwrap_or_default(),
            columns,
            conflict: match &table.conflict {
                Conflict::Plugin(used) => format!("plugin {}", used.name),
                _ => policy.unwrap_or_default(),
            },
            resolver: None,
            filters: Vec::new(),
            mappings: Vec::new(),
            fits,
        }
    }
}

fn mode_told(compared: bool) -> &'static str {
    if compared { "compare" } else { "triggers" }
}

/// How the table's conflicts are decided, for the report.
fn told(table: &Table) -> String {
    match &table.resolver {
        Some(resolver) => format!("plugin {} {}", resolver.plugin().name, resolver.plugin().description.version),
        None => table.policy.name().to_owned(),
    }
}

/// What can be written into columns of a table without its triggers, if anything can: SQLite alone lets a program write into a blob as into
/// a file.
fn written_apart(spec: &TableSpec) -> Option<String> {
    let is_blob = |column: &&Column| {
        matches!(column.domain, Domain::Loose { .. }) && column.native.to_ascii_uppercase().contains("BLOB")
    };
    let blobs: Vec<String> = spec.columns.iter().filter(is_blob).map(|column| format!("`{}`", column.name)).collect();
    let first = blobs.first()?;
    Some(format!(
        "what a program writes into a blob of {} as into a file ({}; sqlite3_blob_open, in Python `blobopen`) fires no trigger and is not \
         recorded: let it run `UPDATE … SET {first} = {first} WHERE …` for the row afterwards, in the same transaction",
        spec.full_name(),
        blobs.join(", ")
    ))
}

/// That no node holds all rows.
fn filtered_everywhere(table: &Table) -> Option<String> {
    let is_everywhere = table.from.is_none() && !table.subsets.is_empty() && table.subsets.iter().all(Option::is_some);
    is_everywhere.then(|| {
        format!(
            "table `{}`: every node has a filter, and a row that belongs at none of them stays where it was changed last; leave \
             one node without a filter, so that it holds all rows",
            table.name
        )
    })
}

impl Session {
    /// Looks at the connections, rights, tables and types of all nodes, and tries filters and mappings on some rows. Changes nothing.
    pub async fn check(&mut self) -> Result<Checked> {
        let (mut checked, of_plugins) = self.check_untried().await?;
        checked.warnings.extend(of_plugins);
        self.with_trial(checked).await
    }

    /// The same for the tables that use plugins, as if there were no others. Warnings are those of what plugins do: some of the others would
    /// not hold, as that a table which refers to one of these is not synced.
    pub async fn check_plugins(&mut self) -> Result<Checked> {
        self.config.tables.retain(|table| table.plugins().next().is_some());
        let (mut checked, of_plugins) = self.check_untried().await?;
        checked.warnings = of_plugins;
        self.with_trial(checked).await
    }

    async fn with_trial(&mut self, mut checked: Checked) -> Result<Checked> {
        if checked.problems.is_empty() && checked.away.is_empty() {
            self.try_plugins(&mut checked).await?;
        }
        self.warn_of_unmade(&mut checked);
        Ok(checked)
    }

    /// Of which columns nobody has seen that the mapping puts a value there where a row is new. Without a trial, as for `install`, there is
    /// nothing to say.
    fn warn_of_unmade(&self, checked: &mut Checked) {
        for Unmade { table, node, columns } in std::mem::take(&mut checked.unmade) {
            let spec = self.tables.iter().find(|known| known.index == table).and_then(|table| table.spec(node));
            let Some(spec) = spec.filter(|_| !columns.is_empty()) else { continue };
            let columns: Vec<String> = columns.iter().map(|&at| format!("`{}`", spec.columns[at].name)).collect();
            checked.warnings.push(format!(
                "node `{}`: the mapping may leave NULL what takes none in {}: {}; where it does, a row that is new there waits, \
                 whatever the column's default",
                self.names[node.index()],
                spec.full_name(),
                columns.join(", ")
            ));
        }
    }

    /// The same without trying anything, and apart from it the warnings of what plugins do.
    async fn check_untried(&mut self) -> Result<(Checked, Vec<String>)> {
        let mut of_plugins = Vec::new();
        let mut checked = Checked { installs: self.config.keeps_histories(), ..Checked::default() };
        self.connect().await;
        let probes = self.probe(&mut checked).await?;
        checked.away = self.away();
        for (member, probe) in self.members.iter().zip(&probes) {
            if let Some(away) = &member.away {
                checked.problems.push(format!("node `{}`: {}", away.node, away.why));
            }
            if let Some(probe) = probe {
                checked.problems.extend(probe.refusals.iter().map(|why| format!("node `{}`: {why}", member.name)));
                checked.warnings.extend(probe.warnings.iter().map(|why| format!("node `{}`: {why}", member.name)));
            }
        }
        self.same_database_twice(&probes, &mut checked.problems);
        if !checked.away.is_empty() {
            return Ok((checked, of_plugins));
        }
        let (tables, fits): (Vec<Table>, Vec<Vec<Fit>>) = self.agree(&mut checked).await?.into_iter().unzip();
        for (table, fits) in tables.iter().zip(fits) {
            checked.tables.push(CheckedTable {
                table: table.name.clone(),
                mode: mode_told(table.compared),
                key: table.key.iter().map(|&place| table.columns[place].name.clone()).collect(),
                columns: table.columns.iter().map(|column| (column.name.clone(), column.ty.to_string())).collect(),
                conflict: told(table),
                resolver: table.resolver.as_ref().map(|resolver| resolver.plugin().name.clone()),
                filters: self.used_at(table, |part| part.filter.as_ref()),
                mappings: self.used_at(table, |part| part.mapping.as_ref()),
                fits,
            });
            self.warn_of(table, &mut checked);
            of_plugins.extend(filtered_everywhere(table));
        }
        // Among them are those that were refused.
        let place = |told: &CheckedTable| self.config.tables.iter().position(|table| table.name == told.table);
        checked.tables.sort_by_key(place);
        let unmapped = mapped::references_unmapped(&self.config, &tables);
        checked.problems.extend(unmapped.iter().map(ToString::to_string));
        if tables.len() == self.config.tables.len() {
            self.tables = tables;
            self.check_rights(&mut checked).await?;
            if checked.installs {
                of_plugins.extend(self.moved_filters().await?);
            }
        }
        // What may not be read has been told.
        if checked.problems.is_empty() {
            checked.problems = self.out_of_numbers(&checked.interleaved).await?;
        }
        Ok((checked, of_plugins))
    }

    async fn probe(&mut self, checked: &mut Checked) -> Result<Vec<Option<Probe>>> {
        let sync = self.config.name.clone();
        let max_skew = self.config.defaults.max_skew.as_micros() as i64;
        let mut probes = Vec::new();
        for (member, config) in self.members.iter_mut().zip(&self.config.nodes) {
            let url = config.target.to_string();
            let Some(node) = member.node.as_deref_mut() else {
                probes.push(None);
                checked.nodes.push(CheckedNode {
                    node: member.name.clone(),
                    url,
                    server: None,
                    role: None,
                    installed: false,
                });
                continue;
            };
            let probe = node.probe().await.map_err(Error::at(&member.name, "asking for the server's version"))?;
            let strayed = snapshots::strayed(node.strays(), max_skew).filter(|_| checked.installs);
            checked.warnings.extend(strayed.map(|why| format!("node `{}`: {why}", member.name)));
            // Where every table is compared, `check_recorded` asks what is installed.
            let service = match checked.installs {
                true => node.service().await.map_err(Error::at(&member.name, "reading the service tables"))?,
                false => None,
            };
            if let Some(service) =
                service.as_ref().filter(|service| service.sync != sync || service.node != member.name)
            {
                let why = attendance::foreign(&sync, &self.names, &member.name, service);
                checked.problems.push(format!("node `{}`: {why}", member.name));
            }
            checked.nodes.push(CheckedNode {
                node: member.name.clone(),
                url,
                server: Some(probe.server.clone()),
                role: Some(probe.role.clone()).filter(|role| !role.is_empty()),
                installed: service.is_some_and(|service| service.sync == sync),
            });
            probes.push(Some(probe));
        }
        Ok(probes)
    }

    fn same_database_twice(&self, probes: &[Option<Probe>], problems: &mut Vec<String>) {
        for (at, probe) in probes.iter().enumerate() {
            let Some(probe) = probe else { continue };
            let same = |other: &Option<Probe>| other.as_ref().is_some_and(|other| other.identity == probe.identity);
            if let Some(first) = probes[..at].iter().position(same) {
                problems.push(format!(
                    "nodes `{}` and `{}` are the same database; every node needs a database of its own",
                    self.names[first], self.names[at]
                ));
            }
        }
    }

    /// Finds the shape that the nodes' tables share, and how values fare between them; what stands in the way is added to the problems,
    /// and such a table, as far as it goes, to the tables.
    async fn agree(&mut self, checked: &mut Checked) -> Result<Vec<(Table, Vec<Fit>)>> {
        let mut agreed = Vec::new();
        // One table may be spelled in several ways, with its schema and without, of which the file alone says nothing.
        let mut known: HashMap<(NodeId, Option<String>, String), &str> = HashMap::new();
        for (index, config) in self.config.tables.iter().enumerate() {
            let mut catalogues: Vec<(NodeId, Catalogue)> = Vec::new();
            let mut missing = false;
            for member in &mut self.members {
                let Some(node) = member.node.as_deref_mut() else { continue };
                let part = &config.nodes[member.id.index()];
                let found = node.catalogue(&part.table).await;
                match found.map_err(Error::at(&member.name, format!("looking up `{}`", part.table)))? {
                    Some(catalogue) => {
                        let table = (member.id, catalogue.schema.clone(), catalogue.name.clone());
                        if let Some(first) = known.insert(table, &config.name) {
                            let message = format!(
                                "`{first}` and `{}` are both the table `{}` at node `{}`",
                                config.name, catalogue.name, member.name
                            );
                            let help = "give one of them another `table`, or leave it out";
                            checked.problems.push(self.config.diagnostic(&part.place, message, help).to_string());
                        }
                        catalogues.push((member.id, catalogue));
                    }
                    None => {
                        missing = true;
                        let message = format!("there is no table `{}` at {}", part.table, member.name);
                        let is_plain = |node: &TableNode| node.mapping.is_none();
                        let others = config.nodes.iter().enumerate().filter(|(at, _)| *at != member.id.index());
                        let how = match is_plain(part) && others.map(|(_, other)| other).any(is_plain) {
                            true => ", or let `concord load --create` make it as it is at another node",
                            false => " by hand, as a mapping gives the table another shape",
                        };
                        let section = section_at(&config.name, &member.name);
                        let named = match part.table == config.name {
                            true => format!("add: {section} table = \"…\""),
                            false => format!("change `table` in {section}"),
                        };
                        let help = format!(
                            "create it there{how}; or, if it is there, let Concord read it; if it has another name, {named}"
                        );
                        checked.problems.push(self.config.diagnostic(&part.place, message, help).to_string());
                    }
                }
            }
            if missing {
                continue;
            }
            match Table::agreed(&self.config, index, &catalogues, &mut self.plugins) {
                Ok(table) => {
                    let seen = table.seen(&catalogues);
                    numbers::judge(&self.config, index, &seen, checked);
                    numbers::judge_own(&self.config, &table, &catalogues, checked);
                    if let Some(places) = table.interleaved(config, &seen) {
                        checked.interleaved.push((index, places));
                    }
                    let fits = table.fits(&self.config, &catalogues);
                    agreed.push((table, fits));
                }
                Err(problems) => {
                    checked.problems.extend(problems.iter().map(ToString::to_string));
                    checked.tables.push(CheckedTable::refused(&self.config, index, &catalogues));
                }
            }
        }
        Ok(agreed)
    }

    /// The plugins that the file names at the nodes of a table, for one role.
    fn used_at(&mut self, table: &Table, role: impl Fn(&TableNode) -> Option<&PluginUse>) -> Vec<UsedPlugin> {
        let parts = self.config.tables[table.index].nodes.iter().zip(&self.names);
        let used = parts.filter_map(|(part, node)| {
            let used = role(part)?;
            // It was loaded when the table was looked at.
            let config = self.plugins.shown(&self.config, used).unwrap_or_default();
            Some(UsedPlugin { node: node.clone(), plugin: used.name.clone(), config, tried: 0, failed: 0 })
        });
        used.collect()
    }

    fn warn_of(&self, table: &Table, checked: &mut Checked) {
        let warnings = &mut checked.warnings;
        for (at, name) in self.names.iter().enumerate() {
            let node = NodeId(at as u16);
            warnings.extend(self.without_what_is_needed(table, node));
            if let Some(spec) = table.spec(node).filter(|spec| spec.captured && !table.compared) {
                warnings.extend(written_apart(spec).map(|warning| format!("node `{name}`: {warning}")));
            }
            let Some(spec) = table.spec(node).filter(|_| table.takes_rows(node)) else { continue };
            if !spec.user_triggers.is_empty() {
                warnings.push(format!(
                    "node `{name}`: triggers of {} fire on rows that Concord writes too ({}); one that changes the row makes it \
                     wait (docs/triggers.md)",
                    spec.full_name(),
                    spec.user_triggers.join(", ")
                ));
            }
            if let Some(reshape) = table.form(node).and_then(|form| form.lens.mapping()) {
                let made = |name: &str| reshape.shape().columns.iter().any(|made| made.name.eq_ignore_ascii_case(name));
                let copied = |at: usize| reshape.copies().iter().any(|(own, _)| *own == at);
                let unmade = spec.columns.iter().enumerate().filter(|(at, column)| {
                    !column.nullable && !spec.key.contains(at) && !made(&column.name) && !copied(*at)
                });
                let columns: Vec<usize> = unmade.map(|(at, _)| at).collect();
                if !columns.is_empty() {
                    checked.unmade.push(Unmade { table: table.index, node, columns });
                }
            }
            for key in &spec.referenced {
                let found = self.config.tables.iter().find(|other| {
                    let local = &other.nodes[at].table;
                    *local == key.table || local.rsplit('.').next() == Some(&key.table)
                });
                let synced = found.is_some();
                let comes = |other: &&TableConfig| other.nodes[at].filter.is_none() && other.from != Some(node);
                if let Some(other) = found.filter(|other| table.subset(node).is_some() && comes(other)) {
                    warnings.push(format!(
                        "node `{name}`: `{}` refers to `{}`, of which a filter keeps rows away there, and has no filter there itself: \
                         what refers to a row that is kept away waits there for as long as it is; give `{0}` a filter there that keeps \
                         no such rows, or take the foreign key away there",
                        other.name, table.name
                    ));
                }
                if key.on_delete != OnGone::Refuse && !synced {
                    warnings.push(format!(
                        "node `{name}`: `{}` refers to {} and follows its deletes, and is not synced; a delete that arrives \
                         waits while rows refer to it",
                        key.table,
                        spec.full_name()
                    ));
                }
            }
        }
    }

    /// Columns of the table at a node that take no NULL and that others omit: what is inserted at these is written with NULL in them, as
    /// nobody knows their content, and waits. Behind a mapping the plugin may make something of it.
    fn without_what_is_needed(&self, table: &Table, node: NodeId) -> Vec<String> {
        let form = table
            .form(node)
            .filter(|form| table.from.is_none() && table.operations.insert && form.lens.mapping().is_none());
        let Some(Form { spec, .. }) = form else { return Vec::new() };
        let parts = || self.config.tables[table.index].nodes.iter().zip(&self.names);
        let needed = spec.columns.iter().filter(|column| !column.nullable);
        let lacked = needed.filter_map(|column| {
            let shared = &table.columns[column.shared?].name;
            let without: Vec<&str> =
                parts().filter(|(part, _)| part.omits(shared)).map(|(_, name)| name.as_str()).collect();
            (!without.is_empty()).then(|| {
                format!(
                    "node `{}`: rows that are inserted at {} wait here: `{}` of {} does not live there and takes no NULL here, whatever \
                     its default; let it take NULL here, or add it there",
                    self.names[node.index()],
                    without.join(", "),
                    column.name,
                    spec.full_name()
                )
            })
        });
        lacked.collect()
    }

    async fn check_rights(&mut self, checked: &mut Checked) -> Result<()> {
        checked.problems.extend(self.lacking_to_compare().await?);
        if !self.config.keeps_histories() {
            return Ok(());
        }
        for member in &mut self.members {
            let specs = Session::specs(&self.tables, member.id);
            let Some(node) = member.node.as_deref_mut() else { continue };
            let missing = node.missing_rights(&specs).await.map_err(Error::at(&member.name, "looking up rights"))?;
            // Names of tables that may not be seen cannot be looked up.
            if missing.is_empty() {
                let gaps = node.gaps(&specs).await.map_err(Error::at(&member.name, "looking at triggers"))?;
                checked.unrecorded.extend(gaps.iter().map(|gap| format!("node `{}`: {gap}", member.name)));
            }
            for right in missing {
                checked.problems.push(right_told(&member.name, &right));
            }
        }
        Ok(())
    }

    /// What `check` found, if nothing stands in the way.
    pub(super) async fn checked(&mut self) -> Result<Checked> {
        let (mut checked, of_plugins) = self.check_untried().await?;
        checked.warnings.extend(of_plugins);
        if self.members.iter().any(|member| member.away.is_some()) {
            return Err(self.unreachable());
        }
        if !checked.problems.is_empty() {
            return Err(Error::Refused(checked.problems));
        }
        Ok(checked)
    }
}

/// A right that a node's role lacks, with the statement that grants it.
pub(super) fn right_told(node: &str, right: &node::MissingRight) -> String {
    format!("node `{node}`: may not {}; an administrator grants it with:\n  {}", right.what, right.grant)
}
