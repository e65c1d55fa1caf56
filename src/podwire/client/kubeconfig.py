"""Kubeconfig files: which server, whom to trust, who we are.

Client certificates and tokens (inline or as files) are supported. Exec plugins and auth providers are not: they are
refused with what to do instead, never ignored.
"""

import base64
import os
import ssl
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from podwire.base import EnvironmentUnfit


class Access(msgspec.Struct, frozen=True):
    """How to reach one API server."""

    server: str
    namespace: str
    token: str
    tls: ssl.SSLContext | None

    def __repr__(self) -> str:
        """Without the token."""
        return f"Access({self.server})"


def default_kubeconfig() -> Path:
    """``$KUBECONFIG`` (its first entry) or ``~/.kube/config``."""
    first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(first) if first else Path.home() / ".kube" / "config"


def read_kubeconfig(path: Path, *, context: str = "") -> Access:
    """The access of a context (default: the current one). Raises :class:`EnvironmentUnfit` naming what is wrong."""
    import yaml

    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise EnvironmentUnfit(f"kubeconfig {path}: {error}") from error
    if not isinstance(config, dict):
        raise EnvironmentUnfit(f"kubeconfig {path} is not a mapping")
    name = context or config.get("current-context") or ""
    chosen = _named(config, "contexts", name, "context", path)
    cluster = _named(config, "clusters", chosen.get("cluster", ""), "cluster", path)
    user = _named(config, "users", chosen.get("user", ""), "user", path)
    for unsupported in ("exec", "auth-provider", "username"):
        if unsupported in user:
            raise EnvironmentUnfit(
                f"kubeconfig {path}: user {chosen.get('user')!r} uses {unsupported!r}, which podwire does not run; "
                "use a client certificate or a token (kubectl create token NAME)"
            )
    return Access(
        server=str(cluster.get("server", "")).rstrip("/"),
        namespace=str(chosen.get("namespace") or "default"),
        token=_token(user, path),
        tls=_tls(cluster, user, path) if str(cluster.get("server", "")).startswith("https") else None,
    )


def _named(config: dict[str, Any], section: str, name: str, field: str, path: Path) -> dict[str, Any]:
    for entry in config.get(section) or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            found: dict[str, Any] = entry.get(field) or {}
            return found
    raise EnvironmentUnfit(f"kubeconfig {path} has no {field} named {name!r}")


def _token(user: dict[str, Any], path: Path) -> str:
    if user.get("tokenFile"):
        return str((path.parent / str(user["tokenFile"])).read_text().strip())
    return str(user.get("token") or "")


def _data(section: dict[str, Any], name: str, path: Path) -> bytes:
    """Inline base64 (``name-data``) wins over a file, as in client-go."""
    if section.get(f"{name}-data"):
        return base64.b64decode(section[f"{name}-data"])
    return (path.parent / section[name]).read_bytes() if section.get(name) else b""


def _tls(cluster: dict[str, Any], user: dict[str, Any], path: Path) -> ssl.SSLContext:
    authority = _data(cluster, "certificate-authority", path)
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    certificate, key = _data(user, "client-certificate", path), _data(user, "client-key", path)
    if certificate and key:
        # The standard library loads key pairs from files only; the file is 0600 and gone before we return.
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            tls.load_cert_chain(file.name)
    return tls
