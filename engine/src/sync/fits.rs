//! How the values of each column fare between the nodes, as `check` tells it before anything is carried.

use serde::Serialize;

use super::shape::same_name;
use super::table::Table;
use crate::config::Config;
use crate::model::{Beyond, Domain, Grain, NodeId, Type};
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
                    waiting
                        .extend(lacks(source, target, &column.ty).map(|values| Beyond { values, can_be_cut: false }));
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

/// What the target has not, each kind of values by itself; what neither has need not be told.
fn lacks(source: &CatalogueColumn, target: &CatalogueColumn, ty: &Type) -> impl Iterator<Item = String> {
    let mut own = lines(source, ty);
    match &source.domain {
        Domain::Text { max: Some(max), .. } => own.push(format!("{MORE}{} bytes", u64::from(*max) * 4)),
        // What is rounded as a float of 4 bytes is no round one of 8.
        Domain::Float { bits: 32 } if source.domain != target.domain => own.retain(|line| !line.starts_with(ROUNDING)),
        _ => {}
    }
    if *ty == Type::Uuid {
        own.extend([format!("{OTHER_THAN}16 bytes"), NO_ASCII.to_owned()]);
    }
    let has_neither = move |values: &String| own.iter().any(|own| implies(own, values));
    lines(target, ty).into_iter().filter(move |values| !has_neither(values)).map(|values| shortened(&values))
}

const MORE: &str = "more than ";
const OTHER_THAN: &str = "values of more or fewer than ";
const ROUNDING: &str = "numbers that rounding to ";
const NO_ASCII: &str = "letters that ascii has not";
const FAR_DAYS: &str = "days outside the years 0 to 9999";

/// Whether a column that has not the former values has not the latter either. What is in no form that is known here implies itself.
fn implies(own: &str, other: &str) -> bool {
    if own == other {
        return true;
    }
    if let Some((own_labels, in_order)) = labels(own) {
        return match labels(other) {
            Some((labels, true)) if in_order => {
                let mut rest = labels.iter();
                own_labels.iter().all(|label| rest.any(|other| other == label))
            }
            Some((labels, _)) => !in_order && own_labels.iter().all(|label| labels.contains(label)),
            // Of several labels all together may be one value.
            None if other.starts_with("letters ") => own.is_ascii() && !own.contains("\\u{"),
            None if other.starts_with(OTHER_THAN) => false,
            None => {
                limits(other).is_some_and(|(kind, most)| kind == MORE && most.iter().all(|most| own.len() <= *most))
            }
        };
    }
    match (own, other) {
        ("NaN and infinities", "NaN") | ("times before 1970 or after 2038", FAR_DAYS) => true,
        (NO_ASCII, other) => other.starts_with("letters "),
        (_, other) if other.starts_with(OTHER_THAN) => false,
        (own, other) => limits(own).zip(limits(other)).is_some_and(|((kind, own), (other_kind, most))| {
            kind == other_kind && own.iter().zip(&most).all(|(own, most)| own <= most)
        }),
    }
}

/// The labels of an enum or a set as they are told, between quotes, and whether their order matters.
fn labels(line: &str) -> Option<(Vec<&str>, bool)> {
    let told = line.strip_prefix("labels other than ")?;
    let (mut labels, mut start, mut is_escaped) = (Vec::new(), None, false);
    for (at, letter) in told.char_indices() {
        match (letter, start) {
            _ if is_escaped => is_escaped = false,
            ('\\', _) => is_escaped = true,
            ('"', None) => start = Some(at + 1),
            ('"', Some(from)) => {
                labels.push(&told[from..at]);
                start = None;
            }
            _ => {}
        }
    }
    Some((labels, !told.ends_with('"')))
}

/// Of what a column takes up to so many, the words with which that begins, and the numbers.
fn limits(line: &str) -> Option<(&'static str, Vec<usize>)> {
    let kind = match line.starts_with(OTHER_THAN) {
        true => MORE,
        false => [MORE, ROUNDING, "documents of more than "].into_iter().find(|kind| line.starts_with(*kind))?,
    };
    Some((kind, line.split(' ').filter_map(|word| word.parse().ok()).collect()))
}

/// Which values a column has not. Some of SQLite hold values of types of which their own declaration says nothing.
fn lines(column: &CatalogueColumn, ty: &Type) -> Vec<String> {
    let mut lines: Vec<String> = column.lacks.iter().flat_map(|lacks| lacks.lines()).map(str::to_owned).collect();
    let also = match (&column.domain, ty) {
        (Domain::Loose { .. }, Type::Float) => "NaN",
        (Domain::Loose { .. }, Type::Timestamp | Type::Instant) => FAR_DAYS,
        _ => return lines,
    };
    if !lines.iter().any(|line| line == also) {
        lines.push(also.to_owned());
    }
    lines
}

/// Of hundreds of labels the first will do.
fn shortened(values: &str) -> String {
    match values.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &values[..end]),
        None => values.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: (&Domain, &str), target: (&Domain, &str), ty: &Type) -> Vec<String> {
        let column = |(domain, lacks): (&Domain, &str)| CatalogueColumn {
            name: "v".to_owned(),
            native: String::new(),
            collation: None,
            domain: domain.clone(),
            nullable: true,
            generated: false,
            lacks: Some(lacks.to_owned()).filter(|lacks| !lacks.is_empty()),
            alike: None,
        };
        lacks(&column(source), &column(target), ty).collect()
    }

    #[test]
    fn what_only_the_target_has_not_is_told() {
        let float = &Domain::Float { bits: 64 };
        let plain = "NaN and infinities";
        let unsigned = "NaN and infinities\nnumbers below 0";
        assert_eq!(told((float, plain), (float, unsigned), &Type::Float), ["numbers below 0"]);
        assert_eq!(told((float, unsigned), (float, plain), &Type::Float), [""; 0]);
        let text = &Domain::of(&Type::Text);
        let labels = |labels: &str| format!("labels other than {labels}");
        let (few, more) = (labels("\"a\""), labels("\"a\", \"b\""));
        assert_eq!(told((text, &more), (text, &few), &Type::Text), [few.as_str()]);
        assert_eq!(told((text, &few), (text, &few), &Type::Text), [""; 0]);
        let many = labels(&"ä".repeat(999));
        assert_eq!(told((text, ""), (text, &many), &Type::Text)[0].chars().count(), 203);
    }

    #[test]
    fn what_the_source_has_not_either_is_not_told() {
        let text = &Domain::of(&Type::Text);
        let is_told = |own: &str, other: &str| !told((text, own), (text, other), &Type::Text).is_empty();
        let rounding =
            |before: u32| format!("numbers that rounding to {before} digits before and 2 after the point alters");
        for (own, other) in [
            ("labels other than \"a\"", "labels other than \"a\", \"b\""),
            ("labels other than \"a\", \"c\" in this order", "labels other than \"a\", \"b\", \"c\" in this order"),
            ("labels other than \"a\\\"\", \"b\"", "labels other than \"b\", \"c\", \"a\\\"\" in this order"),
            ("labels other than \"a\", \"b\"", "letters that latin1 has not\nmore than 255 bytes"),
            (rounding(5).as_str(), rounding(7).as_str()),
            ("more than 255 bytes", "more than 65535 bytes"),
            ("values of more or fewer than 16 bytes", "more than 20 bytes"),
            ("letters of four bytes in UTF-8\nletters that ascii has not", "letters that latin1 has not"),
            ("times before 1970 or after 2038", "days outside the years 0 to 9999"),
        ] {
            assert!(!is_told(own, other), "{own:?} and {other:?}");
            assert!(is_told(other, own), "{other:?} and {own:?}");
        }
        for (own, other) in [
            ("labels other than \"ä\"", "letters that ascii has not"),
            ("labels other than \"b\", \"a\" in this order", "labels other than \"a\", \"b\" in this order"),
            ("letters that cp1250 has not", "letters that cp1251 has not"),
            ("more than 16 bytes", "values of more or fewer than 16 bytes"),
            ("values of more or fewer than 8 bytes", "values of more or fewer than 16 bytes"),
        ] {
            assert!(is_told(own, other), "{own:?} and {other:?}");
        }
    }

    /// What the type of the values or the length of the source leaves no room for.
    #[test]
    fn what_no_value_can_be_is_not_told() {
        let spelled = &Domain::Text { max: Some(36), padded: true, nul: true };
        let letters = "letters of four bytes in UTF-8\nletters that ascii has not";
        assert_eq!(told((&Domain::Uuid, ""), (spelled, letters), &Type::Uuid), [""; 0]);
        assert_eq!(told((&Domain::of(&Type::Text), ""), (spelled, letters), &Type::Text).len(), 2);
        let sixteen = "values of more or fewer than 16 bytes";
        assert_eq!(told((&Domain::Uuid, ""), (&Domain::Bytes, sixteen), &Type::Uuid), [""; 0]);
        assert_eq!(told((&Domain::Uuid, ""), (&Domain::Bytes, "more than 8 bytes"), &Type::Uuid).len(), 1);
        let text = &Domain::of(&Type::Text);
        assert_eq!(told((spelled, ""), (text, "more than 255 bytes"), &Type::Text), [""; 0]);
        assert_eq!(told((spelled, ""), (text, "more than 100 bytes"), &Type::Text).len(), 1);
        let (single, double) = (&Domain::Float { bits: 32 }, &Domain::Float { bits: 64 });
        let rounding = "numbers that rounding to 5 digits before and 2 after the point alters";
        assert_eq!(told((single, rounding), (double, rounding), &Type::Float), [rounding]);
        assert_eq!(told((double, rounding), (single, rounding), &Type::Float), [""; 0]);
    }

    /// What a column of SQLite has not, also where nothing in its declaration says what it holds.
    #[test]
    fn loose_columns_have_not_all_of_every_type() {
        let loose = &Domain::Loose { affinity: "BLOB".to_owned(), accepts: Vec::new() };
        let days = "days outside the years 0 to 9999";
        assert_eq!(told((&Domain::of(&Type::Instant), ""), (loose, ""), &Type::Instant), [days]);
        assert_eq!(told((&Domain::of(&Type::Timestamp), days), (loose, ""), &Type::Timestamp), [""; 0]);
        assert_eq!(told((&Domain::of(&Type::Float), ""), (loose, "NaN"), &Type::Float), ["NaN"]);
        assert_eq!(told((&Domain::of(&Type::Float), ""), (loose, ""), &Type::Float), ["NaN"]);
        assert_eq!(told((&Domain::of(&Type::Float), "NaN and infinities"), (loose, ""), &Type::Float), [""; 0]);
        assert_eq!(told((&Domain::of(&Type::Text), ""), (loose, ""), &Type::Text), [""; 0]);
        assert_eq!(told((loose, ""), (loose, ""), &Type::Float), [""; 0]);
    }
}
