"""Plugins about the server itself: bind, tls, view, autopath, transfer; and certificates for upstreams.

Rules:

1. ``bind``, ``tls`` and ``view`` say something about their block: it goes into :attr:`Reading.serving`.
2. Certificates and keys are PEM in files that Deployment ``coredns`` mounts from Secrets and ConfigMaps, or in keys of
   the ConfigMap of the Corefile. They are read here, so a file that is missing or no PEM is an error with its line.

Source: coredns:plugin/{bind,tls,view,autopath,transfer}/README.md.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import get_args

from podwire.compile import corefile_words as words
from podwire.compile.corefile import Directive, Word
from podwire.compile.corefile_plugins import Reading
from podwire.compile.corefile_view import ExpressionError, parse_expression
from podwire.plan import dnsconfig as d

ANYWHERE = ("0.0.0.0", "::")  # noqa: S104  (words of the user's, not addresses to listen on)


def read_bind(reading: Reading, line: Directive) -> None:
    """``bind ADDRESS|INTERFACE... { except ADDRESS|INTERFACE... }``."""
    if not line.args:
        raise line.error("bind takes addresses or interfaces", fix="bind 127.0.0.1")
    found = [_place(word) for word in line.args]
    left_out: list[str] = []
    for option in line.body:
        if option.name.text != "except" or not option.args:
            raise words.unknown_option("bind", option, ("except ADDRESS|INTERFACE...",))
        left_out.extend(_place(word) for word in option.args)
    serving = reading.serving
    everywhere = any(place in ANYWHERE for place in found)
    serving["binds"] = () if everywhere else tuple(dict.fromkeys((*serving.get("binds", ()), *found)))
    serving["binds_except"] = (*serving.get("binds_except", ()), *left_out)


def _place(word: Word) -> str:
    """An address, or the name of an interface."""
    text = word.text
    if ":" in text or text.replace(".", "").isdigit():
        return words.address(word)
    if not 0 < len(text) < 16 or "/" in text:
        raise words.error_at(word, f"{text!r} is neither an address nor an interface")
    return text


UNCHECKED: Mapping[str, str] = MappingProxyType({
    "request": "clients are not asked for certificates that nobody checks",
    "require": "certificates of clients are checked as well, as with require_and_verify",
})  # fmt: skip


def read_tls(reading: Reading, line: Directive) -> None:
    """``tls CERT KEY [CA] { client_auth MODE }``."""
    if len(line.args) not in (2, 3):
        fix = "tls /etc/coredns/tls/tls.crt /etc/coredns/tls/tls.key, from a Secret that Deployment coredns mounts"
        raise line.error("tls takes CERT KEY [CA]; certificates are not made here", fix=fix)
    fields: dict[str, str] = {}
    for option in line.body:
        if option.name.text != "client_auth":
            raise words.unknown_option("tls", option, ("client_auth MODE",))
        mode = words.one_arg(option, "mode")
        if mode not in get_args(d.ClientAuth):
            raise words.error_at(option.args[0], f"client_auth {mode!r} (allowed: {', '.join(get_args(d.ClientAuth))})")
        if mode in UNCHECKED:
            reading.ignore(option, UNCHECKED[mode])
        fields["client_auth"] = mode
    certificate, key, *authority = (_pem(reading, word) for word in line.args)
    reading.serving["tls"] = d.Tls(certificate, key, *authority, **fields)  # type: ignore[arg-type]


def client_tls(reading: Reading, line: Directive) -> d.Tls:
    """``tls``, ``tls CA``, ``tls CERT KEY``, ``tls CERT KEY CA`` of the plugin forward."""
    texts = [_pem(reading, word) for word in line.args]
    match texts:
        case []:
            return d.Tls()
        case [authority]:
            return d.Tls(authority=authority)
        case [certificate, key]:
            return d.Tls(certificate, key)
        case [certificate, key, authority]:
            return d.Tls(certificate, key, authority)
    raise line.error("tls takes at most CERT KEY CA")


def _pem(reading: Reading, word: Word) -> str:
    text = reading.text_of(word)
    if "-----BEGIN " not in text:
        raise words.error_at(word, f"{word.text} holds no PEM")
    return text


def read_view(reading: Reading, line: Directive) -> None:
    """``view NAME { expr EXPRESSION }``; several must all hold."""
    name = words.one_arg(line, "name")
    found = []
    for option in line.body:
        if option.name.text != "expr" or not option.args:
            raise words.unknown_option("view", option, ("expr EXPRESSION",))
        # The file's own quotes delimit one word; a quoted word stands for the whole expression.
        text = " ".join(option.texts)
        try:
            found.append(parse_expression(text))
        except ExpressionError as error:
            raise option.error(f"view {name}: {error}") from error
    if not found:
        raise line.error(f"view {name} has no expr", fix="expr incidr(client_ip(), '10.0.0.0/8')")
    reading.serving["view"] = name
    reading.serving["conditions"] = (*reading.serving.get("conditions", ()), *found)


def read_autopath(reading: Reading, line: Directive) -> d.Autopath:
    """``autopath [ZONE...] RESOLV-CONF | @kubernetes``."""
    words.no_body(line)
    if not line.args:
        raise line.error("autopath takes @kubernetes or a file", fix="autopath @kubernetes")
    *zones, source = line.args
    taken = words.zones(zones) or reading.zones
    if source.text == "@kubernetes":
        return d.Autopath(taken, True, ())
    if source.text.startswith("@"):
        raise words.error_at(source, f"{source.text} knows no search list (allowed: @kubernetes, a file)")
    rows = (row.split() for row in reading.text_of(source).splitlines())
    found = [row[1:] for row in rows if row[:1] == ["search"]]
    if not found:
        raise words.error_at(source, f"{source.text} has no line: search DOMAIN...")
    names = [Word(text, source.line, source.file) for text in found[-1]]
    return d.Autopath(taken, False, words.zones(names))


def read_transfer(reading: Reading, line: Directive) -> d.Transfer:
    """``transfer [ZONE...] { to ADDRESS|*..., source ADDRESS }``."""
    nets: list[str] = []
    for option in line.body:
        match option.name.text:
            case "to" if option.args:
                for word in option.args:
                    _add_receiver(word, nets)
                if any(word.text != "*" for word in option.args):
                    reading.ignore(option, "who is named may transfer, but is not notified of changes")
            case "source":
                words.one_arg(option, "address")
                words.address(option.args[0])
                reading.ignore(option, "it is the source of notifications, and none are sent")
            case _:
                raise words.unknown_option("transfer", option, ("to ADDRESS|*...", "source ADDRESS"))
    if not nets:
        raise line.error("transfer gives zones to nobody", fix="to 10.0.0.53")
    return d.Transfer(words.zones(line.args) or reading.zones, tuple(nets))


def _add_receiver(word: Word, nets: list[str]) -> None:
    if word.text == "*":
        nets.extend(("0.0.0.0/0", "::/0"))
        return
    (upstream,) = words.upstreams(word, (), {})
    host = upstream.rpartition("]")[0].lstrip("[") or (upstream.rpartition(":")[0] if upstream.count(":") == 1 else "")
    nets.append(words.network(Word(host or upstream, word.line, word.file)))
