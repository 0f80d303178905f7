//! Keys of which each node makes its own: what one node calls 5 is another row than what another calls 5.

use serde::{Deserialize, Serialize};
use serde_json::Value as Document;

use super::domain::Type;
use super::json::{value_from_json, value_to_json};
use super::value::{Json, Key, Value};

/// How the values of a key's column at one node become values that all nodes share, and back.
///
/// It is no plugin's to work out, since keys are compared while rows are locked. Of a rule's two directions each undoes the
/// other wherever it answers, so no two keys become one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum KeyRule {
    /// For whole numbers. The node's own, from 0 on, are shared as every `of`th number, the first of them being `slot`; those of
    /// other nodes are kept below 0. There is no number at the node that is not shared, but for the very large.
    Spread { of: i64, slot: i64 },
    /// For texts. The node's own are shared behind `own`; those that begin with one of `others` belong to other nodes, and are
    /// the same everywhere.
    Prefix { own: String, others: Vec<String> },
}

impl KeyRule {
    /// Why it is no rule, if it is none.
    pub fn wrong(&self) -> Option<String> {
        match self {
            KeyRule::Spread { of, slot } if *of < 2 || !(0..*of).contains(slot) => Some(format!(
                "of {of} nodes none is number {slot}: let `of` be 2 or more, and `slot` 0 or more and below that"
            )),
            KeyRule::Prefix { own, others } => {
                let mut all: Vec<&String> = others.iter().chain([own]).collect();
                all.sort_unstable();
                let begins = |two: &[&String]| two[1].starts_with(two[0].as_str());
                (all[0].is_empty() || all.windows(2).any(begins)).then(|| {
                    "one of the prefixes is empty, or begins with another: it tells no node from the others".to_owned()
                })
            }
            KeyRule::Spread { .. } => None,
        }
    }

    /// Whether two nodes with these rules share the rows of each, and never make the same key.
    pub fn suits(&self, other: &KeyRule) -> bool {
        match (self, other) {
            (KeyRule::Spread { of, slot }, KeyRule::Spread { of: other_of, slot: other_slot }) => {
                of == other_of && slot != other_slot
            }
            (KeyRule::Prefix { own, others }, KeyRule::Prefix { own: other_own, others: other_others }) => {
                others.contains(other_own) && other_others.contains(own)
            }
            _ => false,
        }
    }

    /// What a value of the node's is among the nodes; or why it has no place there.
    pub fn to_shared(&self, local: &Value) -> Result<Value, String> {
        match (self, local) {
            (_, Value::Null) => Ok(Value::Null),
            (KeyRule::Spread { of, slot }, Value::Int(local)) => {
                let shared = match *local {
                    own @ 0.. => own.checked_mul(*of).and_then(|first| first.checked_add(*slot)),
                    // Counted from 0, in the order of what they are among the nodes.
                    other => {
                        let at = -1 - other;
                        let (round, place) = (at / (of - 1), at % (of - 1));
                        let place = if place < *slot { place } else { place + 1 };
                        round.checked_mul(*of).and_then(|first| first.checked_add(place))
                    }
                };
                shared.map(Value::Int).ok_or_else(|| format!("{local} is too large to be shared by {of} nodes"))
            }
            (KeyRule::Prefix { own, others }, Value::Text(local)) => {
                let is_others = others.iter().any(|other| local.starts_with(other.as_str()));
                Ok(if is_others { Value::Text(local.clone()) } else { Value::text(format!("{own}{local}")) })
            }
            (rule, _) => Err(rule.unfit()),
        }
    }

    /// Under what value a shared one is kept at the node; or why it cannot be kept there.
    pub fn to_local(&self, shared: &Value) -> Result<Value, String> {
        match (self, shared) {
            (_, Value::Null) => Ok(Value::Null),
            (KeyRule::Spread { of, slot }, Value::Int(shared)) if *shared >= 0 => {
                let (round, place) = (shared / of, shared % of);
                Ok(Value::Int(match place {
                    own if own == *slot => round,
                    other => -1 - (round * (of - 1) + if other < *slot { other } else { other - 1 }),
                }))
            }
            (KeyRule::Spread { .. }, Value::Int(shared)) => Err(format!("{shared} is a number that no node shares")),
            (KeyRule::Prefix { own, others }, Value::Text(shared)) => {
                let is_others = |text: &str| others.iter().any(|other| text.starts_with(other.as_str()));
                match shared.strip_prefix(own.as_str()) {
                    Some(local) if !is_others(local) => Ok(Value::text(local)),
                    None if is_others(shared) => Ok(Value::Text(shared.clone())),
                    _ => Err("it begins with the prefix of no node, or of two".to_owned()),
                }
            }
            (rule, _) => Err(rule.unfit()),
        }
    }

    /// Who the node is, and a value of its own that is not shared; no rule makes a document of any other.
    fn beside(&self, local: &Value) -> Value {
        Value::Json(Json::new(serde_json::json!([self.owner(), value_to_json(local)]).to_string()))
    }

    /// The inverse of [`KeyRule::beside`]; nothing of another node's.
    fn read_beside(&self, json: &Json) -> Option<Value> {
        let [owner, own] = serde_json::from_str::<[Document; 2]>(json.as_str()).ok()?;
        if owner == self.owner() { value_from_json(&Type::Any, &own) } else { None }
    }

    fn owner(&self) -> Document {
        match self {
            KeyRule::Spread { slot, .. } => format!("slot {slot}").into(),
            KeyRule::Prefix { own, .. } => own.as_str().into(),
        }
    }

    fn unfit(&self) -> String {
        let what = if matches!(self, KeyRule::Spread { .. }) { "a whole number" } else { "a text" };
        format!("it is not {what} that the rule of its key knows")
    }
}

/// A key of a node's among the nodes, by the rules of its columns; it is what it is where there are none. What a rule has no place for
/// gets one beside all others, which no other node has: its row has none there, and its entries can be told all the same.
pub fn shared_key(rules: &[Option<KeyRule>], mut local: Key) -> Key {
    for (rule, value) in rules.iter().zip(&mut local) {
        if let Some(rule) = rule {
            *value = rule.to_shared(value).unwrap_or_else(|_| rule.beside(value));
        }
    }
    local
}

/// The key under which a shared one is kept at a node.
pub fn local_key(rules: &[Option<KeyRule>], mut shared: Key) -> Result<Key, String> {
    for (rule, value) in rules.iter().zip(&mut shared) {
        if let Some(rule) = rule {
            *value = match &*value {
                Value::Json(json) => rule.read_beside(json).ok_or_else(|| rule.unfit())?,
                value => rule.to_local(value)?,
            };
        }
    }
    Ok(shared)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn spread(of: i64, slot: i64) -> KeyRule {
        KeyRule::Spread { of, slot }
    }

    fn prefix(own: &str, others: &[&str]) -> KeyRule {
        KeyRule::Prefix { own: own.into(), others: others.iter().map(|&other| other.into()).collect() }
    }

    /// What is put is what is got, and no two keys become one.
    #[test]
    fn each_direction_undoes_the_other() {
        for of in 2..6 {
            for slot in 0..of {
                let rule = spread(of, slot);
                let shared: Vec<Value> = (-40..40).map(|local| rule.to_shared(&Value::Int(local)).unwrap()).collect();
                let all: HashSet<String> = shared.iter().map(|shared| format!("{shared:?}")).collect();
                assert_eq!(all.len(), 80);
                for (local, shared) in (-40..40).zip(&shared) {
                    assert_eq!(rule.to_local(shared), Ok(Value::Int(local)), "{of} {slot}");
                }
                // What one calls its own every other keeps below 0.
                for other in (0..of).filter(|other| *other != slot) {
                    let kept = spread(of, other).to_local(&rule.to_shared(&Value::Int(7)).unwrap());
                    assert!(matches!(kept, Ok(Value::Int(kept)) if kept < 0));
                    assert!(rule.suits(&spread(of, other)) && !rule.suits(&spread(of + 1, other)));
                }
            }
        }
        let rule = prefix("A:", &["B:", "C:"]);
        for (local, shared) in [("5", "A:5"), ("B:5", "B:5"), ("", "A:"), ("A:5", "A:A:5")] {
            assert_eq!(rule.to_shared(&Value::text(local)), Ok(Value::text(shared)));
            assert_eq!(rule.to_local(&Value::text(shared)), Ok(Value::text(local)));
        }
        for shared in ["A:B:5", "5", "D:5"] {
            rule.to_local(&Value::text(shared)).unwrap_err();
        }
    }

    #[test]
    fn what_has_no_place_is_told() {
        assert!(spread(2, 1).to_shared(&Value::Int(i64::MAX / 2 + 1)).unwrap_err().contains("too large"));
        assert!(spread(2, 1).to_shared(&Value::Int(i64::MIN)).is_err());
        assert!(spread(2, 1).to_local(&Value::Int(-1)).is_err());
        assert!(spread(2, 1).to_shared(&Value::text("5")).is_err());
        assert_eq!(spread(3, 0).to_shared(&Value::Null), Ok(Value::Null));
    }

    /// Such keys are told apart among all nodes, and no other node has them.
    #[test]
    fn what_has_no_place_gets_one_beside_all_others() {
        let odd = [Value::Int(i64::MAX), Value::Int(i64::MIN), Value::text("5"), Value::Bytes(Box::new([65]))];
        let odd = odd.into_iter().chain([
            Value::Float(1.5),
            Value::Uint(u64::MAX),
            Value::Json(Json::new("[\"slot 1\", 5]")),
        ]);
        let rules = [spread(4, 1), prefix("A:", &["B:"])];
        let others = [spread(4, 2), prefix("B:", &["A:"])];
        let mut seen = HashSet::new();
        for value in odd {
            for (rule, other) in rules.iter().zip(&others) {
                let local = Key::from([value.clone(), Value::Int(1)]);
                let of = |rule: &KeyRule| shared_key(&[Some(rule.clone()), None], local.clone());
                if rule.to_shared(&value).is_ok() {
                    continue;
                }
                assert_eq!(local_key(&[Some(rule.clone()), None], of(rule)), Ok(local.clone()));
                local_key(&[Some(other.clone()), None], of(rule)).unwrap_err();
                assert!(seen.insert(format!("{:?}", of(rule))) && of(rule) != of(other));
            }
        }
        assert_eq!(seen.len(), 13);
    }

    #[test]
    fn what_tells_no_nodes_apart_is_no_rule() {
        for rule in
            [spread(1, 0), spread(3, 3), spread(3, -1), prefix("", &["B:"]), prefix("A", &["AB"]), prefix("A", &["A"])]
        {
            assert!(rule.wrong().is_some(), "{rule:?}");
        }
        assert!(spread(3, 2).wrong().is_none() && prefix("A:", &["B:"]).wrong().is_none());
        assert!(!prefix("A:", &["B:"]).suits(&prefix("B:", &["C:"])));
        assert!(!spread(2, 1).suits(&prefix("A:", &["B:"])));
    }
}
