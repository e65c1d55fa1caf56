"""What podwire says about a user's object: a value, never an exception.

Codes are stable (``PW1203``) and documented in ``docs/reference/findings.md``. Families: 11 Service, 12 DNS,
20 policy, 30 Ingress, 40 Gateway API, 50 TLS, 60 workload and node, 70 mesh, 90 general.
"""

from typing import Literal

import msgspec

from podwire.base.ref import FieldPath, Ref

Severity = Literal["error", "warning", "info"]


class Finding(msgspec.Struct, frozen=True, order=True):
    """One statement about one field of one object: what is wrong, why, and the corrected form."""

    code: str
    severity: Severity
    ref: Ref
    path: FieldPath
    message: str
    fix: str = ""

    def __str__(self) -> str:
        """``PW3001 error Ingress shop/web spec.rules[0]: message (fix: ...)``."""
        fix = f" (fix: {self.fix})" if self.fix else ""
        return f"{self.code} {self.severity} {self.ref} {self.path}: {self.message}{fix}"
