"""Ways for a provider to fail, as handlers of upstream.Upstream."""

import json
import time

FAST = "defaults { connect = 1, head = 0.5, first_event = 0.5, between_events = 0.5, hold_head = 0 }\n"


def error(kind="server_error", code=None):
    return json.dumps({"error": {"message": "told to fail", "type": kind, "param": None, "code": code}}).encode()


def says(status, body=None, **headers):
    body = error() if body is None else body
    return lambda r, p: p.answer(body, status, [(k.replace("_", "-"), str(v)) for k, v in headers.items()]) or True


def sends(data, then="close"):
    """Raw bytes, then the end, a reset, or silence."""

    def handler(r, p):
        p.send(data)
        time.sleep(0.02)
        if then == "reset":
            p.reset()
        elif then == "stall":
            p.gone(3)
        return False

    return handler


def stream(*pieces, then="end"):
    def handler(r, p):
        p.stream(*pieces, end=then == "end")
        time.sleep(0.02)
        if then == "reset":
            p.reset()
        elif then == "stall":
            p.gone(3)
        return then == "end"

    return handler
