"""IPAddress and ServiceCIDR at work (reference/services.md S6, S7; KEP-1880).

Rules:

1. Every address of a Service has an IPAddress; both are written in one transaction. Who deletes the IPAddress of a
   living Service gets it back at once.
2. A ServiceCIDR has a finalizer and says Ready. When it is deleted it gives no more addresses (``allocate``) and stays,
   Terminating, while an address that is in use is covered by it alone; 10 seconds after the deletion at the earliest,
   and as soon as nothing holds it, it goes.
3. Everything is decided in the turn of the write that changes it: :class:`Cidrs` observes the head of the store.

Spec: k8s pkg/controller/servicecidrs, pkg/registry/core/service/ipallocator.
"""

import asyncio
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

from podwire.apiserver.allocate import DEFAULT_CIDR, Network
from podwire.apiserver.chance import Chance, timestamp
from podwire.apiserver.families import family_of
from podwire.apiserver.objects import Objects, Place
from podwire.apiserver.reaper import Reaper
from podwire.apiserver.strategy import with_meta
from podwire.base import stable_hash
from podwire.kube.registry import KINDS

Json = dict[str, Any]

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
_LABEL = "ipaddress.kubernetes.io"
MANAGER = "ipallocator.k8s.io"
GRACE_SECONDS = 10.0
_READY = "Kubernetes Service CIDR is ready"
_HELD = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


class Cidrs:
    """Follows Services, IPAddresses and ServiceCIDRs of a server."""

    def __init__(self, objects: Objects, reaper: Reaper, chance: Chance) -> None:
        """Follow; :meth:`resume` looks at what is there."""
        self._objects = objects
        self._reaper = reaper
        self._chance = chance
        self._timers: dict[str, asyncio.TimerHandle] = {}
        objects.observers.append(self._observe)

    def resume(self) -> None:
        """After a start: the cluster's own blocks, addresses without IPAddress, and deletions under way."""
        if self._objects.get("ServiceCIDR", DEFAULT_CIDR) is None:
            blocks = [str(block) for block in self._objects.allocator.networks.values()]
            self._objects.put(
                "ServiceCIDR", DEFAULT_CIDR, self._derived("ServiceCIDR", DEFAULT_CIDR, {"cidrs": blocks})
            )
        for key, service in [*self._objects.store.heads("Service")]:
            self._follow_service(key, None, service)
        for name, value in [*self._objects.store.heads("ServiceCIDR")]:
            self._follow_cidr(name, value)

    def close(self) -> None:
        """No deletion is finished any more."""
        for timer in self._timers.values():
            timer.cancel()

    def _observe(self, place: Place, old: Json | None, new: Json | None) -> None:
        kind, key = place
        match kind:
            case "Service":
                self._follow_service(key, old, new)
            case "IPAddress" if new is None and old is not None:
                self._restore(key, old)
                self._look_at_deleting()
            case "ServiceCIDR":
                if new is not None:
                    self._follow_cidr(key, new)
                if old is None or new is None:
                    self._look_at_deleting()
            case _:
                pass

    # --- addresses ---

    def _follow_service(self, key: str, old: Json | None, new: Json | None) -> None:
        before, after = set(_addresses(old)), set(_addresses(new))
        for address in sorted(before - after):
            found = self._objects.get("IPAddress", address)
            if found is not None and _parent_key(found) == key:
                self._objects.remove("IPAddress", address)
        for address in sorted(after):
            if self._objects.get("IPAddress", address) is None:
                self._objects.put("IPAddress", address, self._address(address, key))

    def _restore(self, address: str, gone: Json) -> None:
        """Rule 1."""
        service = self._objects.get("Service", _parent_key(gone))
        if address in _addresses(service):
            self._objects.put("IPAddress", address, self._address(address, _parent_key(gone)))

    def _address(self, address: str, key: str) -> Json:
        namespace, _, name = key.partition("/")
        labels = {
            "ipaddress.kubernetes.io/ip-family": family_of(address),
            f"{_LABEL}/managed-by": MANAGER,
        }
        parent = {"resource": "services", "namespace": namespace, "name": name}
        made = self._derived("IPAddress", address, {"parentRef": parent})
        return with_meta(made, labels=labels)

    def _derived(self, kind: str, name: str, spec: Json) -> Json:
        """An object that nobody asked for by a request; its uid is made from what it is, not by chance."""
        born = timestamp(self._chance.now())
        digits = stable_hash(f"{kind}/{name}/{born}/{spec}", size_bytes=16)
        uid = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
        meta = {"name": name, "uid": uid, "creationTimestamp": born}
        return {"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": meta, "spec": spec}

    # --- blocks ---

    def _follow_cidr(self, name: str, value: Json) -> None:
        meta = value["metadata"]
        if meta.get("deletionTimestamp"):
            self._finish(name, value)
            return
        wanted = self._with_condition(value, status="True", reason="", message=_READY)
        if FINALIZER not in (meta.get("finalizers") or ()):
            wanted = with_meta(wanted, finalizers=[*(meta.get("finalizers") or ()), FINALIZER])
        if wanted != value:
            self._objects.put("ServiceCIDR", name, wanted)

    def _look_at_deleting(self) -> None:
        for name, value in [*self._objects.store.heads("ServiceCIDR")]:
            if value["metadata"].get("deletionTimestamp"):
                self._finish(name, value)

    def _finish(self, name: str, value: Json) -> None:
        """Rule 2."""
        finalizers = value["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        if self._is_held(name, value):
            wanted = self._with_condition(value, status="False", reason="Terminating", message=_HELD)
            if wanted != value:
                self._objects.put("ServiceCIDR", name, wanted)
            return
        left = _seconds_left(value, self._chance.now())
        if left > 0:
            self._later(name, left)
            return
        freed = with_meta(value, finalizers=[entry for entry in finalizers if entry != FINALIZER] or None)
        item = self._objects.put("ServiceCIDR", name, freed)
        self._reaper.after_update(KINDS["ServiceCIDR"], name, item.value)

    def _later(self, name: str, seconds: float) -> None:
        if name in self._timers:
            return

        def look() -> None:
            del self._timers[name]
            value = self._objects.get("ServiceCIDR", name)
            if value is not None and value["metadata"].get("deletionTimestamp"):
                self._finish(name, value)

        self._timers[name] = asyncio.get_running_loop().call_later(seconds, look)

    def _is_held(self, name: str, value: Json) -> bool:
        """Whether an address in use is covered by this ServiceCIDR alone."""
        mine = _blocks(value)
        others = [
            block
            for other, found in self._objects.store.heads("ServiceCIDR")
            if other != name and not found["metadata"].get("deletionTimestamp")
            for block in _blocks(found)
        ]
        for address, found in self._objects.store.heads("IPAddress"):
            labels = found["metadata"].get("labels") or {}
            parsed = ip_address(address)
            if labels.get(f"{_LABEL}/managed-by") != MANAGER or not any(parsed in own for own in mine):
                continue
            if not any(parsed in block for block in others):
                return True
        return False

    def _with_condition(self, value: Json, *, status: str, reason: str, message: str) -> Json:
        found = (value.get("status") or {}).get("conditions") or []
        before: Json = next((entry for entry in found if entry.get("type") == "Ready"), {})
        if (before.get("status"), before.get("reason", ""), before.get("message")) == (status, reason, message):
            return value
        same = before.get("status") == status
        since = before["lastTransitionTime"] if same else timestamp(self._chance.now())
        condition = {"type": "Ready", "status": status, "reason": reason, "message": message}
        others = [entry for entry in found if entry.get("type") != "Ready"]
        return {**value, "status": {"conditions": [*others, condition | {"lastTransitionTime": since}]}}


def _addresses(service: Json | None) -> list[str]:
    spec = (service or {}).get("spec") or {}
    return [str(ip_address(address)) for address in spec.get("clusterIPs") or () if address and address != "None"]


def _parent_key(address: Json) -> str:
    parent = (address.get("spec") or {}).get("parentRef") or {}
    return f"{parent.get('namespace', '')}/{parent.get('name', '')}" if parent.get("resource") == "services" else ""


def _blocks(value: Json) -> list[Network]:
    return [ip_network(text) for text in (value.get("spec") or {}).get("cidrs") or ()]


def _seconds_left(value: Json, now: datetime) -> float:
    marked = datetime.strptime(value["metadata"]["deletionTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return GRACE_SECONDS - (now - marked).total_seconds()
