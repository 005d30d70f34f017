"""The loop of a Lambda runtime, in the standard library: asks the Runtime API for an event, calls, sends the answer.

Stands in for `awslambdaric`, which there is for Linux only. https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import http.client
import importlib
import json
import os
import sys
import traceback

INVOCATION = "/2018-06-01/runtime/invocation/"


def main(name: str) -> None:
    module, function = name.rsplit(".", 1)
    handler = getattr(importlib.import_module(module), function)
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", f"{INVOCATION}next")
        event = api.getresponse()
        invocation = event.headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            kind, answer = "response", handler(json.load(event), None)
        except Exception as error:
            kind, answer = "error", {"errorType": type(error).__name__, "errorMessage": str(error)}
            traceback.print_exc()
        api.request("POST", f"{INVOCATION}{invocation}/{kind}", json.dumps(answer).encode())
        api.getresponse().read()


if __name__ == "__main__":
    main(sys.argv[1])
