//! Reading one section of the file: which keys it may hold, of which types, and where they stand.

use std::ops::Range;

use toml_edit::{Item, TableLike, Value};

use super::diagnostic::{Diagnostic, Place, Show, Source};
use super::{nearest, secret, template};

/// The problems found so far.
pub(super) struct Problems<'a> {
    pub source: &'a Source,
    pub found: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
}

/// A name from the file with the place where it stands, for problems found later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub place: Place,
}

/// One `[section]`, or the same as an inline table.
#[derive(Clone)]
pub(super) struct Section<'a> {
    table: &'a dyn TableLike,
    /// As messages call it, such as "[nodes.office]".
    pub title: String,
    pub place: Place,
    /// How much of its lines may be shown.
    pub show: Show,
}

/// A key of a section and what it is set to.
pub(super) struct Field<'a> {
    pub name: &'a str,
    pub key: Place,
    pub value: Place,
    pub item: &'a Item,
}

impl<'a> Problems<'a> {
    pub fn add(&mut self, place: &Place, show: Show, message: impl AsRef<str>, help: impl AsRef<str>) {
        self.found.push(self.source.diagnostic(place, show, message.as_ref(), help.as_ref()));
    }

    /// A problem of what is not there.
    pub fn nowhere(&mut self, message: &str, help: &str) {
        self.found.push(Diagnostic { line: 1, column: 1, ..Diagnostic::of_file(&self.source.file, message, help) });
    }

    pub fn warn(&mut self, place: &Place, show: Show, message: impl AsRef<str>, help: impl AsRef<str>) {
        self.warnings.push(self.source.diagnostic(place, show, message.as_ref(), help.as_ref()));
    }
}

impl<'a> Section<'a> {
    pub fn root(table: &'a dyn TableLike, source: &Source) -> Section<'a> {
        Section { table, title: "the file".to_owned(), place: source.place(0..0), show: Show::Keys }
    }

    /// The value of `field` as a section, or a problem.
    pub fn open(field: &Field<'a>, title: String, show: Show, problems: &mut Problems<'_>) -> Option<Section<'a>> {
        match field.item.as_table_like() {
            Some(table) => Some(Section { table, title, place: field.key.clone(), show }),
            None => {
                let is = kind(field.item);
                problems.add(
                    &field.key,
                    show,
                    format!("`{}` must be a section, but it is {is}", shown(field.name)),
                    format!("write {} on a line of its own, and its settings below", shown(&title)),
                );
                None
            }
        }
    }

    /// All keys, in the order in which they stand in the file.
    pub fn fields(&self, source: &Source) -> Vec<Field<'a>> {
        let mut fields: Vec<Field> = self
            .table
            .iter()
            .filter_map(|(name, item)| self.table.key(name).map(|key| (key, name, item)))
            .map(|(key, name, item)| {
                let key = key.span().unwrap_or(self.place.start..self.place.end);
                let value = item.span().unwrap_or(key.clone());
                Field { name, key: source.place(key), value: source.place(value), item }
            })
            .collect();
        fields.sort_by_key(|field| field.key.start);
        fields
    }

    pub fn field(&self, name: &str, source: &Source) -> Option<Field<'a>> {
        self.fields(source).into_iter().find(|field| field.name == name)
    }

    /// Refuses every key that is not one of `known`. `advice` has a word to say about some of them.
    pub fn only(&self, known: &[&str], advice: &dyn Fn(&str) -> Option<String>, problems: &mut Problems<'_>) {
        for field in self.fields(problems.source).iter().filter(|field| !known.contains(&field.name)) {
            let misplaced = || {
                (field.name == "plugins")
                    .then(|| "it stands at the top of the file, before the first section".to_owned())
            };
            let help = advice(field.name)
                .or_else(misplaced)
                .unwrap_or_else(|| nearest::suggestion(field.name, known.iter().copied(), "what can stand here"));
            // The value of a misspelled key may be anything, a password too.
            problems.add(
                &field.key,
                Show::Keys,
                format!("unknown key `{}` in {}", shown(field.name), shown(&self.title)),
                help,
            );
        }
    }

    /// A text that is not empty.
    pub fn text(&self, name: &str, example: &str, problems: &mut Problems<'_>) -> Option<Named> {
        let field = self.field(name, problems.source)?;
        self.text_of(&field.item.as_value(), &field, example, problems)
    }

    fn text_of(
        &self,
        value: &Option<&Value>,
        field: &Field<'_>,
        example: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Named> {
        match value.and_then(Value::as_str) {
            Some("") => {
                let what = format!("`{}` is empty", shown(field.name));
                problems.add(&field.value, self.show, what, format!("for example: {} = {example}", field.name));
                None
            }
            Some(text) => Some(Named { name: text.to_owned(), place: field.value.clone() }),
            None => {
                self.wrong_type(field, "a text in quotes", example, problems);
                None
            }
        }
    }

    /// A list of texts that is not empty and has nothing twice.
    pub fn names(&self, name: &str, example: &str, problems: &mut Problems<'_>) -> Option<Vec<Named>> {
        let field = self.field(name, problems.source)?;
        let Some(array) = field.item.as_array() else {
            self.wrong_type(&field, "a list of texts", example, problems);
            return None;
        };
        if array.is_empty() {
            let what = format!("`{name}` is an empty list");
            problems.add(&field.value, self.show, what, format!("for example: {name} = {example}; or leave it out"));
            return None;
        }
        let mut names: Vec<Named> = Vec::new();
        for value in array.iter() {
            let place = value.span().map_or(field.value.clone(), |span: Range<usize>| problems.source.place(span));
            let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
                let what = format!("`{name}` must be a list of texts, but this is {}", type_name(value));
                problems.add(&place, self.show, what, format!("for example: {name} = {example}"));
                continue;
            };
            match names.iter().any(|other| other.name == text) {
                true => problems.add(
                    &place,
                    self.show,
                    format!("`{}` stands twice in `{name}`", shown(text)),
                    "remove one of them",
                ),
                false => names.push(Named { name: text.to_owned(), place }),
            }
        }
        Some(names)
    }

    pub fn wrong_type(&self, field: &Field<'_>, want: &str, example: &str, problems: &mut Problems<'_>) {
        let is = kind(field.item);
        let what = format!("`{}` must be {want}, but it is {is}", shown(field.name));
        problems.add(&field.key, self.show, what, format!("for example: {} = {example}", field.name));
    }
}

/// A name from the file as a message may repeat it: on one line, no longer than names are, and no URL.
pub(super) fn shown(name: &str) -> String {
    let line = secret::one_line(&secret::without_urls(name));
    match line.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// The same as a key of the file, so that what a message proposes can be pasted.
pub(super) fn shown_key(name: &str) -> String {
    shown(&template::key(name))
}

fn kind(item: &Item) -> &'static str {
    match item {
        Item::Value(value) => type_name(value),
        Item::Table(_) => "a section",
        Item::ArrayOfTables(_) => "a list of sections (`[[…]]`)",
        Item::None => "nothing",
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(text) if text.value().is_empty() => "an empty text",
        Value::String(_) => "a text",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::InlineTable(_) => "a section",
    }
}
