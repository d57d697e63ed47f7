"""Drives CreateApiKey and UpdateApiKey with the vendor's own client, tencentcloud-sdk-python-apigateway.

The server to drive is named by the environment, and nothing secret by arguments:

    TENCENT_ENDPOINT    host:port of a server that speaks the dialect at `/`, over plain HTTP
    TENCENT_SECRET_ID   the access id of a management key
    TENCENT_SECRET_KEY  its secret
    TENCENT_MANUAL      `1` where the keyspace allows custom secrets

Prints one JSON object a line for each call: which signature method, HTTP method and step it was, and what it came to:
`"result"` (the ApiKey) or `"error"` (`code`, `message`, `request_id`). Exits with 0 when every call was answered, whatever
the answer; judging it is the caller's.
"""

import itertools
import json
import os
import sys

from tencentcloud.apigateway.v20180808 import apigateway_client, models
from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

SIGN_METHODS = ("TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256")
HTTP_METHODS = ("POST", "GET")
LANGUAGES = ("en-US", "zh-CN")


class Driver:
    """One client of each kind, and a line for each of its calls."""

    def __init__(self, endpoint, secret_id, secret_key, sign_method, http_method, language):
        http = HttpProfile(protocol="http", endpoint=endpoint, reqMethod=http_method, reqTimeout=60)
        profile = ClientProfile(signMethod=sign_method, language=language, httpProfile=http)
        secret = credential.Credential(secret_id, secret_key)
        self.client = apigateway_client.ApigatewayClient(secret, "ap-guangzhou", profile)
        self.labels = {"sign_method": sign_method, "http_method": http_method, "language": language}

    def call(self, step, action, **parameters):
        """Makes a call, prints what it came to and gives its result, or None when it was refused."""
        request = getattr(models, action + "Request")()
        request.from_json_string(json.dumps(parameters))
        line = dict(self.labels, step=step, action=action)
        try:
            answer = json.loads(getattr(self.client, action)(request).to_json_string())
        except TencentCloudSDKException as error:
            line["error"] = {"code": error.code, "message": error.message, "request_id": error.requestId}
            answer = {}
        else:
            line["result"] = answer["Result"]
            line["request_id"] = answer["RequestId"]
        print(json.dumps(line, ensure_ascii=True), flush=True)
        return answer.get("Result")


def success_path(driver, name):
    """A key of the server's making: created, then given another secret."""
    created = driver.call("create", "CreateApiKey", SecretName=name, AccessKeyType="auto")
    if created:
        driver.call("update", "UpdateApiKey", AccessKeyId=created["AccessKeyId"])


def tags_and_manual_path(driver, name):
    """A key of the caller's choice, with a list among the parameters."""
    manual = {"AccessKeyId": "id_" + name, "AccessKeySecret": "first_secret_" + name}
    tags = [{"Key": "team", "Value": "fleet & co"}, {"Key": "env", "Value": "test"}]
    created = driver.call(
        "create manual", "CreateApiKey", SecretName=name, AccessKeyType="manual", Tags=tags, **manual
    )
    if created:
        again = {"AccessKeyId": manual["AccessKeyId"]}
        driver.call("update manual", "UpdateApiKey", AccessKeySecret="second_secret_" + name, **again)
        driver.call("update manual without secret", "UpdateApiKey", **again)
        driver.call("create manual again", "CreateApiKey", SecretName=name, AccessKeyType="manual", **manual)


def error_path(driver, stranger, impostor):
    """What must be refused, each with its code."""
    driver.call("unknown key", "UpdateApiKey", AccessKeyId="AKIDnobodyhasthisone")
    driver.call("missing parameter", "UpdateApiKey")
    driver.call("bad format", "CreateApiKey", SecretName="no spaces here")
    stranger.call("unknown caller", "UpdateApiKey", AccessKeyId="AKIDnobodyhasthisone")
    impostor.call("wrong signature", "UpdateApiKey", AccessKeyId="AKIDnobodyhasthisone")


def main():
    endpoint, secret_id, secret_key = (
        os.environ["TENCENT_" + name] for name in ("ENDPOINT", "SECRET_ID", "SECRET_KEY")
    )
    # The client would send even calls to this machine through a proxy.
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        os.environ.pop(name, None)
    kinds = itertools.product(SIGN_METHODS, HTTP_METHODS)
    for number, (sign_method, http_method) in enumerate(kinds):
        kind = (sign_method, http_method, LANGUAGES[number % len(LANGUAGES)])
        name = "sdk_%d" % number
        driver = Driver(endpoint, secret_id, secret_key, *kind)
        success_path(driver, name)
        if os.environ.get("TENCENT_MANUAL") == "1":
            tags_and_manual_path(driver, name)
        stranger = Driver(endpoint, "AKIDnobodyhasthisone", secret_key, *kind)
        impostor = Driver(endpoint, secret_id, "not" + secret_key, *kind)
        error_path(driver, stranger, impostor)
    return 0


if __name__ == "__main__":
    sys.exit(main())
