use proptest::prelude::*;

use super::*;

fn bendable() -> impl Strategy<Value = Sent> {
    (prop::bool::ANY, "[a-z]{1,8}\\.test(:[1-9][0-9]{0,3})?", "[ -~]{0,40}", "[a-z]+/[a-zA-Z;= ]{0,20}[a-z]")
        .prop_map(|(post, host, text, content_type)| {
            let sent = if post { tc3_post(&text) } else { tc3_get() };
            sent.header("Content-Type", &content_type).at_host(&host)
        })
}

fn anything() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,200}",
        "[ -~]{0,400}",
        "TC3-HMAC-SHA256 [ -~]{0,300}",
        "(TC3-HMAC-SHA256 |hmac )((Credential|SignedHeaders|Signature|id|headers|algorithm)=[\"a-z/;,= 0-9]{0,30},? ?){0,6}",
        "[ -~]{10000}",
    ]
}

proptest! {
    #[test]
    fn what_is_signed_is_accepted_and_what_is_bent_is_refused(
        sent in bendable(), other in "[a-z]{1,8}\\.other", byte in any::<u8>(), at in any::<prop::sample::Index>(),
    ) {
        let signed = tc3_signed(sent);
        prop_assert_eq!(signed.decide(SECRET, NOW), Ok(()));
        let mut secret = SECRET.to_vec();
        let position = at.index(secret.len());
        secret[position] ^= byte | 1;
        prop_assert_eq!(signed.decide(&secret, NOW), Err(SignatureError::Invalid));
        prop_assert_eq!(signed.clone().at_host(&other).decide(SECRET, NOW), Err(SignatureError::Invalid));
        let body = format!("{}{}", signed.body, other);
        let longer = Sent { body, ..signed };
        prop_assert!(longer.decide(SECRET, NOW).is_err());
    }

    #[test]
    fn v1_and_key_pairs_accept_what_they_sign_and_nothing_else(
        value in "[a-zA-Z0-9 =é/?]{0,30}", other in "[a-z]{1,8}", sha256 in prop::bool::ANY,
    ) {
        let (name, algorithm) =
            if sha256 { ("HmacSHA256", Algorithm::HmacSha256) } else { ("HmacSHA1", Algorithm::HmacSha1) };
        let signed = v1_signed(v1("POST", name, "CreateApiKey", QUERY).parameter("SecretName", &value));
        prop_assert_eq!(signed.decide(SECRET, NOW), Ok(()));
        prop_assert_eq!(signed.decide(other.as_bytes(), NOW), Err(SignatureError::Invalid));
        prop_assert_eq!(signed.parameter("X", &other).decide(SECRET, NOW), Err(SignatureError::Invalid));

        let signed = hmac_signed(algorithm, "source x-date");
        prop_assert_eq!(signed.decide(SECRET, NOW), Ok(()));
        prop_assert_eq!(signed.decide(other.as_bytes(), NOW), Err(SignatureError::Invalid));
        prop_assert_eq!(signed.header("Source", &other).decide(SECRET, NOW), Err(SignatureError::Invalid));
    }

    #[test]
    fn nothing_that_is_sent_makes_it_panic(
        method in ".{0,8}", host in ".{0,40}", target in ".{0,80}", authorization in anything(),
        date in ".{0,40}", value in anything(), now in any::<i64>(), signed in prop::bool::ANY,
    ) {
        let headers = [
            ("Authorization", authorization.as_str()), ("Date", &date), ("X-TC-Timestamp", "1700000000"),
            ("Content-Type", &value),
        ];
        let parameters = [
            ("Signature", value.as_str()), ("SecretId", "a"), ("Nonce", "1"), ("Timestamp", "1"), (&date, &value),
        ];
        let request = SignedRequest {
            method: &method, host: &host, target: &target, parameters: &parameters, body_sha256: None,
            headers: if signed { &headers } else { &[] },
        };
        if let Ok(parsed) = parse(&request) {
            prop_assert!(parsed.check(&request, SECRET, now).is_err());
        }
        let _ = decode_parameters(&value);
        let _ = sign_tc3(&request, PAIR, &value, now);
        let _ = sign_hmac_header(&request, PAIR, Algorithm::HmacSha1, &value);
        let _ = http_date(now);
    }
}
