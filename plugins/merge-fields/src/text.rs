//! Merging texts line by line: what was changed in different places is kept.

use concord_plugin::{Change, Value};

/// Lines that are compared at most where two texts differ.
const MOST: usize = 3_000;

/// In place of the lines of the base from `start` to before `end`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edit<'a> {
    start: usize,
    end: usize,
    lines: Vec<&'a str>,
}

/// What one node did to the column.
struct Step<'a> {
    node: &'a str,
    /// `None` if there was no row.
    before: Option<&'a Value>,
    after: Option<&'a Value>,
}

/// The text of the version at `start` with all that the changes did which it has not seen; `place` is where the column stands
/// among the recorded ones. Each is merged by itself: versions may have changes in common that others lack, so there need not be one
/// text of which all of them were made.
pub fn merge(start: &Value, changes: &[&Change], place: usize) -> Result<Value, String> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for change in changes {
        let [before, after] = [&change.before, &change.after].map(|row| row.as_ref().map(|row| &row[place]));
        // What a node takes back it left alone, unless another went on from there.
        let last = steps.iter().rposition(|step| step.node == change.node);
        let goes_on = |last: &usize| {
            let is_upon = |step: &Step<'_>| alike(steps[*last].after, step.before);
            alike(steps[*last].after, before) && !steps[last + 1..].iter().any(is_upon)
        };
        match last.filter(goes_on) {
            Some(last) => steps[last].after = after,
            None => steps.push(Step { node: &change.node, before, after }),
        }
    }
    let mut merged = start.clone();
    for Step { before, after, .. } in steps {
        if let Some(after) = after {
            merged = both(before, &merged, after)?;
        }
    }
    Ok(merged)
}

fn alike(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.same(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// What came of a base in two ways, brought together. A base of NULL is an empty text; what became NULL has no lines to merge.
fn both(base: Option<&Value>, one: &Value, other: &Value) -> Result<Value, String> {
    if one.same(other) {
        return Ok(one.clone());
    }
    let base = base.ok_or("what it was before is not known")?;
    // What was left alone has no say, so that NULL stays NULL.
    let changed: Vec<&Value> = [one, other].into_iter().filter(|value| !value.same(base)).collect();
    if changed.iter().any(|version| version.is_null()) {
        return match changed.iter().all(|version| version.is_null()) {
            true => Ok(Value::Null),
            false => Err("it was set to NULL and changed besides".to_owned()),
        };
    }
    let base = text(base)?;
    let base: Vec<&str> = base.split('\n').collect();
    let mut edits: Vec<Edit<'_>> = Vec::new();
    for version in changed {
        edits.extend(edits_of(&base, text(version)?)?);
    }
    edits.sort();
    // What several did alike is done once.
    edits.dedup();
    let mut merged: Vec<&str> = Vec::new();
    let mut done = 0;
    let mut last: Option<&Edit<'_>> = None;
    for edit in &edits {
        let collides = |last: &Edit<'_>| edit.start < last.end || (edit.start == last.start && edit.end == last.end);
        if last.is_some_and(collides) {
            return Err(format!("its line {} was changed in several ways", edit.start + 1));
        }
        merged.extend(&base[done..edit.start]);
        merged.extend(&edit.lines);
        (done, last) = (edit.end, Some(edit));
    }
    merged.extend(&base[done..]);
    Ok(Value::Text(merged.join("\n")))
}

fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Null => Ok(""),
        Value::Text(text) => Ok(text),
        _ => Err("there are values that are no text".to_owned()),
    }
}

/// What has to be done to the base to get a text.
fn edits_of<'a>(base: &[&str], text: &'a str) -> Result<Vec<Edit<'a>>, String> {
    let lines: Vec<&'a str> = text.split('\n').collect();
    let head = base.iter().zip(&lines).take_while(|(a, b)| a == b).count();
    let rest = base.len().min(lines.len()) - head;
    let tail = base.iter().rev().zip(lines.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let (old, new) = (&base[head..base.len() - tail], &lines[head..lines.len() - tail]);
    if old.len() > MOST || new.len() > MOST {
        return Err(format!("more than {MOST} lines differ"));
    }
    // The lengths of the longest common subsequences of what is behind each pair of places.
    let width = new.len() + 1;
    let mut common = vec![0u16; (old.len() + 1) * width];
    for at in (0..old.len()).rev() {
        for to in (0..new.len()).rev() {
            common[at * width + to] = match old[at] == new[to] {
                true => common[(at + 1) * width + to + 1] + 1,
                false => common[(at + 1) * width + to].max(common[at * width + to + 1]),
            };
        }
    }
    let mut edits: Vec<Edit<'a>> = Vec::new();
    let (mut at, mut to) = (0, 0);
    while at < old.len() || to < new.len() {
        if at < old.len() && to < new.len() && old[at] == new[to] {
            (at, to) = (at + 1, to + 1);
            continue;
        }
        let (from_at, from_to) = (at, to);
        while (at < old.len() || to < new.len()) && !(at < old.len() && to < new.len() && old[at] == new[to]) {
            let skips_old =
                to == new.len() || (at < old.len() && common[(at + 1) * width + to] >= common[at * width + to + 1]);
            (at, to) = if skips_old { (at + 1, to) } else { (at, to + 1) };
        }
        edits.push(Edit { start: head + from_at, end: head + at, lines: new[from_to..to].to_vec() });
    }
    Ok(edits)
}
