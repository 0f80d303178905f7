//! A bundle's part of a configuration file: what stands between two lines that tell where it comes from.

use std::ops::Range;

/// A part that stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Where, in bytes, and the number of its first line.
    pub at: Range<usize>,
    pub line: usize,
    pub version: String,
    /// What parameters were set to when it was written.
    pub set: Vec<(String, String)>,
}

/// How the first line of a part ends.
const WROTE: &str = "from here to its end `concord bundle add` wrote it";

fn end(name: &str) -> String {
    format!("# end of bundle {name}")
}

/// The text of a part, with what it was told, so that another version can be told the same.
pub(super) fn written(name: &str, version: &str, given: &[(String, String)], sections: &str) -> String {
    let head = format!("# bundle {name} {version}: {WROTE}\n");
    // On one line whatever stands in it.
    let set = |(name, value): &(String, String)| format!("# set {name}={}\n", serde_json::Value::from(value.as_str()));
    let set: String = given.iter().map(set).collect();
    format!("{head}{set}{sections}{}\n", end(name))
}

impl Part {
    /// The part of the bundle of this name; or in words why it cannot be told how far it goes. A text of several lines in it may
    /// have a line that looks like its end, so it goes to the last of them before another part of the bundle.
    pub fn of(name: &str, text: &str) -> Result<Option<Part>, String> {
        let begin = format!("# bundle {name} ");
        let mut at = 0;
        let mut lines = text.split_inclusive('\n').enumerate().map(|(number, line)| {
            at += line.len();
            (number + 1, at - line.len()..at, line.trim_end())
        });
        // A comment of a user's may begin alike.
        let begins = |line: &str| line.starts_with(&begin) && line.ends_with(WROTE);
        let Some((line, first, head)) = lines.find(|(_, _, line)| begins(line)) else { return Ok(None) };
        let version = head[begin.len()..].split(':').next().unwrap_or_default().to_owned();
        let (mut set, mut is_head, mut last) = (Vec::new(), true, None);
        for (_, place, text) in lines {
            if begins(text) {
                break;
            }
            if text == end(name) {
                last = Some(place.end);
            }
            let told = text.strip_prefix("# set ").and_then(|told| told.split_once('=')).filter(|_| is_head);
            let told = told.and_then(|(name, value)| Some((name.to_owned(), serde_json::from_str(value).ok()?)));
            is_head = told.is_some();
            set.extend(told);
        }
        if let Some(end) = last {
            return Ok(Some(Part { at: first.start..end, line, version, set }));
        }
        Err(format!("{line}: the part of the bundle `{name}` has no end; put `{}` in a line below it", end(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_as_it_was_written() {
        let given = [("items".to_owned(), "a \"b\"\n[nodes.x]".to_owned()), ("n".to_owned(), "5".to_owned())];
        let part = written("shop", "1.0.0", &given, "[tables.x]\n# set no=\"more\"\n");
        assert_eq!(part.lines().count(), 6, "{part}");
        let text = format!("name = \"x\"\n\n{part}# bundle shops 2.0.0: {WROTE}\n");
        let found = Part::of("shop", &text).unwrap().unwrap();
        assert_eq!(text[found.at.clone()], part);
        assert_eq!((found.line, found.version.as_str(), &found.set[..]), (3, "1.0.0", &given[..]));
        assert_eq!(Part::of("sho", &text), Ok(None));
        assert!(Part::of("shops", &text).unwrap_err().starts_with("9: the part of the bundle `shops` has no end"));
    }

    #[test]
    fn a_comment_that_names_the_bundle_does_not_begin_its_part() {
        let part = written("shop", "1.0.0", &[], "[tables.x]\n");
        let own = "# bundle shop needs this one too\n[tables.mine]\n";
        let text = format!("{own}{part}");
        let found = Part::of("shop", &text).unwrap().unwrap();
        assert_eq!((&text[found.at], found.line, found.version.as_str()), (&part[..], 3, "1.0.0"));
        assert_eq!(Part::of("shop", own), Ok(None));
    }

    #[test]
    fn a_line_that_looks_like_its_end_does_not_end_a_part() {
        let country = "DE\n# end of bundle shop\nx";
        let given = [("country".to_owned(), country.to_owned())];
        let sections =
            format!("[tables.x]\nname = \"\"\"\n{country}\"\"\"\n# end of bundle shop\nmode = \"compare\"\n");
        let part = written("shop", "1.0.0", &given, &sections);
        let found = |text: &str| {
            let found = Part::of("shop", text).unwrap().unwrap();
            (text[found.at].to_owned(), found.set)
        };
        let below = "# below\n[tables.y]\n";
        assert_eq!(found(&format!("{part}{below}")), (part.clone(), given.to_vec()));
        // What was copied by hand is another part, and so is what stands between.
        let copied = format!("{part}{below}{part}");
        assert_eq!(found(&copied), (part.clone(), given.to_vec()));
        let other = written("bar", "1.0.0", &[], "[tables.z]\n");
        assert_eq!(found(&format!("{other}{part}{other}")).0, part);
    }
}
