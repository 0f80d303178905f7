//! A plugin that plays two roles: what is not empty belongs, and of versions the latest wins.

use concord_plugin::*;

struct Twofold;

impl Plugin for Twofold {
    const NAME: &str = "twofold";
    const SUMMARY: &str = "Plays two roles";
}

impl Filter for Twofold {
    fn open(_: &Context) -> Result<Self, Problem> {
        Ok(Twofold)
    }

    fn columns(&self) -> Vec<String> {
        vec!["note".to_owned()]
    }

    fn keeps(&self, row: &[Value]) -> Result<bool, Problem> {
        Ok(row[0].as_text() != Some(""))
    }
}

impl Resolver for Twofold {
    fn open(_: &Context) -> Result<Self, Problem> {
        Ok(Twofold)
    }

    fn resolve(&self, conflict: &Conflict) -> Result<Resolution, Problem> {
        Ok(Resolution::Take(conflict.latest))
    }
}

plugin!(Twofold: filter, resolver);
