"""Addresses for Services of type LoadBalancer.

Rules:

1. A Service gets an address of each of its families, from the pool of the family. One that it has and that lies in the
   pool is kept; of two Services with the same one the older keeps it.
2. ``spec.loadBalancerIP`` inside the pool of its family is honoured when it is free; otherwise the Service waits, with
   a finding.
3. Everyone else gets the lowest free address, older Services first.
4. ``spec.loadBalancerClass`` names another controller: the Service is left alone (info PW1131).
5. Annotations for clouds' load balancers are reported: what is not simulated is said (PW1132).
6. Pool exhausted, or the asked address is not to be had: PW1130, and the Service has no address of that family.
"""

from collections.abc import Mapping
from functools import partial
from ipaddress import ip_address

from podwire.base import NOWHERE, FieldPath, Finding
from podwire.compile.context import Context, Piece
from podwire.compile.loadbalancers_cloud import find_cloud_annotations
from podwire.compile.statuses import merge_status, parse_time
from podwire.kube import Service
from podwire.kube.core import LoadBalancerIngress, LoadBalancerStatus
from podwire.plan import Write
from podwire.snapshot import AddressRange

CODE = "PW1130"


def compile_load_balancers(context: Context) -> Piece:
    """Status writes that give and take addresses."""
    pools = {_family(p.first): _Pool(p) for p in context.snapshot.settings.load_balancer_pools}
    writes: dict[str, Write] = {}
    findings: list[Finding] = []
    served: list[tuple[Service, dict[str, str]]] = []
    for service in sorted(_balanced(context), key=_age):
        findings.extend(find_cloud_annotations(service))
        if service.spec.load_balancer_class is not None:
            findings.append(_foreign(service))
        else:
            served.append((service, _keep(service, pools)))
    for service, kept in served:
        addresses, problems = _give(service, kept, pools)
        findings += [Finding(CODE, "error", service.ref, FieldPath("spec.loadBalancerIP"), p) for p in problems]
        patch = context.memo.unit(f"balancer/{service.key}", (service, addresses), partial(_status, service, addresses))
        if patch is not None:
            writes[f"balancer/Service/{service.key}"] = patch
    return Piece(writes=writes, findings=tuple(findings))


def _keep(service: Service, pools: Mapping[str, "_Pool"]) -> dict[str, str]:
    """By family, the addresses it has and may keep; empty for a family that waits for one."""
    current = {_family(i.ip): i.ip for i in reversed(service.status.load_balancer.ingress) if i.ip}
    wanted = service.spec.load_balancer_ip
    kept = {}
    for family in service.spec.ip_families or tuple(pools)[:1]:
        if family in pools:
            address = current.get(family, "")
            asked = wanted if _family(wanted) == family else ""
            kept[family] = address if pools[family].take(address, wanted=asked) else ""
    return kept


def _give(service: Service, kept: dict[str, str], pools: Mapping[str, "_Pool"]) -> tuple[tuple[str, ...], list[str]]:
    """Every address of the Service in the order of its families, and what cannot be had."""
    wanted = service.spec.load_balancer_ip
    addresses, problems = [], []
    for family, address in kept.items():
        if not address:
            address, problem = pools[family].choose(wanted if _family(wanted) == family else "")
            problems += [problem] if problem else []
        addresses += [address] if address else []
    if wanted and _family(wanted) not in kept:
        problems.append(f"loadBalancerIP {wanted} is of no family of the Service ({', '.join(kept)})")
    return tuple(addresses), problems


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


class _Pool:
    """The addresses between first and last, and which are taken."""

    def __init__(self, pool: AddressRange) -> None:
        self._first = ip_address(pool.first)
        self._last = ip_address(pool.last)
        self._taken: set[str] = set()
        self._next = int(self._first)

    def take(self, current: str, *, wanted: str) -> bool:
        """Keep ``current`` if it is of the pool, free, and not another one is asked for."""
        if not current or current in self._taken or not self._holds(current) or wanted not in ("", current):
            return False
        self._taken.add(current)
        return True

    def choose(self, wanted: str) -> tuple[str, str]:
        """``(address, "")`` or ``("", why not)``."""
        if wanted:
            return self._asked(wanted)
        while self._text(self._next) in self._taken and self._next <= int(self._last):
            self._next += 1
        if self._next > int(self._last):
            return "", f"no address is left in the load balancer pool {self._first} to {self._last}"
        address = self._text(self._next)
        self._taken.add(address)
        return address, ""

    def _text(self, number: int) -> str:
        return str(type(self._first)(number))

    def _asked(self, wanted: str) -> tuple[str, str]:
        if not self._holds(wanted):
            return "", f"loadBalancerIP {wanted} is not in the pool {self._first} to {self._last}"
        if wanted in self._taken:
            return "", f"loadBalancerIP {wanted} belongs to another Service"
        self._taken.add(wanted)
        return wanted, ""

    def _holds(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return parsed.version == self._first.version and int(self._first) <= int(parsed) <= int(self._last)


def _balanced(context: Context) -> list[Service]:
    services = context.snapshot.all(Service)
    return context.memo.unit("balanced", (services,), lambda: [s for s in services.values() if _is_balanced(s)])


def _is_balanced(service: Service) -> bool:
    return service.spec.type == "LoadBalancer" and service.metadata.deletion_timestamp is None


def _age(service: Service) -> tuple[float, str]:
    return parse_time(service.metadata.creation_timestamp), service.key


def _status(service: Service, addresses: tuple[str, ...]) -> Write | None:
    if tuple(i.ip for i in service.status.load_balancer.ingress) == addresses:
        return None
    ingress = tuple(LoadBalancerIngress(ip=address, ip_mode="VIP") for address in addresses)
    return merge_status(service, {"load_balancer": LoadBalancerStatus(ingress=ingress)}, path=NOWHERE)


def _foreign(service: Service) -> Finding:
    name = service.spec.load_balancer_class
    message = f"loadBalancerClass {name} belongs to another controller; podwire gives no address"
    return Finding("PW1131", "info", service.ref, FieldPath("spec.loadBalancerClass"), message, "remove the field")
