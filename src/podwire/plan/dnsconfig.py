"""What the Corefile says, typed: server blocks and their plugins, in the order in which they act.

Rules:

1. Zones are lower case without the final dot; the root is the empty string. The longest matching zone of any block
   takes a question.
2. The plugins of a block are in CoreDNS's fixed order (``plugin.cfg``), not in the order of the file.
3. Everything that the Corefile refers to is resolved here: upstreams are addresses, files are their lines.
4. ``None`` for ``fallthrough`` means: never. An empty tuple means: for every zone of the plugin.
5. A block listens on one scheme and port; a block of the file with keys of several is several blocks here.

Source: coredns:corefile.5.md and plugin/*/README.md.
"""

from typing import Any, Literal

import msgspec

from podwire.base import Origin

Zones = tuple[str, ...]
Expression = tuple[Any, ...]
"""A checked expression of the plugin ``view``: operator or function, then operands (``corefile_view.py``)."""
Scheme = Literal["dns", "tls", "https"]
ClientAuth = Literal["nocert", "request", "require", "verify_if_given", "require_and_verify"]


class Tls(msgspec.Struct, frozen=True):
    """A certificate with its key, and who signs the other side's; PEM. All empty: the system's authorities."""

    certificate: str = ""
    key: str = ""
    authority: str = ""
    client_auth: ClientAuth = "nocert"

    def __repr__(self) -> str:
        """Without the key."""
        return f"Tls(certificate={len(self.certificate)} bytes, client_auth={self.client_auth!r})"


class Nsid(msgspec.Struct, frozen=True, tag="nsid", tag_field="plugin"):
    """Answers the EDNS option NSID (RFC 5001) with ``data``."""

    data: str


class Bufsize(msgspec.Struct, frozen=True, tag="bufsize", tag_field="plugin"):
    """Limits the UDP size that clients advertise."""

    size: int = 1232


class Ready(msgspec.Struct, frozen=True, tag="ready", tag_field="plugin"):
    """Serves ``/ready`` on 8181."""


class Health(msgspec.Struct, frozen=True, tag="health", tag_field="plugin"):
    """Serves ``/health`` on 8080; after SIGTERM the server goes on for ``lameduck_seconds``."""

    lameduck_seconds: float = 0


class Prometheus(msgspec.Struct, frozen=True, tag="prometheus", tag_field="plugin"):
    """Serves ``/metrics`` on 9153."""


class Errors(msgspec.Struct, frozen=True, tag="errors", tag_field="plugin"):
    """Logs failed questions; ``consolidate`` are (seconds, pattern): repetitions within that time are counted."""

    consolidate: tuple[tuple[float, str], ...] = ()


class Log(msgspec.Struct, frozen=True, tag="log", tag_field="plugin"):
    """Logs questions below ``names`` whose answer is of one of ``classes``."""

    names: Zones = ("",)
    format: str = ""
    classes: tuple[str, ...] = ("all",)


class Dns64(msgspec.Struct, frozen=True, tag="dns64", tag_field="plugin"):
    """Makes AAAA from A (RFC 6147): ``prefix`` is an IPv6 network of /32 to /96."""

    prefix: str = "64:ff9b::/96"
    translate_all: bool = False
    allow_ipv4: bool = False


class AclRule(msgspec.Struct, frozen=True):
    """``types`` and ``nets`` empty: all of them."""

    action: Literal["allow", "block", "filter", "drop"]
    types: tuple[str, ...] = ()
    nets: tuple[str, ...] = ()


class Acl(msgspec.Struct, frozen=True, tag="acl", tag_field="plugin"):
    """The first matching rule decides; no match allows."""

    zones: Zones
    rules: tuple[AclRule, ...]


class Any_(msgspec.Struct, frozen=True, tag="any", tag_field="plugin"):
    """Answers ANY with HINFO (RFC 8482)."""


class Chaos(msgspec.Struct, frozen=True, tag="chaos", tag_field="plugin"):
    """Answers ``version.bind`` and its like in class CH."""

    version: str = ""
    authors: tuple[str, ...] = ()


class LoadBalance(msgspec.Struct, frozen=True, tag="loadbalance", tag_field="plugin"):
    """Rotates addresses; those in ``prefer`` go first. With ``weights``, (name, ((address, weight), ...)), the first
    address of these names is drawn by weight."""

    prefer: tuple[str, ...] = ()
    weights: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()


class Autopath(msgspec.Struct, frozen=True, tag="autopath", tag_field="plugin"):
    """Walks the search list for the client: its own namespace's (``kubernetes``) and then ``search``."""

    zones: Zones
    kubernetes: bool
    search: Zones


class Transfer(msgspec.Struct, frozen=True, tag="transfer", tag_field="plugin"):
    """Gives whole zones over TCP to clients in ``nets``. Nobody is told of changes (RFC 1996)."""

    zones: Zones
    nets: tuple[str, ...]


class Cache(msgspec.Struct, frozen=True, tag="cache", tag_field="plugin"):
    """Keeps answers of upstreams. Our own zone is never cached: it is always current."""

    zones: Zones
    success: int = 9984
    success_ttl: int = 3600
    success_min: int = 5
    denial: int = 9984
    denial_ttl: int = 1800
    denial_min: int = 5
    prefetch: int = 0
    prefetch_seconds: float = 60
    prefetch_percent: int = 10
    stale_seconds: float = 3600
    stale_refresh: Literal["verify", "immediate"] = "verify"
    servfail_seconds: float = 5
    success_disabled: Zones = ()
    denial_disabled: Zones = ()
    keepttl: bool = False
    stale_verify_seconds: float = 0
    stale_ttl: int = 30
    stale_recheck_seconds: float = 0
    prefer_positive: bool = False


class RewriteRule(msgspec.Struct, frozen=True):
    """``field`` name, type, class, ttl, cname, rcode or edns0; ``kind`` exact, prefix, suffix, substring or regex.

    rcode: ``code`` is the response code that becomes ``new``. edns0: ``kind`` is set, append, replace or unset, ``old``
    is local, nsid or subnet, ``code`` the option's number and ``new`` its data.

    ``answers`` are (what, pattern, replacement) with what ``name`` or ``value``; ``auto`` undoes the rewrite of the
    question in the answer.
    """

    field: str
    kind: str
    old: str
    new: str
    then: Literal["continue", "stop"] = "stop"
    auto: bool = False
    answers: tuple[tuple[str, str, str], ...] = ()
    code: str = ""


class Rewrite(msgspec.Struct, frozen=True, tag="rewrite", tag_field="plugin"):
    """Changes questions on their way in and answers on their way out."""

    rules: tuple[RewriteRule, ...]


class Minimal(msgspec.Struct, frozen=True, tag="minimal", tag_field="plugin"):
    """Leaves out authority and additional records of positive answers."""


class Template(msgspec.Struct, frozen=True, tag="template", tag_field="plugin"):
    """Answers made from the question by regular expressions."""

    rclass: str
    rtype: str
    zones: Zones
    match: tuple[str, ...] = (".*",)
    answer: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    rcode: str = "NOERROR"
    ede: tuple[int, str] | None = None
    fallthrough: Zones | None = None


class Hosts(msgspec.Struct, frozen=True, tag="hosts", tag_field="plugin"):
    """Addresses and their names, as in a hosts file."""

    zones: Zones
    entries: tuple[tuple[str, tuple[str, ...]], ...]
    ttl: int = 3600
    reverse: bool = True
    fallthrough: Zones | None = None


class Kubernetes(msgspec.Struct, frozen=True, tag="kubernetes", tag_field="plugin"):
    """The cluster's own names. What concerns records is compiled into the zone plan; the rest is for the server."""

    zones: Zones
    pods: Literal["disabled", "insecure", "verified"] = "disabled"
    endpoint_pod_names: bool = False
    ttl: int = 5
    noendpoints: bool = False
    fallthrough: Zones | None = None
    namespaces: tuple[str, ...] = ()
    namespace_labels: str = ""
    labels: str = ""
    ignore_empty_service: bool = False
    zonal: bool = False


class File(msgspec.Struct, frozen=True, tag="file", tag_field="plugin"):
    """Zones from a master file (RFC 1035 section 5): (name, type, ttl, data)."""

    zones: Zones
    records: tuple[tuple[str, str, int, str], ...]
    fallthrough: Zones | None = None


class Loop(msgspec.Struct, frozen=True, tag="loop", tag_field="plugin"):
    """Notices that our upstream is ourselves, and stops forwarding instead of ending the process."""


class Forward(msgspec.Struct, frozen=True, tag="forward", tag_field="plugin"):
    """Asks ``upstreams`` about names below ``zone`` that are not below ``excepts``.

    An upstream is ``address``, ``address:port`` or ``[v6]:port``; over TLS ``tls://ADDRESS%NAME``, over HTTPS
    ``https://ADDRESS%NAME/PATH``; NAME is the one its certificate must have (none: its address).
    """

    zone: str
    upstreams: tuple[str, ...]
    excepts: Zones = ()
    policy: Literal["random", "round_robin", "sequential"] = "random"
    force_tcp: bool = False
    max_fails: int = 2
    max_concurrent: int = 1000
    read_seconds: float = 2
    health_seconds: float = 0.5
    health_recursion: bool = True
    health_name: str = ""
    failfast: bool = False
    next_rcodes: tuple[str, ...] = ()
    next_on_nodata: bool = False
    failover: tuple[str, ...] = ()
    max_attempts: int | None = None
    """Attempts for one question; None: twice the number of upstreams; 0: until the time is over."""
    expire_seconds: float = 10
    doh_method: Literal["GET", "POST"] = "POST"
    tls: Tls | None = None
    source: str = ""


class Whoami(msgspec.Struct, frozen=True, tag="whoami", tag_field="plugin"):
    """Answers with the client's address, port and transport."""


Plugin = (
    Nsid | Bufsize | Ready | Health | Prometheus | Errors | Log | Dns64 | Acl | Any_ | Chaos | LoadBalance | Cache
    | Rewrite | Minimal | Template | Hosts | Kubernetes | File | Loop | Forward | Whoami | Autopath | Transfer
)  # fmt: skip


class ServerBlock(msgspec.Struct, frozen=True):
    """Who answers below ``zones`` on a port: the first plugin that has something to say.

    ``binds`` are addresses and interfaces it listens on (empty: all); ``view`` names it, and ``conditions`` must all
    hold for a question. ``tls`` is what ``tls://`` and ``https://`` prove themselves with.
    """

    origin: Origin
    zones: Zones
    plugins: tuple[Plugin, ...]
    scheme: Scheme = "dns"
    port: int = 53
    binds: tuple[str, ...] = ()
    binds_except: tuple[str, ...] = ()
    tls: Tls | None = None
    view: str = ""
    conditions: tuple[Expression, ...] = ()


class DnsConfig(msgspec.Struct, frozen=True):
    """All server blocks. Without any the server answers its zone and asks the plan's upstreams."""

    blocks: tuple[ServerBlock, ...] = ()

    def kubernetes(self) -> Kubernetes | None:
        """The first plugin that serves the cluster's names."""
        found = (p for block in self.blocks for p in block.plugins if isinstance(p, Kubernetes))
        return next(found, None)


CONFIG_FACT = "config"
"""In ``applied`` of the DNS plane's fact: the configuration in force as JSON, without certificates and keys."""


def show_config(config: DnsConfig) -> str:
    """For :data:`CONFIG_FACT`."""

    def bare(plugin: Plugin) -> Plugin:
        return msgspec.structs.replace(plugin, tls=None) if isinstance(plugin, Forward) and plugin.tls else plugin

    blocks = (msgspec.structs.replace(b, tls=None, plugins=tuple(map(bare, b.plugins))) for b in config.blocks)
    return msgspec.json.encode(DnsConfig(tuple(blocks))).decode()


def zone_holds(zone: str, name: str) -> bool:
    """Whether ``name`` is ``zone`` or below it; the empty zone holds everything."""
    return not zone or name == zone or name.endswith("." + zone)
