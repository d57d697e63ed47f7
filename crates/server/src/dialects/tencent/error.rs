//! How Tencent Cloud says no: a code and words in one of two languages (vendors.md §3.7 and §3.9).
//!
//! The words of the common errors are those seen on its servers; where only a code is public, they are ours.

use keywright_control::Error;
use keywright_model::fault::Faults;

use super::WIRE;
use super::wire::Language;
use crate::dialects::exchange::{Failed, Unread, log};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $english:literal, $chinese:literal;)*) => {
        /// Why a call is refused. Two of ours can have one code of theirs, with other words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code.
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// `{}` is what it is about.
            const fn words(self, language: Language) -> &'static str {
                match (self, language) {
                    $((Self::$name, Language::English) => $english, (Self::$name, Language::Chinese) => $chinese,)*
                }
            }
        }
    };
}

codes! {
    MissingParameter = "MissingParameter",
        "The request is missing a required parameter `{}`.", "缺少参数错误：`{}`。";
    UnknownParameter = "UnknownParameter", "The parameter `{}` is not recognized.", "未知参数错误：`{}`。";
    TypeError = "InvalidParameter", "Parameter `{}` type error.", "参数`{}`类型错误。";
    UndividedPair = "InvalidParameter",
        "Url key and value should be splited by `=`.", "URL中的键和值应以`=`分隔。";
    InvalidJson = "InvalidParameter", "The body is not a JSON object.", "请求体不是合法的JSON对象。";
    InvalidParameterValue = "InvalidParameterValue", "Invalid parameter value: {}.", "参数取值错误：{}。";
    InvalidFilterNotSupportedName = "InvalidParameterValue.InvalidFilterNotSupportedName",
        "The filter `{}` is not supported.", "不支持的过滤条件：`{}`。";
    InvalidMaxRequestNum = "InvalidParameterValue.InvalidMaxRequestNum",
        "`MaxRequestNum` must be -1 or from 1 to 99999999.", "`MaxRequestNum`必须为-1或1到99999999。";
    InvalidAccessKeyIds = "InvalidParameterValue.InvalidAccessKeyIds",
        "`AccessKeyIds` must hold from 1 to 100 keys.", "`AccessKeyIds`必须包含1到100个密钥。";
    FormatError = "InvalidParameter.FormatError", "Incorrect parameter format: {}.", "参数格式错误：{}。";
    InvalidAction = "InvalidAction",
        "The request `Action` is invalid or not found.", "接口不存在或无效。";
    NoSuchVersion = "NoSuchVersion", "The `Version` does not exist.", "接口版本不存在。";
    UnsupportedProtocol = "UnsupportedProtocol",
        "HTTP(S) requests must use GET or POST.", "HTTP(S)请求协议错误，只支持GET和POST请求。";
    InvalidRequest = "InvalidRequest", "The path of a request is `/`.", "请求路径必须是`/`。";
    RequestSizeLimitExceeded = "RequestSizeLimitExceeded", "The request is too large.", "请求包超过限制大小。";
    SignatureFailure = "AuthFailure.SignatureFailure",
        "The provided credentials could not be validated. Please check your signature is correct.",
        "请求签名验证失败，请检查您的签名计算是否正确。";
    SignatureExpire = "AuthFailure.SignatureExpire",
        "The signature is expired, please request again.", "签名过期，请检查本地时间后重新请求。";
    SecretIdNotFound = "AuthFailure.SecretIdNotFound",
        "The SecretId is not found, please ensure that your SecretId is correct.",
        "SecretId不存在，请输入正确的密钥。";
    InvalidAuthorization = "AuthFailure.InvalidAuthorization",
        "The `Authorization` header is invalid.", "请求头部的Authorization不符合腾讯云标准。";
    TokenFailure = "AuthFailure.TokenFailure",
        "Temporary credentials are not supported.", "token错误：不支持临时密钥。";
    UnauthorizedOperation = "AuthFailure.UnauthorizedOperation",
        "The key that signed the request may not do this.", "请求未授权，密钥没有执行该操作的权限。";
    IpNotInWhitelist = "IpNotInWhitelist", "The IP is not in the allowlist.", "IP地址不在白名单中。";
    /// The words say what to do, because a retry with the same signature gets it, too.
    RequestLimitExceeded = "RequestLimitExceeded",
        "This request was received before, or there were too many; sign it anew and try again.",
        "请求重复或请求次数超过了频率限制，请重新签名后重试。";
    AccessKeyExist = "FailedOperation.AccessKeyExist", "The access key already exists.", "密钥已经存在。";
    InvalidAccessKeyId = "ResourceNotFound.InvalidAccessKeyId", "The key does not exist.", "密钥不存在。";
    InvalidUsagePlan = "ResourceNotFound.InvalidUsagePlan", "The usage plan does not exist.", "使用计划不存在。";
    InvalidStatus = "UnsupportedOperation.InvalidStatus",
        "The current key status does not support this operation.", "当前密钥状态不支持此操作。";
    ResourceIsInUse = "UnsupportedOperation.ResourceIsInUse",
        "The key is bound to a usage plan; unbind it first.", "密钥已绑定使用计划，请先解绑。";
    UnsupportedUpdateApiKey = "UnsupportedOperation.UnsupportedUpdateApiKey",
        "The key has this status already.", "密钥已处于该状态，不支持此操作。";
    AlreadyBindUsagePlan = "UnsupportedOperation.AlreadyBindUsagePlan",
        "A key is bound to this usage plan already.", "密钥已绑定该使用计划。";
    UnsupportedBindApiKey = "UnsupportedOperation.UnsupportedBindApiKey",
        "A key is bound to as many usage plans as it may be.", "密钥绑定的使用计划已达上限。";
    UsagePlanInUse = "UnsupportedOperation.UsagePlanInUse",
        "The usage plan is in use; unbind its keys first.", "使用计划正在使用中，请先解绑密钥。";
    UinNotInWhiteList = "UnsupportedOperation.UinNotInWhiteList",
        "The current Uin is not in the manual key allowlist.", "当前Uin不在自定义密钥白名单中。";
    UnsupportedOperation = "UnsupportedOperation", "The operation is not supported: {}.", "操作不支持：{}。";
    FailedOperation = "FailedOperation", "The operation failed: {}.", "操作失败：{}。";
    /// The only one that both calls document for a defect on the server's side.
    OssException = "InternalError.OssException",
        "Internal request error. The operation may have been done; please check, then try again.",
        "内部请求错误，操作可能已经执行，请检查后重试。";
}

/// The states of a key that one of this wire's rules objects to; each is one code.
pub(super) const ENABLED: &str = "key_enabled";
pub(super) const DISABLED: &str = "key_disabled";
pub(super) const BOUND: &str = "key_bound";
pub(super) const SWITCHED: &str = "key_switched";
pub(super) const BOUND_ALREADY: &str = "key_bound_already";

const STATES: &[(&str, Code)] = &[
    (ENABLED, Code::InvalidStatus),
    (DISABLED, Code::InvalidStatus),
    (BOUND, Code::ResourceIsInUse),
    (SWITCHED, Code::UnsupportedUpdateApiKey),
    (BOUND_ALREADY, Code::AlreadyBindUsagePlan),
];

/// Keywright's fields and what they are called here.
const NAMES: &[(&str, &str)] = &[
    ("/name", "SecretName"),
    ("/access_id", "AccessKeyId"),
    ("/secret", "AccessKeySecret"),
    ("/labels", "Tags"),
];

/// An answer that says no.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    about: String,
}

impl Refusal {
    pub(super) fn about(code: Code, about: impl Into<String>) -> Self {
        Self { code, about: about.into() }
    }

    pub(super) fn missing(parameter: &str) -> Self {
        Self::about(Code::MissingParameter, parameter)
    }

    pub(super) fn type_error(parameter: &str) -> Self {
        Self::about(Code::TypeError, parameter)
    }

    pub(super) fn value_error(rule: &str) -> Self {
        Self::about(Code::InvalidParameterValue, rule)
    }

    pub(super) fn format_error(parameter: &str) -> Self {
        Self::about(Code::FormatError, format!("`{parameter}`"))
    }

    pub(super) fn message(&self, language: Language) -> String {
        self.code.words(language).replace("{}", &self.about)
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::about(code, "")
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Code::RequestSizeLimitExceeded.into(),
            Unread::Broken => Code::InvalidJson.into(),
        }
    }
}

impl From<Faults> for Refusal {
    fn from(faults: Faults) -> Self {
        let Some(first) = faults.as_slice().first() else { return Code::OssException.into() };
        if first.code == "custom_secrets_not_allowed" {
            return Code::UinNotInWhiteList.into();
        }
        if first.pointer.starts_with("/plans") {
            // One that was deleted meanwhile, or one too many.
            return match first.code {
                "too_many" => Code::UnsupportedBindApiKey.into(),
                _ => Code::InvalidUsagePlan.into(),
            };
        }
        let named = NAMES.iter().find(|(ours, _)| first.pointer.starts_with(ours));
        match named {
            Some((_, parameter)) => Self::about(Code::FormatError, format!("`{parameter}` {}", first.detail)),
            // A rule of the keyspace about something that this wire cannot say, such as an expiry.
            None => Self::about(Code::UnsupportedOperation, first.detail.clone()),
        }
    }
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(error) => error.into(),
            Failed::NotYetEnforced => Code::OssException.into(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        log(WIRE, &error);
        match error {
            Error::Unauthenticated { .. } => Code::SecretIdNotFound.into(),
            Error::Forbidden { .. } | Error::BeyondGrantable { .. } => Code::UnauthorizedOperation.into(),
            Error::NotFound("plan") => Code::InvalidUsagePlan.into(),
            // The vendor deletes a revoked key.
            Error::NotFound(_) | Error::KeyRevoked => Code::InvalidAccessKeyId.into(),
            Error::Invalid(faults) => faults.into(),
            Error::PreconditionFailed { .. } | Error::PreconditionRequired => {
                Self::about(Code::UnsupportedOperation, "changes here must name a version")
            }
            Error::WrongState { code, detail } => match STATES.iter().find(|(state, _)| *state == code) {
                Some((_, code)) => (*code).into(),
                None => Self::about(Code::UnsupportedOperation, detail),
            },
            Error::Taken { field: "access_id" } => Code::AccessKeyExist.into(),
            Error::Taken { field } => Self::about(Code::FailedOperation, format!("this {field} is taken")),
            // Only a plan can be: a key is deleted whatever refers to it.
            Error::InUse => Code::UsagePlanInUse.into(),
            Error::TooComplex => Self::about(Code::FailedOperation, "the key's rights are too complex"),
            Error::IdempotencyMismatch | Error::IdempotencyInProgress | Error::Throttled { .. } => {
                Code::RequestLimitExceeded.into()
            }
            Error::Conflict | Error::Unavailable(_) | Error::OutcomeUnknown(_) | Error::Internal(_) => {
                Code::OssException.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keywright_model::admin::AdminAction;

    #[track_caller]
    fn check(error: Error, code: &str) {
        assert_eq!(Refusal::from(error).code.as_str(), code);
    }

    #[test]
    fn every_code_has_words_in_both_languages() {
        for code in Code::ALL {
            let [english, chinese] =
                [Language::English, Language::Chinese].map(|language| code.words(language));
            assert!(english.is_ascii() && !chinese.is_ascii(), "{code:?}");
            assert_eq!(english.contains("{}"), chinese.contains("{}"), "{code:?}");
        }
    }

    #[test]
    fn words_name_what_they_are_about() {
        let refusal = Refusal::missing("Action");
        let expected = "The request is missing a required parameter `Action`.";
        assert_eq!(refusal.message(Language::English), expected);
    }

    #[test]
    fn refusals_have_the_vendors_codes() {
        check(Error::NotFound("key"), "ResourceNotFound.InvalidAccessKeyId");
        check(Error::KeyRevoked, "ResourceNotFound.InvalidAccessKeyId");
        check(Error::Taken { field: "access_id" }, "FailedOperation.AccessKeyExist");
        check(Error::IdempotencyMismatch, "RequestLimitExceeded");
        check(Error::Forbidden { action: AdminAction::KeysRotate }, "AuthFailure.UnauthorizedOperation");
        let fault = |at: &str, code| Error::Invalid(Faults::one(at, code, "is wrong"));
        check(fault("/secret", "custom_secrets_not_allowed"), "UnsupportedOperation.UinNotInWhiteList");
        check(fault("/labels/a", "invalid_label"), "InvalidParameter.FormatError");
        check(fault("/expires_at", "expiry_required"), "UnsupportedOperation");
        assert_eq!(Refusal::from(Failed::NotYetEnforced).code.as_str(), "InternalError.OssException");
    }
}
