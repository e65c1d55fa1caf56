"""The plugins ``forward``, ``cache`` and ``template`` of a Corefile, typed.

Source: coredns:plugin/{forward,cache,template}/README.md.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from podwire.compile import corefile_serving as serving
from podwire.compile import corefile_words as words
from podwire.compile.corefile import Directive
from podwire.compile.corefile_plugins import Reading, in_zones, pattern
from podwire.plan import dnsconfig as d

MAX_UPSTREAMS = 15
POLICIES = ("random", "round_robin", "sequential")
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
POOLING = ("max_idle_conns", "max_age")
Fields = dict[str, object]


def read_forward(reading: Reading, line: Directive) -> d.Forward:
    """``forward FROM TO... { ... }``."""
    if len(line.args) < 2:
        raise line.error("forward takes a zone and at least one upstream", fix="forward . /etc/resolv.conf")
    zone = words.zones(line.args[:1])[0]
    found = [u for w in line.args[1:] for u in words.upstreams(w, reading.resolv_conf, dict(reading.files))]
    if len(found) > MAX_UPSTREAMS:
        raise line.error(f"forward takes at most {MAX_UPSTREAMS} upstreams, got {len(found)}")
    fields: Fields = {}
    for option in line.body:
        read = _FORWARD.get(option.name.text)
        if option.name.text in POOLING:
            reading.ignore(option, "an upstream has at most one connection, and UDP questions have a socket at hand")
        elif option.name.text == "resolver":
            reading.ignore(option, "upstreams are addresses here; host names are not taken")
        elif option.name.text == "tls":
            fields["tls"] = serving.client_tls(reading, option)
        elif option.name.text == "prefer_udp":
            words.no_args(option)  # questions go by UDP first anyway, and by TCP when the answer does not fit
        elif read is None:
            raise words.unknown_option("forward", option, (*_FORWARD, *POOLING, "prefer_udp", "resolver", "tls"))
        else:
            fields.update(read(option))
    found = _named(line, found, str(fields.pop("server_name", "")))
    return msgspec.convert({"plugin": "forward", "zone": zone, "upstreams": found, **fields}, d.Forward)


def _named(line: Directive, found: list[str], name: str) -> list[str]:
    """Upstreams over TLS with the name that their certificates must have."""
    secure = [u for u in found if "://" in u]
    if name and not secure:
        raise line.error("tls_servername is for upstreams with tls:// or https://")
    if name and any("%" in u for u in secure):
        raise line.error("tls_servername and %NAME of an upstream exclude each other", fix="keep one of them")
    return [words.with_server_name(u, name) if name and "://" in u else u for u in found]


def _forward_policy(line: Directive) -> Fields:
    if words.one_arg(line, "policy") not in POLICIES:
        raise words.error_at(line.args[0], f"policy {line.texts[0]!r} (allowed: {', '.join(POLICIES)})")
    return {"policy": line.texts[0]}


def _forward_health(line: Directive) -> Fields:
    if not line.args:
        raise line.error("health_check takes a duration", fix="health_check 0.5s")
    fields: Fields = {"health_seconds": words.seconds(line.args[0])}
    rest = list(line.args[1:])
    while rest:
        word = rest.pop(0)
        if word.text == "no_rec":
            fields["health_recursion"] = False
        elif word.text == "domain" and rest:
            fields["health_name"] = words.zones([rest.pop(0)])[0]
        else:
            raise words.error_at(word, f"{word.text!r} (allowed: no_rec, domain NAME)")
    return fields


def _count(name: str) -> Callable[[Directive], Fields]:
    def read(line: Directive) -> Fields:
        words.one_arg(line, "number")
        return {name: words.number(line.args[0])}

    return read


def _next(line: Directive) -> Fields:
    codes = tuple(t.upper() for t in line.texts)
    if not codes or not set(codes) <= set(RCODES):
        raise line.error(f"{line.name.text} takes response codes (allowed: {', '.join(RCODES)})")
    return {"next_rcodes": codes}


def _read_seconds(line: Directive) -> Fields:
    words.one_arg(line, "duration")
    return {"read_seconds": words.seconds(line.args[0])}


def _attempts(line: Directive) -> Fields:
    words.one_arg(line, "number")
    return {"max_attempts": words.number(line.args[0])}


def _failover(line: Directive) -> Fields:
    codes = _next(line)["next_rcodes"]
    assert isinstance(codes, tuple)
    if "NOERROR" in codes:
        raise line.error("failover NOERROR would ask every upstream (allowed: every other response code)")
    return {"failover": codes}


def _doh_method(line: Directive) -> Fields:
    method = words.one_arg(line, "method").upper()
    if method not in ("GET", "POST"):
        raise words.error_at(line.args[0], f"doh_method {method!r} (allowed: GET, POST)")
    return {"doh_method": method}


def _server_name(line: Directive) -> Fields:
    words.one_arg(line, "name")
    return {"server_name": words.zones(line.args)[0]}


def _source(line: Directive) -> Fields:
    words.one_arg(line, "address")
    return {"source": words.address(line.args[0])}


def _expire(line: Directive) -> Fields:
    words.one_arg(line, "duration")
    return {"expire_seconds": words.seconds(line.args[0])}


_FORWARD: Mapping[str, Callable[[Directive], Fields]] = {
    "doh_method": _doh_method,
    "expire": _expire,
    "failover": _failover,
    "max_connect_attempts": _attempts,
    "next_on_nodata": lambda line: {"next_on_nodata": True},
    "source_address": _source,
    "tls_servername": _server_name,
    "except": lambda line: {"excepts": words.zones(line.args)},
    "force_tcp": lambda line: {"force_tcp": True},
    "max_fails": _count("max_fails"),
    "max_concurrent": _count("max_concurrent"),
    "policy": _forward_policy,
    "health_check": _forward_health,
    "read_timeout": _read_seconds,
    "failfast_all_unhealthy_upstreams": lambda line: {"failfast": True},
    "next": _next,
}


def read_cache(reading: Reading, line: Directive) -> d.Cache:
    """``cache [TTL] [zones...] { ... }``."""
    fields: Fields = {}
    place = 0
    if line.args and line.texts[0].isdecimal():
        place, ttl = 1, words.number(line.args[0], low=1)
        fields |= {"success_ttl": ttl, "denial_ttl": ttl}
    for option in line.body:
        read = _CACHE.get(option.name.text)
        if read is None:
            raise words.unknown_option("cache", option, _CACHE)
        fields.update(read(option))
    return msgspec.convert({"plugin": "cache", "zones": in_zones(reading, line, place), **fields}, d.Cache)


def _capacity(line: Directive) -> Fields:
    name = line.name.text
    if not 1 <= len(line.args) <= 3:
        raise line.error(f"{name} takes CAPACITY [TTL] [MINTTL]", fix=f"{name} 9984 30")
    return {key: words.number(w) for key, w in zip((name, f"{name}_ttl", f"{name}_min"), line.args, strict=False)}


def _prefetch(line: Directive) -> Fields:
    if not 1 <= len(line.args) <= 3:
        raise line.error("prefetch takes AMOUNT [DURATION] [PERCENT%]", fix="prefetch 10 1m 10%")
    fields: Fields = {"prefetch": words.number(line.args[0])}
    if len(line.args) > 1:
        fields["prefetch_seconds"] = words.seconds(line.args[1])
    if len(line.args) > 2:
        percent = msgspec.structs.replace(line.args[2], text=line.texts[2].removesuffix("%"))
        fields["prefetch_percent"] = words.number(percent, low=10, high=90)
    return fields


def _serve_stale(line: Directive) -> Fields:
    """``[DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]``."""
    fields: Fields = {"stale_refresh": "immediate"}
    args = list(line.args)
    if args:
        fields["stale_seconds"] = words.seconds(args.pop(0))
    if not args:
        return fields
    mode = args.pop(0)
    if mode.text not in ("immediate", "verify"):
        raise words.error_at(mode, f"{mode.text!r} (allowed: immediate, verify)")
    fields["stale_refresh"] = mode.text
    names = ["stale_ttl", "stale_recheck_seconds"]
    if mode.text == "verify":
        names.insert(0, "stale_verify_seconds")
    for name, word in zip(names, args, strict=False):
        fields[name] = words.seconds(word)
    if len(args) > len(names):
        raise words.error_at(args[len(names)], f"{args[len(names)].text!r} is one word too many")
    ttl = fields.get("stale_ttl", 0)
    assert isinstance(ttl, int | float)
    if ttl != int(ttl):
        raise line.error("the TTL of stale answers is in whole seconds")
    return fields | ({"stale_ttl": int(ttl) or 30} if "stale_ttl" in fields else {})


def _stale_policy(line: Directive) -> Fields:
    if words.one_arg(line, "policy") != "prefer_positive":
        raise words.error_at(line.args[0], f"{line.texts[0]!r} (allowed: prefer_positive)")
    return {"prefer_positive": True}


def _servfail(line: Directive) -> Fields:
    words.one_arg(line, "duration")
    wanted = words.seconds(line.args[0])
    if wanted > 300:
        raise words.error_at(line.args[0], "servfail is at most 5m (RFC 2308 section 7.1)")
    return {"servfail_seconds": wanted}


def _disable(line: Directive) -> Fields:
    if not line.args or line.texts[0] not in ("success", "denial"):
        raise line.error("disable takes success or denial, and zones", fix="disable success cluster.local")
    return {f"{line.texts[0]}_disabled": words.zones(line.args[1:]) or ("",)}


_CACHE: Mapping[str, Callable[[Directive], Fields]] = {
    "success": _capacity,
    "denial": _capacity,
    "prefetch": _prefetch,
    "serve_stale": _serve_stale,
    "serve_stale_policy": _stale_policy,
    "servfail": _servfail,
    "disable": _disable,
    "keepttl": lambda line: {"keepttl": True},
}


def read_template(reading: Reading, line: Directive) -> d.Template:
    """``template CLASS TYPE [zones...] { match, answer, additional, authority, rcode, ederror, fallthrough }``."""
    if len(line.args) < 2:
        raise line.error("template takes a class and a type", fix="template IN A example.org")
    if line.texts[0].upper() not in ("IN", "ANY"):
        raise words.error_at(line.args[0], f"class {line.texts[0]} is not answered (allowed: IN, ANY)")
    fields: dict[str, object] = {"rclass": line.texts[0].upper(), "rtype": words.record_type(line.args[1])}
    lists: dict[str, list[str]] = {"match": [], "answer": [], "additional": [], "authority": []}
    for option in line.body:
        name = option.name.text
        match name:
            case "match":
                lists[name].extend(pattern(option, place) for place in range(len(option.args)))
            case "answer" | "additional" | "authority":
                lists[name].append(_template_text(option))
            case "rcode":
                code = words.one_arg(option, "code").upper()
                if code not in RCODES:
                    raise option.error(f"{code!r} is no response code (allowed: {', '.join(RCODES)})")
                fields["rcode"] = code
            case "ederror":
                if not option.args:
                    raise option.error("ederror takes a code and a text", fix='ederror 21 "Blocked"')
                fields["ede"] = (words.number(option.args[0], high=65535), " ".join(option.texts[1:]))
            case "fallthrough":
                fields["fallthrough"] = words.fallthrough(option)
            case _:
                raise words.unknown_option("template", option, (*lists, "rcode", "ederror", "fallthrough"))
    filled = {key: value for key, value in lists.items() if value}
    zones = in_zones(reading, line, 2)
    return msgspec.convert({"plugin": "template", "zones": zones, **fields, **filled}, d.Template)


_ACTION = re.compile(r"\{\{(.*?)\}\}")
_ALLOWED = re.compile(r"\s*(?:\.(?:Name|Zone|Type|Class|Remote)|\.Group\.\w+|index\s+\.Match\s+\d+)\s*")


def _template_text(line: Directive) -> str:
    text = words.one_arg(line, "record")
    for action in _ACTION.findall(text):
        if not _ALLOWED.fullmatch(action):
            allowed = ".Name, .Zone, .Type, .Class, .Remote, .Group.NAME, index .Match N"
            raise words.error_at(line.args[0], f"{{{{{action}}}}} is not understood (allowed: {allowed})")
    return text
