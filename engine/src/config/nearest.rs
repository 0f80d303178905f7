//! The valid name that a misspelled one was probably meant to be.

/// The most similar of `names`, if any is similar enough to be worth suggesting.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    names
        .into_iter()
        .map(|candidate| match name.len() > 2 && candidate.starts_with(&name) {
            true => (1, candidate),
            false => (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), candidate),
        })
        // A third of the letters may be wrong, and of short names one.
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Names as a sentence lists them: "`a`, `b` or `c`".
pub(super) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// "did you mean `a`?" if a name is near, and the list of them all.
pub(crate) fn suggestion<'a>(name: &str, names: impl IntoIterator<Item = &'a str> + Clone, what: &str) -> String {
    let all = one_of(names.clone());
    if names.clone().into_iter().count() == 1 {
        return format!("{what}: {all}");
    }
    match nearest(name, names) {
        Some(near) => format!("did you mean `{near}`? {what}: {all}"),
        None => format!("{what}: {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["conflict", "from", "operations", "nodes"];
        assert_eq!(nearest("conflct", names), Some("conflict"));
        assert_eq!(nearest("Nodes", names), Some("nodes"));
        assert_eq!(nearest("form", names), Some("from"));
        assert_eq!(nearest("latest", ["park", "latest-wins"]), Some("latest-wins"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
