"""Calls Tencent Cloud's API Gateway with the vendor's command line `tccli`, as standard input says.

A line of input is one call, a JSON object of `endpoint` (host:port), `language`, `secret_id`, `secret_key`, `action` and
`parameters`. It becomes the command

    tccli apigateway <action> --endpoint http://<endpoint> --language <language> --<parameter> <value> …

and is answered by one line: `{"result": …, "request_id": …}`, or `{"error": {"code", "message", "request_id"}}` read from what
the program said on standard error. Signature and HTTP method are the program's own: TC3-HMAC-SHA256 over POST.

The program is loaded once and forked for each command, since its start alone takes most of a second; the fork runs the
program's own `main` on its own arguments and environment and ends, as the command does. It logs below `HOME`.
"""

import importlib
import json
import os
import re
import sys
import tempfile
import traceback

from tccli.main import main as tccli

SAID = re.compile(r"\[TencentCloudSDKException\] code:(\S+) message:(.*) requestId:(\S+)", re.DOTALL)


def arguments(call):
    """The command's words."""
    words = ["tccli", "apigateway", call["action"], "--endpoint", "http://" + call["endpoint"]]
    words += ["--region", "ap-guangzhou", "--language", call["language"]]
    for name, value in call["parameters"].items():
        words += ["--" + name, value if isinstance(value, str) else json.dumps(value)]
    return words


def run_as_program(call, out, err):
    """Becomes the program, and never returns."""
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    os.environ["TENCENTCLOUD_SECRET_ID"] = call["secret_id"]
    os.environ["TENCENTCLOUD_SECRET_KEY"] = call["secret_key"]
    sys.argv = arguments(call)
    status = 70
    try:
        status = tccli()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def outcome(call):
    """What a command comes to."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            run_as_program(call, out, err)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        said = err.read().decode()
        if os.waitstatus_to_exitcode(status) == 0:
            answer = json.loads(out.read())
            return {"result": answer["Result"], "request_id": answer["RequestId"]}
    match = SAID.search(said)
    if match is None:
        raise SystemExit("%s was not refused by a server:\n%s" % (call["action"], said))
    code, message, request_id = match.groups()
    return {"error": {"code": code, "message": message, "request_id": request_id}}


def main():
    # What a command loads is loaded once for all.
    importlib.import_module("tccli.services.apigateway.apigateway_client")
    for line in sys.stdin:
        print(json.dumps(outcome(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
