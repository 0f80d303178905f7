//! What may be shown of a line or a message that may hold a password.
//!
//! Lines come back as their characters with the byte each came from, so that a mark under the line can still find its
//! place after something was left out.

/// A shown character and the byte of the line it stands for.
pub(super) type Shown = Vec<(usize, char)>;

const HIDDEN: char = '…';

/// The line up to a URL, of which only the scheme is shown: a password may contain what looks like its end.
pub(super) fn line(line: &str) -> Shown {
    let end = line.find("://").map_or(line.len(), |at| at + 3);
    let mut shown: Shown = line[..end].char_indices().collect();
    if end < line.len() {
        shown.push((line.len(), HIDDEN));
    }
    shown
}

/// Text that others wrote, as a message may repeat it: each of its lines up to a URL.
pub(crate) fn without_urls(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|part| line(part).into_iter().map(|(_, c)| c).collect()).collect();
    lines.join("\n")
}

/// A text on one line: nothing that a value, a name or a reason holds begins another, or steers the terminal.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The line's keys and, of its values, only quotes, brackets and the harmless parts of URLs. The line is well-formed
/// TOML.
pub(super) fn keys(line: &str) -> Shown {
    but(line, None)
}

/// The line, or, where it may say to a plugin what nobody else is to know, its keys and the plugin's name. The line is
/// well-formed TOML.
pub(super) fn without_configuration(line: &str) -> Shown {
    match ["plugin", "mapping.", "filter.", "conflict."].iter().any(|word| line.contains(word)) {
        true => but(line, Some("plugin")),
        false => self::line(line),
    }
}

/// The line's keys, and the value of one of them.
fn but(line: &str, open: Option<&str>) -> Shown {
    let mut shown = Shown::new();
    let mut at = 0;
    let mut in_value = false;
    let mut key = "";
    while let Some(c) = line[at..].chars().next() {
        let end = match c {
            '#' => break,
            '"' | '\'' => closing(line, at),
            _ if punctuation(c) => at + c.len_utf8(),
            _ => line[at..].find(|c| punctuation(c) || matches!(c, '"' | '\'' | '#')).map_or(line.len(), |n| at + n),
        };
        let token = &line[at..end];
        let is_key = !in_value || line[end..].trim_start().starts_with('=');
        if is_key && !punctuation(c) {
            key = token.rsplit('.').next().unwrap_or_default();
        }
        if punctuation(c) || is_key || open == Some(key) {
            shown.extend(self::line(token).into_iter().map(|(n, c)| (at + n, c)));
        } else if matches!(c, '"' | '\'') {
            let inside = token.trim_matches(c);
            shown.push((at, c));
            shown.extend(super::url::harmless(inside).chars().map(|c| (at, c)));
            shown.push((end - 1, c));
        } else {
            shown.push((at, HIDDEN));
        }
        in_value |= c == '=';
        at = end;
    }
    shown
}

/// What stands before the line's first `=`; of a line without one nothing, unless it opens a section.
pub(super) fn start(line: &str) -> Shown {
    match line.find('=') {
        Some(end) => {
            let mut shown = self::line(&line[..=end]);
            shown.extend([(end + 1, ' '), (line.len(), HIDDEN)]);
            shown
        }
        None if line.trim_start().starts_with('[') => self::line(line),
        None => vec![(line.len(), HIDDEN)],
    }
}

fn punctuation(c: char) -> bool {
    c.is_whitespace() || matches!(c, '=' | '{' | '}' | '[' | ']' | ',')
}

/// The byte after the quote that closes the one at `open`, or the line's end.
fn closing(line: &str, open: usize) -> usize {
    let quote = line.as_bytes()[open];
    let mut escaped = false;
    for (at, byte) in line.bytes().enumerate().skip(open + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quote == b'"' => escaped = true,
            _ if byte == quote => return at + 1,
            _ => {}
        }
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shown: Shown) -> String {
        shown.into_iter().map(|(_, c)| c).collect()
    }

    #[test]
    fn values_of_nodes_are_hidden() {
        for (line, want) in [
            (r#"url = "postgres://me:canary@db:5/shop?password=canary""#, r#"url = "postgres://…@db:5/shop?…""#),
            (r#"office = { url = "canary", pin = 1234 } # canary"#, r#"office = { url = "…", pin = … } "#),
            (r"[nodes.office]", r"[nodes.office]"),
            (r#"url = "sqlite:a.db""#, r#"url = "sqlite:a.db""#),
            (r#"url = "canary \" canary""#, r#"url = "…""#),
        ] {
            assert_eq!(text(keys(line)), want);
        }
    }

    #[test]
    fn what_plugins_are_told_is_hidden() {
        for (line, want) in [
            (r#"mapping = { plugin = "redact", key = "canary" }"#, r#"mapping = { plugin = "redact", key = "…" }"#),
            (
                r#"mapping = { key = "canary", plugin = "redact" } # canary"#,
                r#"mapping = { key = "…", plugin = "redact" } "#,
            ),
            (r#"plugin = "redact""#, r#"plugin = "redact""#),
            (r#"b.mapping.key = "canary""#, r#"b.mapping.key = "…""#),
            ("[tables.t.nodes.b.mapping]", "[tables.t.nodes.b.mapping]"),
            (r#"conflict = "latest""#, r#"conflict = "latest""#),
        ] {
            assert_eq!(text(without_configuration(line)), want);
        }
    }

    #[test]
    fn broken_lines_show_their_key_alone() {
        assert_eq!(text(start(r#"url = "postgres://me:can"ary@db"#)), "url = …");
        assert_eq!(text(start("canary@db")), "…");
        assert_eq!(text(start("[nodes.x")), "[nodes.x");
    }

    #[test]
    fn elsewhere_urls_are_hidden() {
        assert_eq!(text(line(r#"a = "x://can\"ary@h" # y"#)), r#"a = "x://…"#);
    }
}
