"""How a command ended, as the Status the error channel carries."""

from typing import Any

import msgspec

Json = dict[str, Any]


def ended(code: int) -> Json:
    """Success, or NonZeroExitCode with the code as cause (k8s remotecommand.NonZeroExitCodeReason)."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def broken(message: str) -> Json:
    """The session broke before the command ended."""
    return {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}


def encode(status: Json, *, structured: bool) -> bytes:
    """The bytes for the error stream: JSON from protocol v4 on, before it the bare message of a failure."""
    if structured:
        return msgspec.json.encode(status)
    return str(status.get("message", "")).encode() if status["status"] != "Success" else b""
