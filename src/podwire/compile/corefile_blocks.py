"""A parsed Corefile as typed server blocks.

Rules:

1. A block's plugins are put in CoreDNS's fixed order; twice the same plugin is an error but for those that CoreDNS
   lets repeat.
2. A plugin of CoreDNS that podwire does not have, and a word that is no plugin, are errors: the server never runs
   half a configuration. Options without effect here are reported by :class:`Ignored`.
3. A zone belongs to one block of a port, or to several that a ``view`` tells apart, the first that fits first.
4. ``tls://`` needs the plugin ``tls``; ``https://`` without it is HTTP, for a proxy in front.

Source: coredns:plugin.cfg, corefile.5.md.
"""

from collections.abc import Iterable, Mapping

import msgspec

from podwire.base import FieldPath, Origin
from podwire.compile import corefile_plugins as plain
from podwire.compile import corefile_rewrite as rewriting
from podwire.compile import corefile_serving as serving
from podwire.compile import corefile_traffic as traffic
from podwire.compile.corefile import Block, CorefileError, Directive, parse_corefile
from podwire.compile.corefile_plugins import Maker, Reading
from podwire.compile.corefile_words import server_key
from podwire.plan import dnsconfig as d

MAKERS: Mapping[str, Maker] = {
    "reload": plain.read_reload,
    "nsid": plain.read_nsid,
    "tls": serving.read_tls,
    "bufsize": plain.read_bufsize,
    "bind": serving.read_bind,
    "view": serving.read_view,
    "ready": plain.read_ready,
    "health": plain.read_health,
    "prometheus": plain.read_prometheus,
    "errors": plain.read_errors,
    "log": plain.read_log,
    "dns64": plain.read_dns64,
    "acl": plain.read_acl,
    "any": plain.simple(d.Any_),
    "chaos": plain.read_chaos,
    "loadbalance": plain.read_loadbalance,
    "cache": traffic.read_cache,
    "rewrite": rewriting.read_rewrite,
    "autopath": serving.read_autopath,
    "minimal": plain.simple(d.Minimal),
    "template": traffic.read_template,
    "transfer": serving.read_transfer,
    "hosts": plain.read_hosts,
    "kubernetes": plain.read_kubernetes,
    "file": plain.read_file,
    "loop": plain.simple(d.Loop),
    "forward": traffic.read_forward,
    "whoami": plain.simple(d.Whoami),
}
"""Every plugin there is, in the order in which they act."""

REPEATED = ("file", "rewrite", "template", "log", "acl", "forward", "bind", "view", "transfer")
UNBUILT = (
    "auto", "azure", "cancel", "clouddns", "debug", "dnssec", "dnstap", "erratic", "etcd", "geoip", "grpc",
    "grpc_server", "header", "https", "https3", "k8s_external", "local", "metadata", "multisocket", "nomad", "pprof",
    "quic", "root", "route53", "secondary", "shed", "sign", "timeouts", "trace", "tsig",
)  # fmt: skip


class Ignored(msgspec.Struct, frozen=True):
    """An option that is accepted and has no effect: where it is, and why."""

    text: str
    line: int
    why: str


class Corefile(msgspec.Struct, frozen=True):
    """A usable Corefile."""

    config: d.DnsConfig
    ignored: tuple[Ignored, ...] = ()


def compile_corefile(
    text: str,
    origin: Origin,
    *,
    resolv_conf: tuple[str, ...],
    env: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Corefile:
    """The typed configuration. ``resolv_conf`` are the host's name servers. Raises :class:`CorefileError`."""
    blocks: list[d.ServerBlock] = []
    lines: list[int] = []
    ignored: list[Ignored] = []
    for raw in parse_corefile(text, env=env, files=files):
        made, notes = _compile_block(raw, origin, resolv_conf, files or {})
        for block in made:
            _check_zones(block, zip(blocks, lines, strict=True), raw)
            blocks.append(block)
            lines.append(raw.keys[0].line)
        ignored.extend(notes)
    if not blocks:
        raise CorefileError("there is no server block", line=1, fix=". { ... }")
    _check_kubernetes(blocks, text)
    return Corefile(d.DnsConfig(tuple(blocks)), tuple(ignored))


def _check_zones(block: d.ServerBlock, others: Iterable[tuple[d.ServerBlock, int]], raw: Block) -> None:
    """Refuse a zone that another block of this port takes whole: nothing would ever get here."""
    place = (block.scheme, block.port, block.binds, block.binds_except)
    for other, line in others:
        both = [zone for zone in block.zones if zone in other.zones]
        if both and (other.scheme, other.port, other.binds, other.binds_except) == place and not other.conditions:
            message = f"zone {both[0] or '.'} is served by the block of line {line} already"
            word = raw.keys[0]
            fix = "put the plugins into one block, or give the first of them a view"
            raise CorefileError(message, line=word.line, file=word.file, fix=fix)


def _compile_block(
    raw: Block, origin: Origin, resolv_conf: tuple[str, ...], files: Mapping[str, str]
) -> tuple[list[d.ServerBlock], list[Ignored]]:
    """One block for each scheme and port of the keys."""
    places: dict[tuple[d.Scheme, int], dict[str, None]] = {}
    for key in raw.keys:
        scheme, port, named = server_key(key)
        places.setdefault((scheme, port), {}).update(dict.fromkeys(named))
    zones = tuple(dict.fromkeys(zone for found in places.values() for zone in found))
    reading = Reading(zones=zones, resolv_conf=resolv_conf, files=files, ignored=[])
    made: dict[str, list[d.Plugin]] = {}
    lines: dict[str, int] = {}
    for line in raw.lines:
        name = line.name.text
        maker = MAKERS.get(name)
        if maker is None:
            raise _not_a_plugin(line)
        if name in lines and name not in REPEATED:
            raise line.error(f"plugin {name} is in this block already (line {lines[name]})")
        lines[name] = line.name.line
        plugin = maker(reading, line)
        made.setdefault(name, []).extend([plugin] if plugin is not None else [])
    plugins = tuple(p for name in MAKERS for p in _joined(made.get(name, [])))
    notes = [Ignored(f"{option.name.text}", option.name.line, why) for option, why in reading.ignored]
    blocks = []
    for (scheme, port), found in places.items():
        if scheme == "tls" and reading.serving.get("tls") is None:
            word = raw.keys[0]
            raise CorefileError("tls:// needs the plugin tls", line=word.line, file=word.file, fix="tls CERT KEY")
        blocks.append(d.ServerBlock(origin, tuple(found), plugins, scheme, port, **reading.serving))
    return blocks, notes


def _joined(plugins: list[d.Plugin]) -> list[d.Plugin]:
    """All rules of ``rewrite`` act as one plugin: ``continue`` goes on with the next rule."""
    rules = [rule for p in plugins if isinstance(p, d.Rewrite) for rule in p.rules]
    return [d.Rewrite(tuple(rules))] if rules else plugins


def _not_a_plugin(line: Directive) -> CorefileError:
    name = line.name.text
    allowed = ", ".join(MAKERS)
    if name in UNBUILT:
        return line.error(f"plugin {name} is not built in podwire (there are: {allowed})", fix=f"remove {name}")
    return line.error(f"{name!r} is not a plugin (there are: {allowed})")


def _check_kubernetes(blocks: list[d.ServerBlock], text: str) -> None:
    """The cluster's zone is served once."""
    found = list(dict.fromkeys(p for block in blocks for p in block.plugins if isinstance(p, d.Kubernetes)))
    line = next((n for n, row in enumerate(text.splitlines(), 1) if row.split()[:1] == ["kubernetes"]), 1)
    if len(found) > 1:
        raise CorefileError("plugin kubernetes is used with different options", line=line, fix="keep one of them")
    for plugin in found:
        domains = [z for z in plugin.zones if not is_reverse(z)]
        if len(domains) != 1 or not domains[0]:
            named = ", ".join(z or "." for z in domains) or "none"
            raise CorefileError(
                f"plugin kubernetes serves one zone beside reverse zones, got {named}",
                line=line,
                fix="kubernetes cluster.local in-addr.arpa ip6.arpa",
            )
    _check_autopath(blocks, text)


def _check_autopath(blocks: list[d.ServerBlock], text: str) -> None:
    """``autopath @kubernetes`` finds the client's namespace by its pod's address."""
    for block in blocks:
        wants = any(isinstance(p, d.Autopath) and p.kubernetes for p in block.plugins)
        served = next((p for p in block.plugins if isinstance(p, d.Kubernetes)), None)
        if wants and (served is None or served.pods != "verified"):
            line = next((n for n, row in enumerate(text.splitlines(), 1) if row.split()[:1] == ["autopath"]), 1)
            message = "autopath @kubernetes needs the plugin kubernetes with pods verified in this block"
            raise CorefileError(message, line=line, fix="kubernetes cluster.local { pods verified }")


def is_reverse(zone: str) -> bool:
    """Whether a zone holds addresses."""
    return zone.endswith(("in-addr.arpa", "ip6.arpa"))


def default_corefile(domain: str) -> str:
    """What kubeadm installs (kubernetes:cmd/kubeadm/app/phases/addons/dns/manifests.go)."""
    return f""".:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success {domain}
       disable denial {domain}
    }}
    loop
    reload
    loadbalance
}}
"""


CONFIG_MAP = "coredns"
COREFILE_PATH = FieldPath("data.Corefile")
