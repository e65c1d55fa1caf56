"""The kubeconfig: everything a client needs, embedded."""

from base64 import b64encode
from pathlib import Path

import msgspec

from podwire.apiserver.pki import Pki, write_secret


class Kubeconfig(msgspec.Struct, frozen=True):
    """One cluster, one user, one context, all called ``name``."""

    name: str
    server: str
    ca: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def of(cls, name: str, server: str, pki: Pki) -> "Kubeconfig":
        """With the admin certificate of ``pki``."""
        certificate, key = pki.pair("admin")
        return cls(name, server, pki.ca.read_bytes(), certificate.read_bytes(), key.read_bytes())

    def text(self) -> str:
        """As YAML (JSON is YAML, but people read this)."""
        data = {field: b64encode(getattr(self, field)).decode() for field in ("ca", "certificate", "key")}
        return (
            "apiVersion: v1\nkind: Config\npreferences: {}\n"
            f"clusters:\n- name: {self.name}\n  cluster:\n    server: {self.server}\n"
            f"    certificate-authority-data: {data['ca']}\n"
            f"users:\n- name: {self.name}\n  user:\n"
            f"    client-certificate-data: {data['certificate']}\n    client-key-data: {data['key']}\n"
            f"contexts:\n- name: {self.name}\n  context:\n    cluster: {self.name}\n    user: {self.name}\n"
            f"current-context: {self.name}\n"
        )

    def write(self, path: Path) -> None:
        """Atomically, mode 0600."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(path, self.text().encode())
