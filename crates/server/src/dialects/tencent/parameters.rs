//! The parameters of an action, the same from JSON and from dotted names (`Tags.0.Key=team`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::{Code, Refusal};
use crate::rest::json;

/// How many parts a dotted name may have. The deepest of the vendor's has four.
const PARTS_MAX: usize = 8;

/// The parameters of an action. `null` is the same as not given, as the vendor's clients mean it.
#[derive(Debug, PartialEq)]
pub(super) struct Parameters(Map<String, Value>);

/// A dotted name's place: a value, or places below it.
#[derive(Debug)]
enum Place {
    Value(String),
    Below(BTreeMap<String, Self>),
}

impl Parameters {
    /// Reads a JSON body; nothing at all is no parameter.
    pub(super) fn json(body: &[u8]) -> Result<Self, Refusal> {
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        match json::read(body) {
            Ok(Value::Object(mut map)) => {
                map.retain(|_, value| !value.is_null());
                Ok(Self(map))
            }
            Ok(_) | Err(_) => Err(Code::InvalidJson.into()),
        }
    }

    /// Reads dotted names.
    pub(super) fn nested<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Refusal> {
        let mut root = BTreeMap::new();
        for (name, value) in pairs {
            let parts: Vec<&str> = name.split('.').collect();
            if parts.len() > PARTS_MAX || !put(&mut root, &parts, value) {
                return Err(Refusal::type_error(name));
            }
        }
        let mut map = Map::new();
        for (name, place) in root {
            let value = place.into_value().ok_or_else(|| Refusal::type_error(&name))?;
            map.insert(name, value);
        }
        Ok(Self(map))
    }

    /// Refuses a parameter that the action does not have.
    pub(super) fn require_known(&self, known: &[&str]) -> Result<(), Refusal> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Refusal::about(Code::UnknownParameter, name)),
            None => Ok(()),
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Refusal::type_error(name)),
        }
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, name: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| Refusal::missing(name))
    }

    /// A whole number; in a query or form, its digits.
    pub(super) fn whole(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let number = match self.0.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(digits)) => digits.parse().ok(),
            Some(_) => None,
        };
        number.map(Some).ok_or_else(|| Refusal::type_error(name))
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let text = |item: &Value| item.as_str().map(str::to_owned);
        let texts = value.as_array().and_then(|items| items.iter().map(text).collect::<Option<_>>());
        texts.map(Some).ok_or_else(|| Refusal::type_error(name))
    }

    /// A list of texts that must be there.
    pub(super) fn required_texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        self.texts(name)?.ok_or_else(|| Refusal::missing(name))
    }

    /// A list of objects.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Self>, Refusal> {
        let Some(value) = self.0.get(name) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(|| Refusal::type_error(name))?;
        let read = |item: &Value| item.as_object().map(|map| Self(map.clone()));
        items.iter().map(read).collect::<Option<_>>().ok_or_else(|| Refusal::type_error(name))
    }
}

/// Puts a value where a name's parts lead; false when there is one already, or one on the way.
fn put(places: &mut BTreeMap<String, Place>, parts: &[&str], value: &str) -> bool {
    let Some((first, rest)) = parts.split_first() else { return false };
    if first.is_empty() {
        return false;
    }
    if rest.is_empty() {
        let free = !places.contains_key(*first);
        if free {
            places.insert((*first).to_owned(), Place::Value(value.to_owned()));
        }
        return free;
    }
    match places.entry((*first).to_owned()).or_insert_with(|| Place::Below(BTreeMap::new())) {
        Place::Value(_) => false,
        Place::Below(below) => put(below, rest, value),
    }
}

impl Place {
    /// A list where the parts are its indexes from 0, an object where they are names; `None` for a bit of both.
    fn into_value(self) -> Option<Value> {
        let below = match self {
            Self::Value(text) => return Some(Value::String(text)),
            Self::Below(below) => below,
        };
        let is_index = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
        if !below.keys().any(is_index) {
            let members = below.into_iter().map(|(name, place)| Some((name, place.into_value()?)));
            return members.collect::<Option<Map<_, _>>>().map(Value::Object);
        }
        let mut items = BTreeMap::new();
        for (name, place) in below {
            items.insert(
                name.parse::<usize>().ok().filter(|index| index.to_string() == name)?,
                place.into_value()?,
            );
        }
        let gapless = items.keys().copied().eq(0..items.len());
        gapless.then(|| Value::Array(items.into_values().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nested(pairs: &[(&str, &str)]) -> Option<Value> {
        Parameters::nested(pairs.iter().copied()).ok().map(|parameters| Value::Object(parameters.0))
    }

    #[test]
    fn dotted_names_are_lists_and_objects() {
        let pairs = [
            ("Tags.0.Key", "a"),
            ("Tags.0.Value", "1"),
            ("Tags.1.Key", "b"),
            ("Tags.1.Value", ""),
            ("X", "y"),
        ];
        let expected = json!({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}], "X": "y"});
        assert_eq!(nested(&pairs), Some(expected));
        let eleven: Vec<_> = (0..11).map(|n| (format!("A.{n}"), n.to_string())).collect();
        let eleven: Vec<_> = eleven.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(nested(&eleven).unwrap()["A"][10], "10");
    }

    #[test]
    fn names_that_contradict_each_other_are_refused() {
        for pairs in [
            &[("A", "1"), ("A", "2")][..],
            &[("A", "1"), ("A.0", "2")],
            &[("A.0", "1"), ("A", "2")],
            &[("A.1", "1")],
            &[("A.0", "1"), ("A.00", "2")],
            &[("A.0", "1"), ("A.b", "2")],
            &[("A..b", "1")],
            &[(".", "1")],
            &[("a.b.c.d.e.f.g.h.i", "1")],
            &[("A.99999999999999999999", "1")],
        ] {
            assert_eq!(nested(pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn parameters_are_known_typed_and_there() {
        let parameters = Parameters::json(br#"{"A":"x","B":1,"C":null}"#).unwrap();
        assert_eq!(parameters.text("A"), Ok(Some("x".to_owned())));
        assert_eq!(parameters.text("B"), Err(Refusal::type_error("B")));
        assert_eq!(parameters.required_text("C"), Err(Refusal::missing("C")));
        assert_eq!(parameters.require_known(&["A", "B"]), Ok(()));
        assert_eq!(parameters.require_known(&["A"]), Err(Refusal::about(Code::UnknownParameter, "B")));
        assert_eq!(Parameters::json(b""), Ok(Parameters(Map::new())));
        for text in ["[]", "{", "1", r#"{"A":1,"A":1}"#] {
            assert_eq!(Parameters::json(text.as_bytes()), Err(Code::InvalidJson.into()), "{text}");
        }
    }
}
