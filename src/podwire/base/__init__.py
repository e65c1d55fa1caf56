"""Words every room shares: references, field paths, addresses, findings and errors.

Pure: no I/O, no clock. Nothing here knows Kubernetes kinds or plans.
"""

from podwire.base.editions import Draft, Edition, differences
from podwire.base.errors import Conflict, EnvironmentUnfit, PodwireError
from podwire.base.finding import Finding, Severity
from podwire.base.net import Cidr, PortSet, PortSpan, Protocol, join_port
from podwire.base.numbers import assign_numbers, stable_hash
from podwire.base.ref import NOWHERE, FieldPath, Origin, Ref

__all__ = [
    "NOWHERE",
    "Cidr",
    "Conflict",
    "Draft",
    "Edition",
    "EnvironmentUnfit",
    "FieldPath",
    "Finding",
    "Origin",
    "PodwireError",
    "PortSet",
    "PortSpan",
    "Protocol",
    "Ref",
    "Severity",
    "assign_numbers",
    "differences",
    "join_port",
    "stable_hash",
]
