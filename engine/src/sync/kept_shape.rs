//! The shape of a table as it is kept beside it, so that it stays what it was while nodes are away.

use serde::{Deserialize, Serialize};

use super::brought::Marks;
use super::plugins::Plugins;
use super::shape::{mappings, policy, subsets};
use super::table::{SharedColumn, Table};
use crate::config::{Config, Diagnostic};
use crate::model::{Grain, TableSpec, Type};

/// The shared shape as it is kept beside every installed table, so that it stays what it was while nodes are away.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    columns: Vec<(String, String)>,
    key: Vec<String>,
    /// Columns recorded before and after each change.
    #[serde(default)]
    images: Vec<String>,
    /// Under what names they are recorded at the node where this is kept, if a mapping makes them of other columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    own_images: Vec<String>,
    /// To what values are brought, by column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    grains: Vec<(String, Grain)>,
    /// The columns that do not live at the node where this is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    omits: Option<Vec<String>>,
    /// What tells by which filter rows were brought to the node where this is kept, see [`Subset::mark`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What tells through which mapping they were brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
}

impl Kept {
    /// The columns, and the places of the key in them.
    fn read(text: &str) -> Option<(Vec<SharedColumn>, Vec<usize>)> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        let column = |(name, ty): (String, String)| Some(SharedColumn { name, ty: type_of(&ty)?, grain: None });
        let mut columns: Vec<SharedColumn> = kept.columns.into_iter().map(column).collect::<Option<_>>()?;
        for (name, grain) in kept.grains {
            columns.iter_mut().find(|column| column.name == name)?.grain = Some(grain);
        }
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        let key = kept.key.iter().map(place).collect::<Option<_>>()?;
        Some((columns, key))
    }
}

const NATIVE: &str = "native ";

fn type_text(ty: &Type) -> String {
    match ty {
        Type::Native(name) => format!("{NATIVE}{name}"),
        ty => ty.to_string(),
    }
}

fn type_of(text: &str) -> Option<Type> {
    match text.strip_prefix(NATIVE) {
        Some(name) => Some(Type::Native(name.to_owned())),
        None => Type::PLAIN.into_iter().find(|ty| ty.to_string() == text),
    }
}

impl Table {
    /// The table without any node's form, in the shape that was kept; `None` if the text is not such a shape. Fails if its
    /// plugin cannot be opened.
    pub fn from_kept(
        config: &Config,
        index: usize,
        kept: &str,
        plugins: &mut Plugins,
    ) -> Result<Option<Table>, Box<Diagnostic>> {
        let table = &config.tables[index];
        let Some((columns, key)) = Kept::read(kept) else { return Ok(None) };
        let (policy, resolver) = policy(config, table, &columns, &key, plugins)?;
        let subsets = subsets(config, table, &columns, &key, &policy, plugins)?;
        let mappings = mappings(config, table, plugins)?;
        let place = |name: &String| columns.iter().position(|column| column.name == *name);
        Ok(Some(Table {
            index,
            name: table.name.clone(),
            key,
            policy,
            resolver,
            subsets,
            mappings,
            operations: table.operations,
            updated: table.updated.as_ref().and_then(|named| place(&named.name)),
            from: table.from,
            compared: false,
            forms: vec![None; config.nodes.len()],
            stopped: None,
            filtered_otherwise: None,
            columns,
        }))
    }

    /// The shape as text, see [`TableSpec::shape`].
    pub fn kept(&self) -> String {
        self.kept_at(None, Marks::default(), Vec::new())
    }

    /// The same as it is kept at a node: with the columns that do not live there, how rows are brought there, and under what names a
    /// mapping lets it record the columns of which it records anything.
    pub(super) fn kept_at(
        &self,
        omits: Option<Vec<String>>,
        Marks { filter, mapping }: Marks,
        own_images: Vec<String>,
    ) -> String {
        let columns = self.columns.iter().map(|column| (column.name.clone(), type_text(&column.ty))).collect();
        let names = |places: &[usize]| places.iter().map(|&place| self.columns[place].name.clone()).collect();
        let images = names(self.policy.recorded());
        let grains = self.columns.iter().filter_map(|column| Some((column.name.clone(), column.grain?))).collect();
        serde_json::to_string(&Kept {
            columns,
            key: names(&self.key),
            images,
            own_images,
            grains,
            omits,
            filter,
            mapping,
        })
        .unwrap_or_default()
    }

    /// Whether the table had another key in the shape that was kept, so that rows which wait are found no more.
    pub fn had_another_key(&self, kept: &str) -> bool {
        let parse = |text: &str| serde_json::from_str::<Kept>(text).ok().map(|kept| kept.key);
        parse(kept) != parse(&self.kept())
    }
}

/// Why a table cannot be synced at a node where another `omit` was installed, by the shape that is kept there: what stands in a column
/// that comes to live there has missed all changes, and what is changed in one that goes would be passed over.
pub fn omits_otherwise(kept: Option<&str>, spec: &TableSpec) -> Option<String> {
    let kept = kept.filter(|kept| *kept != spec.shape)?;
    let (was, is) = (omitted(kept)?, omitted(&spec.shape)?);
    (was != is).then(|| {
        format!("it was installed with omit = {was:?}, and this file, which may be the older one, has omit = {is:?}")
    })
}

/// The columns that did not live at a node when it was installed, by the shape that is kept there; `None` if it does not tell.
pub fn omitted(kept: &str) -> Option<Vec<String>> {
    serde_json::from_str::<Kept>(kept).ok()?.omits
}

/// Whether a history made for the shape that was kept cannot serve this one, because its entries lack columns.
pub fn needs_new_history(kept: &str, shape: &str) -> bool {
    let parse =
        |text: &str| serde_json::from_str::<Kept>(text).ok().map(|kept| (kept.key, kept.images, kept.own_images));
    parse(kept) != parse(shape)
}
