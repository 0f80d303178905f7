//! A resolver that takes the version with the longest text in a column; docs/src/plugins.md builds it step by step.

use concord_plugin::*;

#[derive(serde::Deserialize)]
struct Config {
    column: String,
}

struct Longest {
    place: usize,
}

impl Plugin for Longest {
    const NAME: &str = "longest";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "The version with the longest text in a column wins";
    const CONFIG_SCHEMA: &str = r#"{
        "type": "object", "additionalProperties": false,
        "required": ["column"], "properties": {"column": {"type": "string"}}
    }"#;
}

impl Resolver for Longest {
    fn open(context: &Context) -> Result<Self, Problem> {
        let config: Config = context.config()?;
        Ok(Longest { place: context.place(&config.column)? })
    }

    fn resolve(&self, conflict: &Conflict) -> Result<Resolution, Problem> {
        let length = |version: &Version| {
            let text = version.row.as_ref().and_then(|row| row[self.place].as_text());
            text.map_or(0, |text| text.chars().count())
        };
        // Of equals the latest: nobody's place in the list may matter.
        let rank = |&at: &usize| {
            let version = &conflict.versions[at];
            (length(version), version.time, at == conflict.latest as usize)
        };
        let longest = (0..conflict.versions.len()).max_by_key(rank);
        Ok(Resolution::Take(longest.unwrap_or(0) as u32))
    }
}

resolver!(Longest);
