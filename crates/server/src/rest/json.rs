//! Reading JSON strictly (RFC 8259, RFC 7493): no name twice, no more than 32 levels, no NUL, no number that a double
//! would change. What cannot be read is 400; what was read and breaks a rule is 422 with its pointer.

use std::cell::RefCell;
use std::fmt;

use keywright_model::document::pointer;
use keywright_model::fault::Faults;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::problem::{DUPLICATE_NAME, INVALID_JSON, Kind, Place, Problem, TOO_DEEP};

/// How many arrays and objects may stand within each other.
pub const DEPTH_MAX: usize = 32;

/// The largest whole number that every JSON reader holds exactly.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// Reads a text.
pub fn read(bytes: &[u8]) -> Result<Value, Problem> {
    let notes = RefCell::new(Notes::default());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Reader { notes: &notes, depth: 0 }.deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    let notes = notes.into_inner();
    if let Some((kind, at)) = notes.refusal {
        return Err(Problem::new(kind).error(Place::Pointer(at), kind.code, kind.title));
    }
    let value = value.map_err(|error| Problem::new(INVALID_JSON).detail(error.to_string()))?;
    notes.faults.into_result().map_err(|faults| Problem::invalid_body(&faults))?;
    Ok(value)
}

/// Reads a text that must be an object.
pub fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    match read(bytes)? {
        Value::Object(map) => Ok(map),
        _ => Err(Problem::invalid_body(&Faults::one("", "invalid_type", "must be an object"))),
    }
}

/// What is noticed on the way, which serde's own errors cannot carry.
#[derive(Default)]
struct Notes {
    at: String,
    refusal: Option<(Kind, String)>,
    faults: Faults,
}

impl Notes {
    fn refuse<E: de::Error>(&mut self, kind: Kind, at: String) -> E {
        self.refusal = Some((kind, at));
        E::custom(kind.code)
    }

    fn fault(&mut self, code: &'static str, detail: &str) {
        self.faults.add(self.at.clone(), code, detail);
    }
}

/// Reads one value at a depth.
#[derive(Clone, Copy)]
struct Reader<'n> {
    notes: &'n RefCell<Notes>,
    depth: usize,
}

impl Reader<'_> {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            let mut notes = self.notes.borrow_mut();
            let at = notes.at.clone();
            return Err(notes.refuse(TOO_DEEP, at));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    /// Runs `read` one step further down and comes back.
    fn at<T>(self, step: &str, read: impl FnOnce() -> T) -> T {
        let length = self.notes.borrow().at.len();
        self.notes.borrow_mut().at.push_str(step);
        let value = read();
        self.notes.borrow_mut().at.truncate(length);
        value
    }

    fn check_text(self, text: &str) {
        if text.contains('\0') {
            self.notes.borrow_mut().fault("nul_in_text", "must not hold the character NUL");
        }
    }

    fn check_exact(self, exact: bool) {
        if !exact {
            let detail = "whole numbers beyond 2^53 - 1 are not exact in JSON; send a text";
            self.notes.borrow_mut().fault("number_out_of_range", detail);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        self.check_exact(value <= EXACT_MAX);
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        self.check_exact(value.unsigned_abs() <= EXACT_MAX);
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // Whole numbers beyond 64 bits arrive as doubles too; `2^53 - 1` is one that a double holds.
        #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is exact as a double")]
        self.check_exact(value.abs() <= EXACT_MAX as f64);
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        self.check_text(text);
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        self.check_text(&text);
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = self.at(&format!("/{}", list.len()), || items.next_element_seed(inner))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let step = pointer(&name);
            if map.contains_key(&name) {
                let mut notes = self.notes.borrow_mut();
                let at = notes.at.clone() + &step;
                return Err(notes.refuse(DUPLICATE_NAME, at));
            }
            let value = self.at(&step, || {
                self.check_text(&name);
                members.next_value_seed(inner)
            })?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: impl AsRef<[u8]>, status: u16, code: &str, at: Option<&str>) {
        let problem = read(text.as_ref()).expect_err("must be refused");
        assert_eq!((problem.kind().status, problem.kind().code), (status, code));
        let places: Vec<_> = problem.items().iter().map(|item| &item.place).collect();
        let expected: Vec<_> = at.map(|at| Place::Pointer(at.to_owned())).into_iter().collect();
        assert_eq!(places, expected.iter().collect::<Vec<_>>());
    }

    fn nested(depth: usize) -> String {
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn what_is_json_reads_as_serde_json_reads_it() {
        for text in [
            "null",
            "[]",
            "{}",
            r#"{"a":[1,-2,0.5,"ä\u00e4\ud83d\ude00",true,null,{"b":{}}]}"#,
            " 9007199254740991 ",
        ] {
            assert_eq!(
                read(text.as_bytes()).unwrap(),
                serde_json::from_str::<Value>(text).unwrap(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in
            ["", "{", "{\"a\":1}x", "{} {}", "{'a':1}", "[1,]", "nul", "\u{feff}{}", "\"\u{1}\"", "01", "NaN"]
        {
            check(text, 400, "invalid_json", None);
        }
        check(b"\"\xff\"", 400, "invalid_json", None);
        check(br#""\ud800""#, 400, "invalid_json", None);
        check(br#"{"\udc00":1}"#, 400, "invalid_json", None);
        check(b"\"\xed\xa0\x80\"", 400, "invalid_json", None);
    }

    #[test]
    fn a_name_may_stand_once_in_an_object_at_any_depth() {
        check(r#"{"a":1,"a":1}"#, 400, "duplicate_name", Some("/a"));
        check(r#"{"a":[{"x~/y":1,"x~/y":2}]}"#, 400, "duplicate_name", Some("/a/0/x~0~1y"));
        check(r#"{"a":1,"\u0061":2}"#, 400, "duplicate_name", Some("/a"));
        assert!(read(br#"{"a":{"a":{"a":1}}}"#).is_ok());
    }

    #[test]
    fn thirty_two_levels_are_read_and_no_more() {
        assert!(read(nested(DEPTH_MAX).as_bytes()).is_ok());
        let at = "/0".repeat(DEPTH_MAX);
        check(nested(DEPTH_MAX + 1), 400, "too_deep", Some(&at));
        check(nested(100_000), 400, "too_deep", Some(&at));
    }

    #[test]
    fn nul_is_refused_in_texts_and_names() {
        check(r#"{"a":["x\u0000"]}"#, 422, "invalid_body", Some("/a/0"));
        check(r#"{"a\u0000":1}"#, 422, "invalid_body", Some("/a\0"));
    }

    #[test]
    fn numbers_are_exact_or_refused() {
        for text in ["9007199254740992", "-9007199254740992", "18446744073709551616", "1e300"] {
            check(format!("{{\"n\":{text}}}"), 422, "invalid_body", Some("/n"));
        }
        assert!(read(b"[9007199254740991,-9007199254740991,1e3,0.1]").is_ok());
    }

    #[test]
    fn an_object_is_expected_where_one_is() {
        assert_eq!(read_object(b"[]").unwrap_err().items()[0].code, "invalid_type");
        assert!(read_object(b"{}").unwrap().is_empty());
    }
}
