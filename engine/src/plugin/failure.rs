//! What went wrong in or about a plugin.

use std::fmt;

/// A part that a plugin can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Filter,
    Mapping,
    Resolver,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Filter, Role::Mapping, Role::Resolver];

    pub fn as_str(&self) -> &'static str {
        match self {
            Role::Filter => "filter",
            Role::Mapping => "mapping",
            Role::Resolver => "resolver",
        }
    }

    /// Where a plugin that plays it is named.
    pub(super) fn place(&self) -> &'static str {
        match self {
            Role::Filter => "a filter is named in [tables.TABLE.nodes.NODE], filter = { plugin = \"…\" }",
            Role::Mapping => "a mapping is named in [tables.TABLE.nodes.NODE], mapping = { plugin = \"…\" }",
            Role::Resolver => "a resolver is named in [tables.TABLE], conflict = { plugin = \"…\" }",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A plugin did not do what it is there for. Reads as: "plugin `stock`, resolver of `items`, resolve: what (code); hint".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub plugin: Box<str>,
    pub role: Option<Role>,
    /// The table that it was to serve.
    pub table: Option<Box<str>>,
    /// The function of the plugin that was called.
    pub function: Option<&'static str>,
    /// Always the same for the same kind of failure: the host's own, or what the plugin answered.
    pub code: Box<str>,
    pub message: Box<str>,
    /// What to do about it.
    pub hint: Option<Box<str>>,
    /// Whether the plugin was not asked at all, since it had failed too often before.
    pub unasked: bool,
}

impl Failure {
    pub fn new(plugin: &str, code: &str, message: impl Into<Box<str>>) -> Failure {
        Failure {
            plugin: plugin.into(),
            role: None,
            table: None,
            function: None,
            code: code.into(),
            message: message.into(),
            hint: None,
            unasked: false,
        }
    }

    pub fn hint(self, hint: impl Into<Box<str>>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    pub(super) fn of(self, role: Role, table: &str) -> Failure {
        Failure { role: Some(role), table: Some(table.into()), ..self }
    }

    pub(super) fn calling(self, function: &'static str) -> Failure {
        Failure { function: Some(function), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin `{}`", self.plugin)?;
        if let Some(role) = self.role {
            write!(f, ", {role}")?;
        }
        if let Some(table) = &self.table {
            write!(f, " of `{table}`")?;
        }
        if let Some(function) = self.function {
            write!(f, ", {function}")?;
        }
        write!(f, ": {} ({})", self.message, self.code)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// A text of a plugin as messages may repeat it: on one line and not endless.
pub(super) fn told(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most + 1).collect();
    match line.char_indices().nth(most) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.trim().to_owned(),
    }
}

/// The same, or something else in place of a text that says nothing.
pub(super) fn told_or(text: &str, most: usize, other: &str) -> String {
    let told = told(text, most);
    if told.is_empty() { other.to_owned() } else { told }
}

/// The same of a text whose end says the most: its first and its last characters.
pub(super) fn told_with_end(text: &str, first: usize, last: usize) -> String {
    let text = text.trim();
    match text.chars().count().checked_sub(first + last) {
        None | Some(0) => told(text, first + last),
        Some(left_out) => {
            let end: String = text.chars().skip(first + left_out).collect();
            format!("{} {}", told(text, first), told(&end, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_stands_for_what_says_nothing() {
        let said = [" \n", "", "no"].map(|text| told_or(text, 5, "it gave no reason"));
        assert_eq!(said, ["it gave no reason", "it gave no reason", "no"]);
    }

    #[test]
    fn of_what_is_too_long_the_end_stays() {
        assert_eq!(told_with_end(" a\nbc ", 2, 2), "a bc");
        assert_eq!(told_with_end("Traceback:\n  in judge\nValueError: no", 5, 14), "Trace… ValueError: no");
        assert_eq!(told_with_end("äöüß", 1, 2), "ä… üß");
        assert_eq!(told_with_end("", 1, 2), "");
    }
}
