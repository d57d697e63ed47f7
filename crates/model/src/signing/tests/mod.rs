mod properties;

use super::hmac_header::{http_date, sign_hmac_header};
use super::tc3::sign_tc3;
use super::tencent_v1::{decode_parameters, sign_tencent_v1};
use super::*;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &[u8] = b"TESTSECRETKEY";
const PAIR: KeyPair<'_> = KeyPair { access_id: ID, secret: SECRET };
const NOW: i64 = 1_700_000_000;
const HOST: &str = "apigateway.tencentcloudapi.com";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const BODY: &str = r#"{"AccessKeyId": "AKIDx", "AccessKeySecret": "new_secret_01"}"#;
const FILTERS: &str = r#"{"Limit": 5, "Filters": [{"Name": "SecretName", "Values": ["a", "b c"]}]}"#;
const QUERY: &str = "AccessKeyId=AKIDx&AccessKeySecret=new_secret_01";

/// A request that a test may bend, with the text a [`SignedRequest`] borrows.
#[derive(Clone, Debug)]
struct Sent {
    method: &'static str,
    host: String,
    target: String,
    headers: Vec<(String, String)>,
    parameters: Vec<(String, String)>,
    body: String,
}

fn pairs(owned: &[(String, String)]) -> Vec<(&str, &str)> {
    owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

impl Sent {
    fn new(method: &'static str, target: &str, headers: &[(&str, &str)], body: &str) -> Self {
        Self {
            method,
            host: HOST.into(),
            target: target.into(),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            parameters: Vec::new(),
            body: body.into(),
        }
    }

    fn with<T>(&self, use_it: impl FnOnce(&SignedRequest<'_>) -> T) -> T {
        use_it(&SignedRequest {
            method: self.method,
            host: &self.host,
            target: &self.target,
            headers: &pairs(&self.headers),
            parameters: &pairs(&self.parameters),
            body_sha256: Some(hash::sha256(self.body.as_bytes())),
        })
    }

    fn decide(&self, secret: &[u8], now: i64) -> Result<(), SignatureError> {
        self.with(|request| {
            let parsed = parse(request)?;
            assert_eq!(parsed.access_id(), ID);
            parsed.check(request, secret, now)
        })
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.retain(|(other, _)| other != name);
        self.parameters.push((name.into(), value.into()));
        self
    }

    fn at_host(self, host: &str) -> Self {
        Self { host: host.into(), ..self }
    }
}

#[track_caller]
fn check(sent: &Sent, now: i64, expected: Result<(), SignatureError>) {
    assert_eq!(sent.decide(SECRET, now), expected);
}

fn tc3_authorization(signature: &str) -> String {
    format!(
        "TC3-HMAC-SHA256 Credential={ID}/2023-11-14/apigateway/tc3_request, \
         SignedHeaders=content-type;host, Signature={signature}"
    )
}

fn tc3_post(body: &str) -> Sent {
    Sent::new("POST", "/", &[("Content-Type", JSON), ("X-TC-Timestamp", "1700000000")], body)
}

fn tc3_get() -> Sent {
    Sent::new("GET", &format!("/?{QUERY}"), &[("Content-Type", FORM), ("X-TC-Timestamp", "1700000000")], "")
}

fn tc3_signed(sent: Sent) -> Sent {
    let authorization = sent.with(|request| sign_tc3(request, PAIR, "apigateway", NOW)).unwrap();
    sent.header("Authorization", &authorization)
}

fn v1(method: &'static str, signature_method: &str, action: &str, business: &str) -> Sent {
    let common = format!(
        "Action={action}&Language=en-US&Nonce=11886&Region=ap-guangzhou&RequestClient=SDK_TEST&SecretId={ID}\
         &SignatureMethod={signature_method}&Timestamp=1700000000&Version=2018-08-08&{business}"
    );
    let parameters = decode_parameters(&common).unwrap();
    Sent { parameters, ..Sent::new(method, "/", &[], "") }
}

fn v1_signed(sent: Sent) -> Sent {
    let signature = sent.with(|request| sign_tencent_v1(request, SECRET)).unwrap();
    sent.parameter("Signature", &signature)
}

fn hmac_signed(algorithm: Algorithm, headers: &str) -> Sent {
    let date = http_date(NOW).unwrap();
    let sent = Sent::new("POST", "/anything", &[("X-Date", &date), ("Date", &date), ("Source", "x y")], "");
    let authorization = sent.with(|request| sign_hmac_header(request, PAIR, algorithm, headers)).unwrap();
    sent.header("Authorization", &authorization)
}

#[test]
fn signatures_of_the_vendors_python_client_are_accepted_and_made_with_tc3() {
    let unsigned_body = tc3_post(BODY).header("X-TC-Content-SHA256", "UNSIGNED-PAYLOAD");
    for (sent, signature) in [
        (tc3_post(BODY), "4931cc4275d27d2a9ce94bad84959e9c2d8eb90a20772302d4a4b925b3722fc4"),
        (tc3_get(), "c2290d655673551b19efbb0bb5a055ff647b49b417eb814fa20930aac29d9f63"),
        (
            tc3_post(BODY).at_host("127.0.0.1:8080"),
            "a68cc1b9ed9832adaa3e4cbb5dc5d97fd8345b1f9b41f7c0d6bb8203736d4d04",
        ),
        (unsigned_body, "c7954b03ff79799d3f065b8aa8e646dcfca4784f580cfafa963eb5becf7b81f9"),
        (tc3_post(FILTERS), "d612cc3726f165d6dad809fced79da452ba0e30a91389f00ca50c6e5d7625726"),
    ] {
        check(&sent.clone().header("Authorization", &tc3_authorization(signature)), NOW, Ok(()));
        assert_eq!(tc3_signed(sent).headers.pop().unwrap().1, tc3_authorization(signature));
    }
}

#[test]
fn signatures_of_the_vendors_python_client_are_accepted_and_made_with_v1() {
    let filters = "Limit=5&Filters.0.Name=SecretName&Filters.0.Values.0=a&Filters.0.Values.1=b+c";
    for (sent, signature) in [
        (v1("GET", "HmacSHA1", "UpdateApiKey", QUERY), "wylOBGUpwO7SgoQ/Jbs2XS1FXh0="),
        (v1("POST", "HmacSHA1", "UpdateApiKey", QUERY), "NlBxn7MAFuCsDIJCXZfVWh3YZ8A="),
        (v1("GET", "HmacSHA256", "UpdateApiKey", QUERY), "5tFGMIv9g8vLFLprvk04K9wMkBNYbM3YJ0ZvU5OagYk="),
        (v1("POST", "HmacSHA256", "UpdateApiKey", QUERY), "IsvEhKSVt0lZyy4eO4LOO4agfJWZkponIplAWe15g6Q="),
        (
            v1("GET", "HmacSHA256", "DescribeApiKeysStatus", filters),
            "TXixWRFIr244saJeB9xGvrXxfP7/IQSao3Por+AEYtA=",
        ),
    ] {
        check(&sent.clone().parameter("Signature", signature), NOW, Ok(()));
        assert_eq!(sent.with(|request| sign_tencent_v1(request, SECRET)).unwrap(), signature);
    }
}

#[test]
fn a_key_pair_signature_covers_its_headers_in_their_order() {
    // Computed with Python's hmac over "x-date: Tue, 14 Nov 2023 22:13:20 GMT\nsource: x y" and its turned twin.
    for (algorithm, headers, signature) in [
        (Algorithm::HmacSha1, "x-date source", "kqK3x/xuxRJH11qzzhkVe3SN06Q="),
        (Algorithm::HmacSha256, "source x-date", "Ry6Z7NCT+w1LxZzJnXhTJlYyQ0Kfsk6odeWEppVEaqw="),
    ] {
        let sent = hmac_signed(algorithm, headers);
        assert!(sent.headers.last().unwrap().1.ends_with(&format!("signature=\"{signature}\"")));
        check(&sent, NOW, Ok(()));
        check(&sent.clone().header("Source", "other"), NOW, Err(SignatureError::Invalid));
        check(&Sent { method: "PUT", ..sent }, NOW, Ok(()));
    }
}

#[test]
fn a_signature_lives_as_long_as_its_scheme_says_and_not_a_second_more() {
    let hmac = hmac_signed(Algorithm::HmacSha1, "date source");
    for (sent, seconds) in [
        (tc3_signed(tc3_post(BODY)), 300),
        (v1_signed(v1("GET", "HmacSHA1", "UpdateApiKey", QUERY)), 300),
        (hmac, 900),
    ] {
        for (now, expected) in [
            (NOW - seconds, Ok(())),
            (NOW + seconds, Ok(())),
            (NOW - seconds - 1, Err(SignatureError::Expired)),
            (NOW + seconds + 1, Err(SignatureError::Expired)),
            (i64::MIN, Err(SignatureError::Expired)),
            (i64::MAX, Err(SignatureError::Expired)),
        ] {
            check(&sent, now, expected);
        }
    }
}

#[test]
fn any_byte_of_a_signature_matters() {
    let hmac = hmac_signed(Algorithm::HmacSha256, "x-date");
    for sent in [tc3_signed(tc3_post(BODY)), hmac] {
        let authorization = sent.headers.last().unwrap().1.clone();
        let start = authorization.to_lowercase().find("signature=").unwrap() + "signature=".len();
        for position in start..authorization.len() {
            for bit in [1, 2, 0x20] {
                let mut bytes = authorization.clone().into_bytes();
                bytes[position] ^= bit;
                let bent = sent.clone().header("Authorization", &String::from_utf8(bytes).unwrap());
                assert!(bent.decide(SECRET, NOW).is_err(), "{bent:?}");
            }
        }
        let longer = sent.clone().header("Authorization", &format!("{authorization}0"));
        assert!(longer.decide(SECRET, NOW).is_err());
    }
    let sent = v1_signed(v1("GET", "HmacSHA1", "UpdateApiKey", QUERY));
    let signature = sent.parameters.last().unwrap().1.clone();
    for position in 0..signature.len() {
        let mut bytes = signature.clone().into_bytes();
        bytes[position] ^= 1;
        let bent = sent.clone().parameter("Signature", &String::from_utf8(bytes).unwrap());
        check(&bent, NOW, Err(SignatureError::Invalid));
    }
}

#[test]
fn what_tc3_covers_cannot_change() {
    let post = tc3_signed(tc3_post(BODY));
    let get = tc3_signed(tc3_get());
    let invalid = Err(SignatureError::Invalid);
    check(&Sent { body: FILTERS.into(), ..post.clone() }, NOW, invalid);
    check(&Sent { target: "/other".into(), ..post.clone() }, NOW, invalid);
    check(&Sent { method: "PUT", ..post.clone() }, NOW, invalid);
    check(&post.clone().header("Content-Type", "text/plain"), NOW, invalid);
    check(&post.clone().header("X-TC-Timestamp", "1700000001"), NOW, invalid);
    check(&post.clone().header("X-TC-Content-SHA256", "UNSIGNED-PAYLOAD"), NOW, invalid);
    check(&post.clone().at_host("elsewhere.test"), NOW, invalid);
    check(
        &Sent { target: "/?AccessKeySecret=new_secret_01&AccessKeyId=AKIDx".into(), ..get.clone() },
        NOW,
        invalid,
    );

    let malformed = |sent: &Sent| matches!(sent.decide(SECRET, NOW), Err(SignatureError::Malformed(_)));
    assert!(
        malformed(&Sent { target: format!("/?{QUERY}"), ..post.clone() }),
        "the query of a POST is not signed"
    );
    assert!(malformed(&Sent { body: BODY.into(), ..get }), "the body of a GET is not signed");
    let mut twice = post;
    twice.headers.push(("content-type".into(), "text/plain".into()));
    assert!(malformed(&twice), "a signed header may not come twice");
}

#[test]
fn an_unsigned_payload_leaves_the_body_out() {
    let sent = tc3_signed(tc3_post(BODY).header("X-TC-Content-SHA256", "UNSIGNED-PAYLOAD"));
    check(&Sent { body: FILTERS.into(), ..sent.clone() }, NOW, Ok(()));
    check(&sent.header("X-TC-Content-SHA256", "unsigned"), NOW, Err(SignatureError::Invalid));
}

#[test]
fn a_host_may_be_signed_with_or_without_its_port() {
    for (sent_host, signed_host, expected) in [
        ("127.0.0.1:8080", "127.0.0.1", Ok(())),
        ("[::1]:8080", "[::1]", Ok(())),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", Ok(())),
        ("LOCALHOST:8080", "localhost", Ok(())),
        ("[::1]", "[:", Err(SignatureError::Invalid)),
        ("127.0.0.1", "127.0.0.1:8080", Err(SignatureError::Invalid)),
        ("host:name", "host", Err(SignatureError::Invalid)),
    ] {
        check(&tc3_signed(tc3_post(BODY).at_host(signed_host)).at_host(sent_host), NOW, expected);
    }
}

/// Signs as a client does that spells the signed values itself.
fn tc3_spelt(sent: Sent, credential: &str, signed_headers: &str, canonical_headers: &str) -> Sent {
    let scope = credential.split_once('/').unwrap().1;
    let service = scope.split('/').nth(1).unwrap();
    let digest = |text: &str| hex::encode(hash::sha256(text.as_bytes()));
    let canonical =
        format!("{}\n/\n\n{canonical_headers}\n{signed_headers}\n{}", sent.method, digest(&sent.body));
    let mut key =
        hash::hmac_sha256(&[b"TC3", SECRET].concat(), scope.split('/').next().unwrap().as_bytes()).unwrap();
    for part in [service, "tc3_request"] {
        key = hash::hmac_sha256(&key, part.as_bytes()).unwrap();
    }
    let text = format!("TC3-HMAC-SHA256\n{NOW}\n{scope}\n{}", digest(&canonical));
    let signature = hex::encode(hash::hmac_sha256(&key, text.as_bytes()).unwrap());
    let authorization = format!(
        "TC3-HMAC-SHA256 Credential={credential},SignedHeaders={signed_headers},Signature={signature}"
    );
    sent.header("Authorization", &authorization)
}

#[test]
fn clients_spell_what_they_sign_in_their_own_ways() {
    let credential = format!("{ID}/2023-11-14/localhost:8080/tc3_request");
    let sent = tc3_post(BODY)
        .header("Content-Type", "multipart/form-data; boundary=AbC")
        .header("X-TC-Action", " DescribeApiKey ")
        .at_host("Localhost:8080");
    let names = "content-type;host;x-tc-action";
    for canonical in [
        "content-type:multipart/form-data; boundary=abc\nhost:localhost:8080\nx-tc-action:describeapikey\n",
        "content-type:multipart/form-data; boundary=AbC\nhost:Localhost\nx-tc-action:describeapikey\n",
    ] {
        let signed = tc3_spelt(sent.clone(), &credential, names, canonical);
        check(&signed, NOW, Ok(()));
        check(&signed.header("X-TC-Action", "DeleteApiKey"), NOW, Err(SignatureError::Invalid));
    }
    let canonical =
        "content-type:multipart/form-data; boundary=abc\nhost:localhost:8080\nx-tc-action:DescribeApiKey\n";
    check(&tc3_spelt(sent, &credential, names, canonical), NOW, Err(SignatureError::Invalid));
}

#[test]
fn a_scope_of_another_day_is_invalid_though_it_is_signed_well() {
    let canonical = format!("content-type:{JSON}\nhost:{HOST}\n");
    for (date, expected) in [
        ("2023-11-14", Ok(())),
        ("2023-11-15", Err(SignatureError::Invalid)),
        ("2023-11-14 ", Err(SignatureError::Invalid)),
        ("", Err(SignatureError::Invalid)),
    ] {
        let credential = format!("{ID}/{date}/127/tc3_request");
        check(&tc3_spelt(tc3_post(BODY), &credential, "content-type;host", &canonical), NOW, expected);
    }
}

#[test]
fn an_authorization_that_cannot_be_read_is_told_from_a_wrong_one() {
    let good = tc3_authorization("00");
    for authorization in [
        String::new(),
        "Bearer kw_x".into(),
        "TC3-HMAC-SHA256".into(),
        good.replace("content-type;host", "host"),
        good.replace("content-type;host", "content-type"),
        good.replace("content-type;host", "Content-Type;Host"),
        good.replace("content-type;host", "content-type;host;host"),
        good.replace("content-type;host", "content-type;host;"),
        good.replace("AKIDEXAMPLE", "AKID/EXAMPLE"),
        good.replace("AKIDEXAMPLE", ""),
        good.replace("tc3_request", "aws4_request"),
        good.replace("apigateway/", ""),
        good.replace("Signature=00", "Signature=00, Signature=00"),
        good.replace(", Signature=00", ""),
        format!("{good}, More=1"),
        format!("{good}{}", "0".repeat(AUTHORIZATION_MAX)),
        "hmac".into(),
        r#"hmac id="a", algorithm="hmac-sha1", headers="source", signature="x""#.into(),
        r#"hmac id="a", algorithm="hmac-md5", headers="date", signature="x""#.into(),
        r#"hmac id="a", algorithm="hmac-sha1", headers="date date", signature="x""#.into(),
        r#"hmac id="a" algorithm="hmac-sha1", headers="date", signature="x""#.into(),
        r#"hmac id="a", id="b", algorithm="hmac-sha1", headers="date", signature="x""#.into(),
        r#"hmac id="a", algorithm="hmac-sha1", headers="date", signature="x"#.into(),
    ] {
        let sent = tc3_post(BODY)
            .header("Date", "Tue, 14 Nov 2023 22:13:20 GMT")
            .header("Authorization", &authorization);
        let error = sent.with(|request| parse(request).unwrap_err());
        assert!(matches!(error, SignatureError::Malformed(_)), "{authorization}: {error}");
    }
    check(&tc3_post(BODY).header("Authorization", &good), NOW, Err(SignatureError::Invalid));
    check(&tc3_post(BODY).header("Authorization", "SKIP"), NOW, Err(SignatureError::Skipped));
    check(&tc3_post(BODY), NOW, Err(SignatureError::Unsigned));
    let no_time = Sent::new("POST", "/", &[("Content-Type", JSON), ("Authorization", &good)], BODY);
    check(&no_time, NOW, Err(SignatureError::Missing("X-TC-Timestamp")));
    for time in ["", "1700000000.0", "+1700000000", "-1", "99999999999999999999"] {
        let sent = no_time.clone().header("X-TC-Timestamp", time);
        check(&sent, NOW, Err(SignatureError::Malformed("the timestamp")));
    }
}

#[test]
fn v1_parameters_can_be_read_in_one_way_only() {
    let signed = v1_signed(v1("GET", "HmacSHA256", "UpdateApiKey", QUERY));
    let invalid = Err(SignatureError::Invalid);
    check(&signed.clone().parameter("AccessKeyId", "AKIDy"), NOW, invalid);
    check(&signed.clone().parameter("Extra", ""), NOW, invalid);
    check(&signed.clone().at_host("elsewhere.test"), NOW, invalid);
    check(&Sent { method: "POST", ..signed.clone() }, NOW, invalid);
    check(&signed.clone().parameter("SignatureMethod", "HmacSHA1"), NOW, invalid);
    for name in ["SecretId", "Timestamp", "Nonce"] {
        let mut sent = signed.clone();
        sent.parameters.retain(|(other, _)| other != name);
        check(&sent, NOW, Err(SignatureError::Missing(name)));
    }

    // The same signed text, with two parameters put into one.
    let mut merged = signed.clone().parameter("AccessKeyId", "AKIDx&AccessKeySecret=new_secret_01");
    merged.parameters.retain(|(name, _)| name != "AccessKeySecret");
    let mut twice = signed;
    twice.parameters.push(("Language".into(), "zh-CN".into()));
    for sent in [merged, twice] {
        assert!(matches!(sent.decide(SECRET, NOW), Err(SignatureError::Malformed(_))));
    }
    let sent = v1("GET", "HmacSHA1", "CreateUsagePlan", "UsagePlanDesc=a%26b%3D");
    assert!(matches!(
        sent.with(|request| sign_tencent_v1(request, SECRET)),
        Err(SignatureError::Malformed(_))
    ));
    check(&v1_signed(v1("GET", "HmacSHA1", "CreateUsagePlan", "UsagePlanDesc=a%3D1%26b")), NOW, Ok(()));
}

#[test]
fn dates_are_read_as_the_vendor_writes_them() {
    assert_eq!(http_date(1_521_461_320).unwrap(), "Mon, 19 Mar 2018 12:08:40 GMT");
    let sent = Sent::new("GET", "/", &[], "");
    for (date, works) in [
        ("Mon, 19 Mar 2018 12:08:40 GMT", true),
        ("Sun, 21 Sep 2017 06:18:21 GMT", true),
        ("Mon, 19 Mar 2018 12:08:40 +0800", false),
        ("Mon, 30 Feb 2018 12:08:40 GMT", false),
        ("2018-03-19T12:08:40Z", false),
        ("", false),
    ] {
        let sent = sent.clone().header("Date", date);
        let made = sent.with(|request| sign_hmac_header(request, PAIR, Algorithm::HmacSha1, "date"));
        assert_eq!(made.is_ok(), works, "{date}");
    }
}

#[test]
fn parameters_decode_as_forms_do() {
    for (raw, decoded) in [
        ("a=b+c&&d=%C3%A9%2b", Some(vec![("a", "b c"), ("d", "é+")])),
        ("key=abc=DEF=", Some(vec![("key", "abc=DEF=")])),
        ("", Some(vec![])),
        ("a", None),
        ("a=%", None),
        ("a=%4", None),
        ("a=%zz", None),
        ("a=%ff", None),
    ] {
        let given = decode_parameters(raw).ok();
        assert_eq!(given.as_deref().map(pairs), decoded, "{raw}");
    }
}

#[test]
fn nothing_printed_holds_a_secret_or_a_signature() {
    assert!(!format!("{PAIR:?}").contains("TESTSECRETKEY"));
    let sent = tc3_signed(tc3_post(BODY));
    let shown = sent.with(|request| format!("{:?}", parse(request).unwrap()));
    assert!(!shown.contains("4931cc42"), "{shown}");
}

#[test]
fn what_could_be_read_in_two_ways_or_has_no_bound_is_refused() {
    let sent = tc3_signed(tc3_post(BODY));
    let mut get_with_body = v1_signed(v1("GET", "HmacSHA1", "UpdateApiKey", QUERY));
    get_with_body.body = BODY.into();
    let many: Vec<String> = (0..SIGNED_HEADERS_MAX).map(|n| format!("x-{n}")).collect();
    let many = tc3_authorization("00").replace("type;host", &format!("type;host;{}", many.join(";")));
    for bent in [
        Sent { method: "POST\n/", ..sent.clone() },
        Sent { target: "/\n".into(), ..sent.clone() },
        sent.clone().at_host(&format!("{HOST}\nx-a:b")),
        sent.clone().header("Content-Type", &format!("{JSON}\nhost:{HOST}")),
        sent.header("Authorization", &many),
        get_with_body,
    ] {
        assert!(matches!(bent.decide(SECRET, NOW), Err(SignatureError::Malformed(_))), "{bent:?}");
    }
}
