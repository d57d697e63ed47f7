"""Calls Tencent Cloud's API Gateway with the vendor's own Python client, as standard input says.

Works with `tencentcloud-sdk-python-apigateway` and with `tencentcloud-sdk-python-intl-en`, which has the same modules: what
is installed is what is driven. A line of input is one call, a JSON object of

    endpoint                    host:port of a server that speaks the dialect at `/`, over plain HTTP
    sign_method, http_method    TC3-HMAC-SHA256, HmacSHA1 or HmacSHA256; GET or POST
    language                    en-US or zh-CN
    secret_id, secret_key       who calls
    action, parameters          the call

and is answered by one line: `{"result": …}`, or `{"error": {"code", "message", "request_id"}}` when the client raised. Judging
it is the caller's.
"""

import json
import sys

from tencentcloud.apigateway.v20180808 import apigateway_client, models
from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

WHO = ("endpoint", "sign_method", "http_method", "language", "secret_id", "secret_key")


def client_of(endpoint, sign_method, http_method, language, secret_id, secret_key):
    """A client as the vendor's examples make it."""
    http = HttpProfile(protocol="http", endpoint=endpoint, reqMethod=http_method, reqTimeout=60)
    profile = ClientProfile(signMethod=sign_method, language=language, httpProfile=http)
    secret = credential.Credential(secret_id, secret_key)
    return apigateway_client.ApigatewayClient(secret, "ap-guangzhou", profile)


def outcome(client, action, parameters):
    """What a call comes to."""
    request = getattr(models, action + "Request")()
    request.from_json_string(json.dumps(parameters))
    try:
        answer = json.loads(getattr(client, action)(request).to_json_string())
    except TencentCloudSDKException as error:
        return {"error": {"code": error.code, "message": error.message, "request_id": error.requestId}}
    return {"result": answer["Result"], "request_id": answer["RequestId"]}


def main():
    clients = {}
    for line in sys.stdin:
        call = json.loads(line)
        who = tuple(call[name] for name in WHO)
        if who not in clients:
            clients[who] = client_of(*who)
        print(json.dumps(outcome(clients[who], call["action"], call["parameters"])), flush=True)


if __name__ == "__main__":
    main()
