"""AdminNetworkPolicies of the API before ClusterNetworkPolicy: not enforced, and said so with what to write instead."""

import json
from collections.abc import Iterator
from functools import partial

from podwire.base import NOWHERE, Finding
from podwire.compile.context import Context
from podwire.kube.superseded import AdminNetworkPolicy, BaselineAdminNetworkPolicy, convert_admin_policy

Superseded = AdminNetworkPolicy | BaselineAdminNetworkPolicy


def find_superseded(context: Context) -> Iterator[Finding]:
    """One finding an object, with its converted form."""
    snapshot = context.snapshot
    found: tuple[Superseded, ...] = (
        *snapshot.all(AdminNetworkPolicy).values(),
        *snapshot.all(BaselineAdminNetworkPolicy).values(),
    )
    for policy in found:
        yield context.memo.unit(f"superseded/{policy.ref}", (policy,), partial(_say, policy))


def _say(policy: Superseded) -> Finding:
    text = f"{policy.kind} is superseded by ClusterNetworkPolicy and not enforced"
    instead = json.dumps(convert_admin_policy(policy), separators=(",", ":"))
    return Finding("PW2022", "error", policy.ref, NOWHERE, text, f"kubectl apply -f - with {instead}")
