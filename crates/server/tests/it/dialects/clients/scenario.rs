//! What every client does, in this order: all fifteen actions, each with what it gives and with a refusal.
//!
//! `<name>` is a name of the run's own; the others are what earlier answers had.

use std::collections::BTreeSet;

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Admin,
    /// An id that nobody has.
    Stranger,
    /// The administrator's id with another secret.
    Impostor,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ComesTo {
    /// A result that has at least this.
    Result(&'static str),
    Code(&'static str),
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) action: &'static str,
    pub(super) parameters: &'static str,
    pub(super) by: By,
    pub(super) comes_to: ComesTo,
    /// Names, each for a field of the result.
    pub(super) keeps: &'static [(&'static str, &'static str)],
    /// What verifying a secret that was kept comes to afterwards.
    pub(super) then: &'static [(&'static str, &'static str)],
}

const fn done(action: &'static str, parameters: &'static str, result: &'static str) -> Step {
    Step { action, parameters, by: By::Admin, comes_to: ComesTo::Result(result), keeps: &[], then: &[] }
}

const fn refused(action: &'static str, parameters: &'static str, code: &'static str) -> Step {
    Step { action, parameters, by: By::Admin, comes_to: ComesTo::Code(code), keeps: &[], then: &[] }
}

impl Step {
    const fn by(self, by: By) -> Self {
        Self { by, ..self }
    }

    const fn keeping(self, keeps: &'static [(&'static str, &'static str)]) -> Self {
        Self { keeps, ..self }
    }

    const fn then(self, then: &'static [(&'static str, &'static str)]) -> Self {
        Self { then, ..self }
    }
}

const KEY: &str = r#"{"AccessKeyId":"<key>"}"#;
const CHOSEN: &str = r#"{"AccessKeyId":"id_<name>"}"#;
const PLAN: &str = r#"{"UsagePlanId":"<plan>"}"#;
const BOTH: &str = r#"{"UsagePlanId":"<plan>","AccessKeyIds":["<key>","id_<name>"]}"#;
const MANUAL: &str = r#"{"SecretName":"chosen_<name>","AccessKeyType":"manual","AccessKeyId":"id_<name>",
    "AccessKeySecret":"first_secret_<name>","Tags":[{"Key":"team","Value":"fleet & co, 100%"},{"Key":"env","Value":"a+b = ü"}]}"#;
/// The tags of that key.
pub(super) const LABELS: &str = r#"{"team":"fleet & co, 100%","env":"a+b = ü"}"#;
const NO_KEY: &str = r#"{"AccessKeyId":"AKIDnobodyhasthisone"}"#;
const NO_PLAN: &str = r#"{"UsagePlanId":"usagePlan-abcdefgh"}"#;

pub(super) const STEPS: &[Step] = &[
    // Key pairs are made and shown, and get other secrets.
    done(
        "CreateApiKey",
        r#"{"SecretName":"<name>","AccessKeyType":"auto"}"#,
        r#"{"SecretName":"<name>","AccessKeyType":"auto","Status":1}"#,
    )
    .keeping(&[("key", "AccessKeyId"), ("first", "AccessKeySecret")])
    .then(&[("first", "allowed")]),
    // The international client's answers have no tags: they are looked for at the end.
    done(
        "CreateApiKey",
        MANUAL,
        r#"{"SecretName":"chosen_<name>","AccessKeyId":"id_<name>","AccessKeyType":"manual","AccessKeySecret":"first_secret_<name>"}"#,
    ),
    refused("CreateApiKey", MANUAL, "FailedOperation.AccessKeyExist"),
    refused("CreateApiKey", r#"{"SecretName":"no spaces here"}"#, "InvalidParameter.FormatError"),
    done("DescribeApiKey", KEY, r#"{"SecretName":"<name>","AccessKeySecret":"<first>","AccessKeyType":"auto","Status":1}"#),
    done("UpdateApiKey", KEY, r#"{"AccessKeyId":"<key>","SecretName":"<name>","AccessKeyType":"auto","Status":1}"#)
        .keeping(&[("second", "AccessKeySecret")])
        .then(&[("first", "superseded"), ("second", "allowed")]),
    refused("UpdateApiKey", CHOSEN, "MissingParameter"),
    done(
        "UpdateApiKey",
        r#"{"AccessKeyId":"id_<name>","AccessKeySecret":"other_secret_<name>"}"#,
        r#"{"AccessKeySecret":"other_secret_<name>","AccessKeyType":"manual"}"#,
    ),
    refused("UpdateApiKey", NO_KEY, "ResourceNotFound.InvalidAccessKeyId"),
    done(
        "DescribeApiKeysStatus",
        r#"{"Limit":5,"Offset":0,"Filters":[{"Name":"SecretName","Values":["<name>","chosen_<name>","any other"]},{"Name":"Status","Values":["1"]}]}"#,
        r#"{"TotalCount":2,"ApiKeySet":[{"AccessKeyId":"id_<name>","AccessKeySecret":"other_secret_<name>"},{"AccessKeyId":"<key>","AccessKeySecret":"<second>"}]}"#,
    ),
    refused(
        "DescribeApiKeysStatus",
        r#"{"Filters":[{"Name":"Colour","Values":["red"]}]}"#,
        "InvalidParameterValue.InvalidFilterNotSupportedName",
    ),
    refused("DescribeApiKeysStatus", r#"{"Limit":101}"#, "InvalidParameterValue"),
    // Nobody else gets anywhere.
    refused("UpdateApiKey", KEY, "AuthFailure.SecretIdNotFound").by(By::Stranger),
    refused("UpdateApiKey", KEY, "AuthFailure.SignatureFailure").by(By::Impostor).then(&[("second", "allowed")]),
    // Usage plans.
    done(
        "CreateUsagePlan",
        r#"{"UsagePlanName":"<name>, 100% & more + ü","UsagePlanDesc":"for the fleet","MaxRequestNum":1000,"MaxRequestNumPreSec":100}"#,
        r#"{"UsagePlanName":"<name>, 100% & more + ü","MaxRequestNum":1000,"MaxRequestNumPreSec":100,"BindSecretIdTotalCount":0}"#,
    )
    .keeping(&[("plan", "UsagePlanId")]),
    refused(
        "CreateUsagePlan",
        r#"{"UsagePlanName":"<name> none","MaxRequestNum":0}"#,
        "InvalidParameterValue.InvalidMaxRequestNum",
    ),
    done(
        "ModifyUsagePlan",
        r#"{"UsagePlanId":"<plan>","UsagePlanName":"<name>","MaxRequestNum":500}"#,
        r#"{"UsagePlanId":"<plan>","UsagePlanName":"<name>","MaxRequestNum":500,"MaxRequestNumPreSec":100}"#,
    ),
    refused(
        "ModifyUsagePlan",
        r#"{"UsagePlanId":"usagePlan-abcdefgh","UsagePlanName":"other"}"#,
        "ResourceNotFound.InvalidUsagePlan",
    ),
    done("BindSecretIds", BOTH, "true"),
    refused("BindSecretIds", BOTH, "UnsupportedOperation.AlreadyBindUsagePlan"),
    refused(
        "BindSecretIds",
        r#"{"UsagePlanId":"<plan>","AccessKeyIds":["AKIDnobodyhasthisone"]}"#,
        "ResourceNotFound.InvalidAccessKeyId",
    ),
    done("DescribeUsagePlan", PLAN, r#"{"UsagePlanName":"<name>","MaxRequestNum":500,"BindSecretIdTotalCount":2}"#),
    done(
        "DescribeUsagePlansStatus",
        r#"{"Limit":5,"Filters":[{"Name":"UsagePlanName","Values":["<name>"]}]}"#,
        r#"{"TotalCount":1,"UsagePlanStatusSet":[{"UsagePlanId":"<plan>","UsagePlanName":"<name>"}]}"#,
    ),
    refused(
        "DescribeUsagePlansStatus",
        r#"{"Filters":[{"Name":"Colour","Values":["red"]}]}"#,
        "InvalidParameterValue.InvalidFilterNotSupportedName",
    ),
    done("DescribeUsagePlanSecretIds", r#"{"UsagePlanId":"<plan>","Limit":1}"#, r#"{"TotalCount":2}"#),
    refused("DescribeUsagePlanSecretIds", NO_PLAN, "ResourceNotFound.InvalidUsagePlan"),
    refused("DeleteUsagePlan", PLAN, "UnsupportedOperation.UsagePlanInUse"),
    // Off and on again, and their end.
    refused("DeleteApiKey", KEY, "UnsupportedOperation.InvalidStatus"),
    done("DisableApiKey", KEY, "true").then(&[("second", "disabled")]),
    refused("DisableApiKey", KEY, "UnsupportedOperation.UnsupportedUpdateApiKey"),
    refused("DeleteApiKey", KEY, "UnsupportedOperation.ResourceIsInUse"),
    done("EnableApiKey", KEY, "true").then(&[("second", "allowed")]),
    refused("EnableApiKey", KEY, "UnsupportedOperation.UnsupportedUpdateApiKey"),
    done("UnBindSecretIds", BOTH, "true"),
    refused(
        "UnBindSecretIds",
        r#"{"UsagePlanId":"<plan>","AccessKeyIds":["AKIDnobodyhasthisone"]}"#,
        "ResourceNotFound.InvalidAccessKeyId",
    ),
    done("DeleteUsagePlan", PLAN, "true"),
    refused("DescribeUsagePlan", PLAN, "ResourceNotFound.InvalidUsagePlan"),
    done("DisableApiKey", KEY, "true"),
    done("DeleteApiKey", KEY, "true").then(&[("second", "revoked")]),
    refused("DescribeApiKey", KEY, "ResourceNotFound.InvalidAccessKeyId"),
];

#[test]
fn each_of_the_fifteen_actions_succeeds_once_and_is_refused_once() {
    let of = |wanted: fn(&Step) -> bool| -> BTreeSet<&str> {
        STEPS.iter().filter(|step| wanted(step)).map(|step| step.action).collect()
    };
    let works = of(|step| matches!(step.comes_to, ComesTo::Result(_)));
    let refused = of(|step| matches!(step.comes_to, ComesTo::Code(_)));
    assert_eq!((works.len(), &works), (15, &refused));
}
