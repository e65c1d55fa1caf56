"""An admission webhook over HTTPS: ``python webhook_server.py CERTIFICATE KEY ADDRESS PORT``.

The path says what it answers; ``GET /seen`` gives every review it was sent. Also a process of its own in a pod.
"""

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


def patch(*operations: Json) -> Json:
    """A JSON patch, as AdmissionReview carries it."""
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}


def label(value: Json, key: str, text: str) -> Json:
    """Set one label."""
    add = {"op": "add", "path": f"/metadata/labels/{key}", "value": text}
    if value["metadata"].get("labels"):
        return patch(add)
    return patch({"op": "add", "path": "/metadata/labels", "value": {}}, add)


def answer(path: str, request: Json) -> Any:
    """The response, or the body when it is not to be a review."""
    match path.strip("/").split("/"):
        case ["label", key, text]:
            return {"allowed": True, **label(request["object"], key, text), "warnings": [f"labelled {key}"]}
        case ["count"]:
            now = int((request["object"]["metadata"].get("labels") or {}).get("count", "0"))
            return {"allowed": True, **label(request["object"], "count", str(now + 1))}
        case ["sidecar"]:
            side = {"name": "side", "image": "busybox", "command": ["sleep", "infinity"]}
            return {"allowed": True, **patch({"op": "add", "path": "/spec/containers/-", "value": side})}
        case ["data"]:
            return {"allowed": True, **patch({"op": "add", "path": "/data/by", "value": "webhook"})}
        case ["bad-type"]:
            return {"allowed": True, **patch({"op": "replace", "path": "/data", "value": 3})}
        case ["deny"]:
            return {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": "not today"}}
        case ["bare"]:
            return {"allowed": False}
        case ["wrong-uid"]:
            return {"allowed": True, "uid": "somebody else's"}
        case ["garbage"]:
            return b"<html>"
        case _:
            return {"allowed": True}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    seen: list[Json] = []
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append({"path": path, **review["request"]})
        if path == "/silent":
            self.rfile.read(1)  # until the client gives up
            return
        found = answer(path, review["request"])
        if isinstance(found, bytes):
            self.reply(found)
            return
        response = {"uid": review["request"]["uid"], **found}
        self.reply(
            json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}).encode()
        )

    def do_GET(self) -> None:
        self.reply(json.dumps(self.seen).encode())

    def reply(self, body: bytes) -> None:
        code = 500 if self.path.startswith("/broken") else 200
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


def serve(certificate: str, key: str, address: str, port: int) -> ThreadingHTTPServer:
    """A server that is not running yet."""
    server = ThreadingHTTPServer((address, port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])).serve_forever()
