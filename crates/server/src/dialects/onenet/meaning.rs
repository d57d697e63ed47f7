//! What a call of OneNET's own API asks for: a method on the datastreams of a device.
//!
//! `/devices/{id}` and `/devices/{id}/datastreams/{ds}` say so in the path, so their plain reading is this wire's. Two calls
//! name their datastreams in the query, several divided by commas; the vendor's pages "Batch Inquire Datastream Information"
//! and "Inquire Historical Data of Device" say which parameter. Without it they ask for the whole device.

use crate::gateway::readings::Meant;
use crate::gateway::target::{Target, decoded};

/// How many datastreams a call may name.
const NAMED_MAX: usize = 100;

/// Every datastream that a query names.
pub(super) fn meaning(call: &Target<'_>) -> Vec<Meant> {
    let segments: Vec<&str> = call.resource.split('/').collect();
    let (device, parameter) = match segments.as_slice() {
        ["devices", device, "datapoints"] => (device, "datastream_id"),
        ["devices", device, "datastreams"] => (device, "datastream_ids"),
        _ => return Vec::new(),
    };
    let resource = |name: &str| Meant {
        action: call.action.clone(),
        resource: format!("devices/{device}/datastreams/{name}"),
    };
    let named = named(call.query, parameter).filter(|names| names.len() <= NAMED_MAX);
    named.unwrap_or_default().iter().map(|name| resource(name)).collect()
}

/// The names in a parameter, wherever it stands; clients repeat it. `None` where somebody could read other names.
fn named(query: &str, parameter: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name)?;
        if !name.eq_ignore_ascii_case(parameter) {
            continue;
        }
        // The vendor's page writes `Datastream_id` in its table and `datastream_id` in its example.
        if name != parameter || value.contains('+') {
            return None;
        }
        for stream in decoded(value)?.split(',') {
            if matches!(stream, "" | "." | "..") || stream.contains(['/', '*', '&', ';', '%']) {
                return None;
            }
            names.push(stream.to_owned());
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, expected: &[&str]) {
        let target = Target::read("GET", target).unwrap();
        let meant: Vec<String> = meaning(&target).into_iter().map(|meant| meant.resource).collect();
        assert_eq!(meant, expected, "{target:?}");
    }

    #[test]
    fn datastreams_that_a_query_names_are_what_is_asked_for() {
        check("/devices/7/datapoints?datastream_id=gps", &["devices/7/datastreams/gps"]);
        check(
            "/devices/7/datastreams?x=1&datastream_ids=a,b",
            &["devices/7/datastreams/a", "devices/7/datastreams/b"],
        );
        check(
            "/devices/7/datapoints?datastream_id=a&datastream_id=b",
            &["devices/7/datastreams/a", "devices/7/datastreams/b"],
        );
        check(
            "/devices/7/datapoints?datastream%5Fid=a%2Cb",
            &["devices/7/datastreams/a", "devices/7/datastreams/b"],
        );
    }

    #[test]
    fn other_calls_have_their_plain_reading_only() {
        for target in [
            "/devices/7",
            "/devices/7/datastreams/gps",
            "/devices/7/datapoints",
            "/devices/7/datapoints?datastream_ids=a",
            "/devices/7/datastreams?datastream_id=a",
            "/devices/datapoints?devIds=7",
            "/x/7/datapoints?datastream_id=a",
            "/",
        ] {
            check(target, &[]);
        }
    }

    #[test]
    fn a_query_that_could_name_others_names_none() {
        for query in [
            "datastream_id=",
            "datastream_id",
            "datastream_id=a,,b",
            "datastream_id=a,..",
            "datastream_id=a&Datastream_id=b",
            "datastream_id=a+b",
            "datastream_id=a/b",
            "datastream_id=%2A",
            "datastream_id=a%",
            "datastream_id=a;datastream_id=b",
            "%zz=1&datastream_id=a",
        ] {
            check(&format!("/devices/7/datapoints?{query}"), &[]);
        }
        check(&format!("/devices/7/datapoints?datastream_id={}", ["a"; NAMED_MAX + 1].join(",")), &[]);
    }
}
