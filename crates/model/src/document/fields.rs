//! Reading an object field by field, noting every fault with its pointer.

use serde_json::{Map, Value};

use crate::fault::Faults;
use crate::grant::Grant;
use crate::limit::{LIMIT_MAX, Limit, PER_SECONDS_MAX, Period, Quota, is_time_zone};
use crate::text::{is_blank, is_printable, is_slug, nfc};
use crate::time::Timestamp;

/// The known name nearest to an unknown one, when it is near enough to be a slip.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing costs the product of both lengths, and no slip is this long.
    if name.len() > NEAREST_BYTES_MAX {
        return None;
    }
    let near = known
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), candidate), candidate))
        .min()?;
    (near.0 <= 1 + name.chars().count() / 3).then_some(near.1)
}

const NEAREST_BYTES_MAX: usize = 64;

/// An object that is being read.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    at: String,
    faults: &'a mut Faults,
}

impl<'a> Fields<'a> {
    /// Reads `map`, which stands at the JSON Pointer `at`. Names that are not in `known` are faults.
    pub fn new(
        map: &'a Map<String, Value>,
        at: impl Into<String>,
        known: &[&str],
        faults: &'a mut Faults,
    ) -> Self {
        let at = at.into();
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            if faults.is_full() {
                break;
            }
            faults.add(
                at.clone() + &super::pointer(name),
                "unknown_field",
                super::unknown(name, known.iter().copied()),
            );
        }
        Self { map, at, faults }
    }

    /// Notes a fault at a field.
    pub fn fault(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.faults.add(format!("{}/{name}", self.at), code, detail);
    }

    /// Notes a fault at an element of a field.
    pub fn fault_at(&mut self, name: &str, index: usize, code: &'static str, detail: impl Into<String>) {
        self.faults.add(format!("{}/{name}/{index}", self.at), code, detail);
    }

    /// The field, unless it is absent or `null`.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there, `null` included.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// A text as it was sent.
    pub fn text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.value(name)?;
        if value.as_str().is_none() {
            self.fault(name, "invalid_type", "must be a text");
        }
        value.as_str()
    }

    /// A text for people: NFC, printable, 1 to `max` characters.
    pub fn printable(&mut self, name: &str, max: usize) -> Option<String> {
        let text = nfc(self.text(name)?);
        let length = text.chars().count();
        if length == 0 || length > max {
            self.fault(name, "invalid_length", format!("must have 1 to {max} characters"));
        }
        if !text.chars().all(is_printable) {
            self.fault(
                name,
                "invalid_character",
                "must not hold control characters or bidirectional overrides",
            );
        }
        Some(text)
    }

    /// What a noun is called: [`Self::printable`], with something in it that can be seen.
    pub fn label(&mut self, name: &str, max: usize) -> Option<String> {
        let text = self.printable(name, max)?;
        if !text.is_empty() && is_blank(&text) {
            self.fault(name, "blank", "must have a character that can be seen");
        }
        Some(text)
    }

    /// [`Self::label`], which must be there.
    pub fn required_label(&mut self, name: &str, max: usize) -> String {
        self.required(name);
        self.label(name, max).unwrap_or_default()
    }

    /// A name in the form `[a-z][a-z0-9_-]{0,62}`, which must be there.
    pub fn required_slug(&mut self, name: &str) -> String {
        self.required(name);
        let text = self.text(name).unwrap_or("x").to_owned();
        if !is_slug(&text) {
            self.fault(name, "invalid_name", "must match [a-z][a-z0-9_-]{0,62}");
        }
        text
    }

    /// Notes `missing_field` when the field is absent or `null`.
    pub fn required(&mut self, name: &str) {
        if self.value(name).is_none() {
            self.fault(name, "missing_field", "must be given");
        }
    }

    /// A boolean; `default` when it is absent.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.map.get(name) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(name, "invalid_type", "must be true or false");
                default
            }
        }
    }

    /// A whole number from 1 to `max`, however JSON spells it: `1000`, `1000.0` and `1e3` are one number.
    pub fn whole(&mut self, name: &str, max: u64) -> Option<u64> {
        let value = self.value(name)?;
        if !value.is_number() {
            self.fault(name, "invalid_type", format!("must be a whole number from 1 to {max}"));
            return None;
        }
        let number = exact_whole(value).filter(|number| (1..=max).contains(number));
        if number.is_none() {
            self.fault(name, "out_of_range", format!("must be a whole number from 1 to {max}"));
        }
        number
    }

    /// An RFC 3339 time.
    pub fn time(&mut self, name: &str) -> Option<Timestamp> {
        let parsed = self.text(name)?.parse();
        if let Err(error) = &parsed {
            let detail = format!("{error}");
            self.fault(name, "invalid_time", detail);
        }
        parsed.ok()
    }

    /// A list of at most `max` elements; empty when it is absent or `null`.
    pub fn list(&mut self, name: &str, max: usize) -> &'a [Value] {
        match self.value(name) {
            None => &[],
            Some(Value::Array(items)) if items.len() <= max => items,
            Some(Value::Array(_)) => {
                self.fault(name, "too_many", format!("at most {max} entries"));
                &[]
            }
            Some(_) => {
                self.fault(name, "invalid_type", "must be a list");
                &[]
            }
        }
    }

    /// Notes `empty` when the field is a list of nothing.
    pub fn not_empty(&mut self, name: &str, detail: &str) {
        if self.value(name).and_then(Value::as_array).is_some_and(Vec::is_empty) {
            self.fault(name, "empty", detail);
        }
    }

    /// A list whose elements are each read from a text, once each.
    pub fn parsed_list<T: PartialEq>(
        &mut self,
        name: &str,
        max: usize,
        code: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        self.coded_list(name, max, |text| parse(text).map_err(|detail| (code, detail)))
    }

    /// The same, where a fault's code says which rule was broken.
    pub fn coded_list<T: PartialEq>(
        &mut self,
        name: &str,
        max: usize,
        parse: impl Fn(&str) -> Result<T, (&'static str, String)>,
    ) -> Vec<T> {
        let mut parsed = Vec::new();
        for (index, item) in self.list(name, max).iter().enumerate() {
            match item.as_str().map(&parse) {
                Some(Ok(value)) if !parsed.contains(&value) => parsed.push(value),
                Some(Ok(_)) => self.fault_at(name, index, "duplicate", "is in the list already"),
                Some(Err((code, detail))) => self.fault_at(name, index, code, detail),
                None => self.fault_at(name, index, "invalid_type", "must be a text"),
            }
        }
        parsed
    }

    /// A list of identifiers, once each.
    pub fn ids<T: PartialEq + std::str::FromStr<Err = crate::id::IdError>>(
        &mut self,
        name: &str,
        max: usize,
    ) -> Vec<T> {
        self.parsed_list(name, max, "invalid_id", |text| {
            text.parse().map_err(|error: crate::id::IdError| error.to_string())
        })
    }

    /// An object; `None` when it is absent or `null`.
    pub fn object(&mut self, name: &str) -> Option<&'a Map<String, Value>> {
        let value = self.value(name)?;
        if !value.is_object() {
            self.fault(name, "invalid_type", "must be an object");
        }
        value.as_object()
    }

    /// Reads a nested object with its own known names.
    pub fn nested<T>(
        &mut self,
        name: &str,
        known: &[&str],
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> Option<T> {
        let map = self.object(name)?;
        let mut fields = Fields::new(map, format!("{}/{name}", self.at), known, self.faults);
        Some(read(&mut fields))
    }

    /// Reads each object of a list.
    pub fn nested_list<T>(
        &mut self,
        name: &str,
        max: usize,
        known: &[&str],
        read: impl Fn(&mut Fields<'_>) -> T,
    ) -> Vec<T> {
        let mut parsed = Vec::new();
        for (index, item) in self.list(name, max).iter().enumerate() {
            if let Some(map) = item.as_object() {
                let at = format!("{}/{name}/{index}", self.at);
                parsed.push(read(&mut Fields::new(map, at, known, self.faults)));
            } else {
                self.fault_at(name, index, "invalid_type", "must be an object");
            }
        }
        parsed
    }

    /// Grants, with at most [`PATTERNS_MAX`] patterns of actions and as many of resources in all.
    pub fn grants(&mut self, name: &str) -> Vec<Grant> {
        let mut grants = Vec::new();
        let (mut actions, mut resources) = (0, 0);
        for (index, item) in self.list(name, PATTERNS_MAX).iter().enumerate() {
            let at = format!("{}/{name}/{index}", self.at);
            let Some(map) = item.as_object() else {
                self.fault_at(name, index, "invalid_type", "must be an object");
                continue;
            };
            let mut fields = Fields::new(map, at, &["effect", "actions", "resources"], self.faults);
            if let Some(grant) = fields.grant() {
                actions += grant.actions.len();
                resources += grant.resources.len();
                grants.push(grant);
            }
        }
        if actions.max(resources) > PATTERNS_MAX {
            let detail =
                format!("at most {PATTERNS_MAX} patterns of actions and {PATTERNS_MAX} of resources in all");
            self.fault(name, "too_many", detail);
        }
        grants
    }

    fn grant(&mut self) -> Option<Grant> {
        self.required("effect");
        let effect = match self.text("effect") {
            Some("allow") => Some(crate::grant::Effect::Allow),
            Some("deny") => Some(crate::grant::Effect::Deny),
            Some(_) => {
                self.fault("effect", "invalid_effect", "must be `allow` or `deny`");
                None
            }
            None => None,
        };
        let actions = self.patterns("actions");
        let resources = self.patterns("resources");
        Some(Grant { effect: effect?, actions, resources })
    }

    fn patterns<T: std::str::FromStr<Err = crate::grant::PatternError>>(&mut self, name: &str) -> Vec<T> {
        let mut parsed = Vec::new();
        self.required(name);
        self.not_empty(name, "must name at least one pattern");
        for (index, item) in self.list(name, PATTERNS_MAX).iter().enumerate() {
            match item.as_str().map(str::parse::<T>) {
                Some(Ok(pattern)) => parsed.push(pattern),
                Some(Err(error)) => self.fault_at(name, index, error.code(), error.to_string()),
                None => self.fault_at(name, index, "invalid_type", "must be a text"),
            }
        }
        parsed
    }

    /// A list of limits with distinct names.
    pub fn limits(&mut self, name: &str) -> Vec<Limit> {
        let limits = self.nested_list(name, LIMITS_MAX, &["name", "max", "per_seconds"], |fields| {
            fields.required("max");
            fields.required("per_seconds");
            Limit {
                name: fields.required_slug("name"),
                max: fields.whole("max", LIMIT_MAX).unwrap_or(1),
                per_seconds: fields
                    .whole("per_seconds", u64::from(PER_SECONDS_MAX))
                    .and_then(|seconds| u32::try_from(seconds).ok())
                    .unwrap_or(1),
            }
        });
        // Compared as they were sent, so that the place is right where other entries are no limits at all.
        let names = self.list_names(name);
        for (index, limit) in names.iter().enumerate() {
            if limit.is_some() && names.iter().take(index).any(|earlier| earlier == limit) {
                self.fault_at(name, index, "duplicate", "another limit of the list has this name");
            }
        }
        limits
    }

    fn list_names(&self, name: &str) -> Vec<Option<&'a str>> {
        let items = self.value(name).and_then(Value::as_array).filter(|items| items.len() <= LIMITS_MAX);
        items.into_iter().flatten().map(|item| item.get("name").and_then(Value::as_str)).collect()
    }

    /// A quota.
    pub fn quota(&mut self, name: &str) -> Option<Quota> {
        self.nested(name, &["max", "period", "time_zone"], |fields| {
            fields.required("max");
            fields.required("period");
            let period = match fields.text("period") {
                Some("day") => Period::Day,
                Some("week") => Period::Week,
                Some("month") => Period::Month,
                Some("none") | None => Period::None,
                Some(_) => {
                    fields.fault("period", "invalid_period", "must be none, day, week or month");
                    Period::None
                }
            };
            let time_zone = fields.text("time_zone").unwrap_or("UTC").to_owned();
            if !is_time_zone(&time_zone) {
                fields.fault(
                    "time_zone",
                    "invalid_time_zone",
                    "must be an IANA time zone such as Europe/Berlin",
                );
            }
            Quota { max: fields.whole("max", LIMIT_MAX).unwrap_or(1), period, time_zone }
        })
    }

    /// The caller's own notes: an object of at most [`METADATA_BYTES_MAX`] bytes of JSON.
    pub fn metadata(&mut self, name: &str) -> Map<String, Value> {
        let Some(metadata) = self.object(name) else { return Map::new() };
        let bytes = serde_json::to_string(metadata).map_or(usize::MAX, |json| json.len());
        if bytes > METADATA_BYTES_MAX {
            self.fault(name, "too_large", format!("at most {METADATA_BYTES_MAX} bytes of JSON"));
        }
        if metadata.values().any(|value| is_deeper(value, METADATA_DEPTH_MAX - 1)) {
            self.fault(name, "too_deep", format!("at most {METADATA_DEPTH_MAX} levels of lists and objects"));
        }
        metadata.clone()
    }
}

fn exact_whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is exact as a double")]
        let range = 0.0..=LIMIT_MAX as f64;
        let number = value.as_f64().filter(|number| number.fract() == 0.0 && range.contains(number))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, not negative and below 2^53"
        )]
        Some(number as u64)
    })
}

/// Whether lists and objects stand within each other more than `levels` deep.
pub(super) fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|item| is_deeper(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// How many patterns the grants of one list may hold in all.
pub const PATTERNS_MAX: usize = 1_000;
/// How many limits a list may hold.
pub const LIMITS_MAX: usize = 16;
/// How many bytes of JSON metadata may be.
pub const METADATA_BYTES_MAX: usize = 2_048;
/// How many lists and objects of metadata may stand within each other: as many as a body of 32 levels can hold in a
/// field. Operations could else nest it deeper than a stored row can be read back.
pub const METADATA_DEPTH_MAX: usize = 31;
