"""What somebody wants to do: the attributes an authoriser decides on.

Spec: k8s staging/src/k8s.io/apiserver/pkg/authorization/authorizer/interfaces.go, endpoints/handlers/responsewriters/
errors.go (the text of 403).
"""

import msgspec

from podwire.apiserver.identity import User
from podwire.apiserver.status import StatusError, failure


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One verb on a resource, or on a path when ``path`` is set."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """``pods`` or ``pods/log``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def refused(user: User, access: Access, reason: str = "") -> StatusError:
    """403 in Kubernetes' words."""
    if access.path:
        text = f'User "{user.name}" cannot {access.verb} path "{access.path}"'
        message = f"forbidden: {text}{': ' + reason if reason else ''}"
        return failure(403, "Forbidden", message, details={})
    where = f' in the namespace "{access.namespace}"' if access.namespace else " at the cluster scope"
    text = (
        f'User "{user.name}" cannot {access.verb} resource "{access.full_resource}"'
        f' in API group "{access.group}"{where}'
    )
    if reason:
        text += f": {reason}"
    thing = f"{access.resource}.{access.group}" if access.group else access.resource
    named = f'{thing} "{access.name}"' if access.name else thing
    details = {"name": access.name} if access.name else {}
    if access.group:
        details["group"] = access.group
    details["kind"] = access.resource
    return failure(403, "Forbidden", f"{named} is forbidden: {text}", details=details)
