"""The plugins ``forward``, ``cache``, ``rewrite`` and ``template`` of a Corefile, typed.

Source: coredns:plugin/{forward,cache,rewrite,template}/README.md.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from podwire.compile import corefile_words as words
from podwire.compile.corefile import Directive
from podwire.compile.corefile_plugins import Reading, in_zones, pattern
from podwire.plan import dnsconfig as d

MAX_UPSTREAMS = 15
POLICIES = ("random", "round_robin", "sequential")
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
KINDS = ("exact", "prefix", "suffix", "substring", "regex")
POOLING = ("expire", "max_idle_conns", "max_connect_attempts", "max_age")
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
            reading.ignore(option, "every question to an upstream has a socket at hand; there is no pool to tune")
        elif option.name.text == "prefer_udp":
            words.no_args(option)  # questions go by UDP first anyway, and by TCP when the answer does not fit
        elif read is None:
            raise words.unknown_option("forward", option, (*_FORWARD, *POOLING, "prefer_udp"))
        else:
            fields.update(read(option))
    return msgspec.convert({"plugin": "forward", "zone": zone, "upstreams": found, **fields}, d.Forward)


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


_FORWARD: Mapping[str, Callable[[Directive], Fields]] = {
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
    fields: Fields = {"stale_refresh": "immediate"}
    if line.args:
        fields["stale_seconds"] = words.seconds(line.args[0])
    if len(line.args) > 1:
        if line.texts[1] not in ("immediate", "verify"):
            raise words.error_at(line.args[1], f"{line.texts[1]!r} (allowed: immediate, verify)")
        fields["stale_refresh"] = line.texts[1]
    if len(line.args) > 2:
        raise words.error_at(line.args[2], f"{line.texts[2]!r} is one word too many")
    return fields


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
    "servfail": _servfail,
    "disable": _disable,
    "keepttl": lambda line: {"keepttl": True},
}


def read_rewrite(_: Reading, line: Directive) -> d.Rewrite:
    """``rewrite [continue|stop] FIELD ...``, with the rule's options in its line or in a block."""
    texts = list(line.args)
    then = "stop"
    if texts and texts[0].text in ("continue", "stop"):
        then = texts.pop(0).text
    body = line.body
    if not texts and body:  # rewrite stop { name regex A B \n answer name C D }
        texts, body = [body[0].name, *body[0].args], body[1:]
    if not texts:
        raise line.error("rewrite takes a field (allowed: name, type, ttl, rcode)")
    field, args = texts[0], texts[1:]
    for option in body:
        args += [option.name, *option.args]
    rule = msgspec.structs.replace(line, name=field, args=tuple(args))
    match field.text:
        case "name" | "ttl" | "rcode":
            made = _matching(rule, field.text)
        case "type":
            if len(args) != 2:
                raise rule.error(f"rewrite {field.text} takes FROM and TO", fix=f"rewrite {field.text} ANY A")
            old, new = (words.record_type(word) for word in args)
            made = {"field": field.text, "kind": "exact", "old": old, "new": new}
        case other:
            raise rule.error(f"rewrite {other} is not built (allowed: name, type, ttl, rcode)")
    return d.Rewrite((msgspec.convert({"then": then, **made}, d.RewriteRule),))


def _matching(line: Directive, field: str) -> Fields:
    """``[KIND] OLD NEW [answer ...]...``."""
    args = list(line.args)
    kind = args.pop(0).text if args and args[0].text in KINDS else "exact"
    if len(args) < 2:
        raise line.error(f"rewrite {field} takes [{'|'.join(KINDS)}] FROM TO", fix=f"rewrite {field} exact A B")
    old, new, rest = args[0].text, args[1].text, args[2:]
    if kind == "regex":
        _check_pattern(line, old)
    else:
        old = old.lower()
    fields: Fields = {"field": field, "kind": kind, "old": old, "new": new, "auto": field == "name" and kind == "exact"}
    if field == "ttl" and not re.fullmatch(r"\d+|\d*-\d*", new):
        raise words.error_at(args[1], f"{new!r} is no ttl", fix="30 or 30-300")
    if field == "rcode" and not {new.upper()} <= set(RCODES):
        raise words.error_at(args[1], f"{new!r} is no response code (allowed: {', '.join(RCODES)})")
    answers = []
    while rest:
        if rest[0].text != "answer" or len(rest) < 2:
            raise words.error_at(rest[0], f"{rest[0].text!r} (allowed: answer auto, answer name|value FROM TO)")
        what = rest[1].text
        if what == "auto":
            fields["auto"], rest = True, rest[2:]
            continue
        named = what in ("name", "value")
        pair = rest[2:4] if named else rest[1:3]
        if len(pair) != 2:
            raise words.error_at(rest[0], "answer takes FROM and TO", fix="answer name (.*)\\.b (.*)\\.a")
        _check_pattern(line, pair[0].text)
        answers.append((what if named else "name", pair[0].text, pair[1].text))
        rest = rest[4:] if named else rest[3:]
    return {**fields, "answers": answers}


def _check_pattern(line: Directive, text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise line.error(f"{text!r} is no regular expression: {error}") from error


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
