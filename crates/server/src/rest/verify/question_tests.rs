//! Tests of reading what is asked.

use super::*;

fn faults(body: &str) -> Vec<String> {
    let problem = one(body.as_bytes(), &mut Document::default()).expect_err("must be refused");
    let item = |item: &crate::rest::problem::Item| {
        let crate::rest::problem::Place::Pointer(at) = &item.place else { panic!("{item:?}") };
        format!("{at} {}", item.code)
    };
    problem.items().iter().map(item).collect()
}

#[track_caller]
fn check_refused(body: &str, expected: &[&str]) {
    assert_eq!(faults(body), expected, "{body}");
}

#[test]
fn both_ways_of_reading_give_the_same_question() {
    let plain = r#"{"secret":"kw_x","action":"get","resource":"devices/7","ip":"10.1.2.3","cost":2,"keyspace":"default"}"#;
    // An escape makes the borrowed reading fail.
    let escaped = plain.replace("kw_x", "kw\\u005fx");
    let (mut first, mut second) = (Document::default(), Document::default());
    let question = one(plain.as_bytes(), &mut first).unwrap();
    assert_eq!(question, one(escaped.as_bytes(), &mut second).unwrap());
    assert_eq!(question.presented, Presented::Secret("kw_x"));
    assert_eq!(question.checks.as_slice(), [Check { action: "get", resource: "devices/7" }]);
    assert_eq!((question.cost, question.keyspace), (2, Some("default")));
}

#[test]
fn only_the_secret_is_needed_and_null_is_absent() {
    let mut document = Document::default();
    let body = r#"{"secret":"s","action":null,"checks":null,"ip":null,"cost":null,"signed":null}"#;
    let question = one(body.as_bytes(), &mut document).unwrap();
    assert_eq!((question.checks, question.ip, question.cost), (Checks::None, None, 1));
}

#[test]
fn every_fault_is_named() {
    check_refused("{}", &["/secret missing_field"]);
    check_refused(r#"{"secret":"s","resource":"a"}"#, &["/resource action_required"]);
    check_refused(
        r#"{"secret":"s","action":"a b","ip":"300.1.1.1"}"#,
        &["/ip invalid_ip", "/action invalid_action"],
    );
    check_refused(r#"{"secret":"s","action":"a","resource":"a//b"}"#, &["/resource invalid_resource"]);
    check_refused(r#"{"secret":"s","cost":-1}"#, &["/cost out_of_range"]);
    check_refused(r#"{"secret":"s","cost":9007199254740992}"#, &["/cost out_of_range"]);
    check_refused(r#"{"secret":1,"actoin":"x"}"#, &["/actoin unknown_field", "/secret invalid_type"]);
    check_refused(r#"{"secret":"s","checks":[]}"#, &["/checks empty"]);
    check_refused(
        r#"{"secret":"s","action":"a","checks":[{"action":"a"}]}"#,
        &["/checks conflicting_fields"],
    );
    check_refused(
        r#"{"secret":"s","checks":[{"action":"a"},{"resource":"x"}]}"#,
        &["/checks/1/action missing_field"],
    );
    check_refused(
        r#"{"secret":"s","signed":{}}"#,
        &[
            "/signed/method missing_field",
            "/signed/host missing_field",
            "/signed/target missing_field",
            "/signed/headers missing_field",
            "/signed conflicting_fields",
        ],
    );
}

#[test]
fn a_pair_and_a_signed_request_are_read() {
    let mut document = Document::default();
    let pair = one(br#"{"secret":"s","access_id":"AKID1"}"#, &mut document).unwrap();
    assert_eq!(pair.presented, Presented::Pair { access_id: "AKID1", secret: "s" });
    let mut document = Document::default();
    let digest = "ab".repeat(32);
    let body = format!(
        r#"{{"signed":{{"method":"GET","host":"h","target":"/a?b","headers":{{"X-Date":"d"}},"body_sha256":"{digest}"}}}}"#
    );
    let Presented::Signed(signed) = one(body.as_bytes(), &mut document).unwrap().presented else {
        panic!("not signed")
    };
    assert_eq!((signed.headers, signed.body_sha256), (vec![("X-Date", "d")], Some([0xab; 32])));
}

#[test]
fn a_batch_is_read_whole_or_refused_with_the_place_of_each_fault() {
    let mut document = Document::default();
    assert_eq!(many(br#"[{"secret":"a"},{"secret":"b"}]"#, &mut document).unwrap().len(), 2);
    let mut document = Document::default();
    let refused =
        many(br#"[{"secret":"a"},{"secret":"b","ip":"x"},{"secrt":"c"}]"#, &mut document).unwrap_err();
    let places: Vec<_> =
        refused.items().iter().map(|item| format!("{:?} {}", item.place, item.code)).collect();
    assert_eq!(
        places,
        [
            r#"Pointer("/2/secrt") unknown_field"#,
            r#"Pointer("/1/ip") invalid_ip"#,
            r#"Pointer("/2/secret") missing_field"#,
        ]
    );
    let list = |count: usize| format!("[{}]", vec![r#"{"secret":"a"}"#; count].join(","));
    assert!(many(list(BATCH_MAX).as_bytes(), &mut Document::default()).is_ok());
    assert!(many(list(BATCH_MAX + 1).as_bytes(), &mut Document::default()).is_err());
    assert!(many(b"{}", &mut Document::default()).is_err());
}
