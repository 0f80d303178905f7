//! By which filter and through which mapping rows were brought to a node: what is kept of that beside its table, so that another file
//! does not go on as if nothing had changed.

use super::kept_shape::Kept;
use super::settle::Rule;
use super::table::Table;
use crate::digest::short_digest;
use crate::model::TableSpec;

/// How rows were brought to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// What tells by which filter.
    pub filter: Option<String>,
    /// What tells through which mapping.
    pub mapping: Option<String>,
}

impl Marks {
    /// Both, of which those that are to become others are marked as being moved.
    pub fn moving(self, to: &Marks, table: &Table) -> Marks {
        let mark = |was: Option<String>, is: &Option<String>| if was == *is { was } else { Some(moving(table)) };
        Marks { filter: mark(self.filter, &to.filter), mapping: mark(self.mapping, &to.mapping) }
    }

    /// Whether rows are being moved as this file says.
    pub fn are_moved_by(&self, table: &Table) -> bool {
        let moving = Some(moving(table));
        self.filter == moving || self.mapping == moving
    }
}

/// Why a table cannot be synced at a node to which rows were brought by another filter or through another mapping, by the shape that
/// is kept there: what is in the file now says otherwise which rows belong there, or what they are, and nobody has looked at them yet.
pub fn brought_otherwise(kept: Option<&str>, spec: &TableSpec) -> Option<String> {
    let kept = kept.filter(|kept| *kept != spec.shape)?;
    let (was, is) = (marks(kept), marks(&spec.shape));
    let is_moving = |mark: &Option<String>| mark.as_ref().is_some_and(|mark| mark.starts_with(REFILTERED));
    let what = match (was, is) {
        (was, is) if was == is => return None,
        (was, is) if is_moving(&was.filter) && was.filter != is.filter => {
            "a load that was to move rows by another filter has not come to its end"
        }
        (was, _) if is_moving(&was.mapping) => {
            "a load that was to bring rows in step through another mapping has not come to its end"
        }
        (was, is) if was.filter != is.filter => match (was.filter, is.filter) {
            (None, _) => "this file has a filter there, and rows were brought there without one",
            (_, None) => "this file has no filter there, and rows were brought there by one",
            _ => "the filter there is another in this file than the one by which rows were brought there",
        },
        (Marks { mapping: None, .. }, _) => "this file has a mapping there, and rows were brought there without one",
        (_, Marks { mapping: None, .. }) => "this file has no mapping there, and rows were brought there through one",
        _ => "the mapping there is another in this file than the one through which rows were brought there",
    };
    Some(what.to_owned())
}

/// What is told besides, as it may be told by somebody who does not know that the file is another one by now.
pub const WATCHED: &str = "start `concord watch` again if it began before the file was changed";

/// What is to be done about it. Through another mapping rows that agreed may differ, so that something has to decide; and what it
/// makes may be of other kinds, which the nodes have to agree on first.
pub fn remedy(kept: Option<&str>, table: &Table, spec: &TableSpec) -> String {
    let is_remapped = is_remapped(kept, spec);
    let undecided = is_remapped && Rule::of(table, None).is_none();
    let disagrees = is_remapped && kept.is_some_and(|kept| columns(kept) != columns(&spec.shape));
    let before = if disagrees { "after `concord install`, by which nodes agree on its columns, " } else { "" };
    let prefer = if undecided { " --prefer NODE" } else { "" };
    format!("{before}run `concord load --refilter --table {}{prefer}`", spec.name)
}

/// Whether rows were brought to a node through another mapping than this file has there, by the shape that is kept there.
pub fn is_remapped(kept: Option<&str>, spec: &TableSpec) -> bool {
    kept.is_some_and(|kept| marks(kept).mapping != marks(&spec.shape).mapping)
}

/// The shared columns of a shape, with their types.
fn columns(shape: &str) -> Option<serde_json::Value> {
    serde_json::from_str::<serde_json::Value>(shape).ok()?.get("columns").cloned()
}

/// What is kept in place of the mark of a filter or mapping while rows are moved by others, followed by what [`moving`] tells of these.
pub const REFILTERED: &str = "refiltered";

/// What is kept beside a table while its rows are moved by the filters and mappings of this file: what bears it was moved by no others
/// since.
pub fn moving(table: &Table) -> String {
    let marks =
        (0..).zip(&table.subsets).filter_map(|(at, subset): (usize, _)| Some((at, subset.as_ref()?.mark.as_ref()?)));
    let mappings = (0..).zip(&table.mappings).filter_map(|(at, mark): (usize, _)| Some((at, mark.as_ref()?)));
    let mut text = format!("{:?}", marks.collect::<Vec<_>>());
    if !table.mappings.is_empty() {
        text += &format!("{:?}", mappings.collect::<Vec<_>>());
    }
    format!("{REFILTERED} {}", short_digest(text))
}

/// What is kept in place of a mark where a table is installed: it stays, but nobody knows what was done meanwhile to a table
/// whose rows are being moved.
pub fn installed_beside(marks: Marks) -> Marks {
    let beside = |mark: String| if mark.starts_with(REFILTERED) { REFILTERED.to_owned() } else { mark };
    Marks { filter: marks.filter.map(beside), mapping: marks.mapping.map(beside) }
}

/// How rows were brought to a node, by the shape that is kept there.
pub fn marks(kept: &str) -> Marks {
    let kept = serde_json::from_str::<Kept>(kept).ok();
    kept.map_or_else(Marks::default, |kept| Marks { filter: kept.filter, mapping: kept.mapping })
}

/// A shape as if rows had been brought to its node so.
pub fn with_marks(shape: &str, Marks { filter, mapping }: Marks) -> String {
    let Ok(mut kept) = serde_json::from_str::<Kept>(shape) else { return shape.to_owned() };
    (kept.filter, kept.mapping) = (filter, mapping);
    serde_json::to_string(&kept).unwrap_or_else(|_| shape.to_owned())
}
