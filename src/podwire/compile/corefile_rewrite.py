"""The plugin ``rewrite`` of a Corefile, typed.

Source: coredns:plugin/rewrite/README.md.
"""

import re

import msgspec

from podwire.compile import corefile_words as words
from podwire.compile.corefile import Directive, Word
from podwire.compile.corefile_plugins import Reading
from podwire.compile.corefile_traffic import RCODES, Fields
from podwire.plan import dnsconfig as d

FIELDS = ("name", "type", "class", "ttl", "cname", "rcode", "edns0")
KINDS = ("exact", "prefix", "suffix", "substring", "regex")
CLASSES = ("IN", "CH", "HS")
VARIABLES = ("{qname}", "{qtype}", "{client_ip}", "{client_port}", "{protocol}", "{server_ip}", "{server_port}")


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
        raise line.error(f"rewrite takes a field (allowed: {', '.join(FIELDS)})")
    field, args = texts[0], texts[1:]
    for option in body:
        args += [option.name, *option.args]
    rule = msgspec.structs.replace(line, name=field, args=tuple(args))
    match field.text:
        case "name" | "ttl" | "rcode" | "cname":
            made = _matching(rule, field.text)
        case "type" | "class":
            made = _replacing(rule, field.text)
        case "edns0":
            made = _option(rule)
        case other:
            raise rule.error(f"rewrite {other} is not known (allowed: {', '.join(FIELDS)})")
    return d.Rewrite((msgspec.convert({"then": then, **made}, d.RewriteRule),))


def _matching(line: Directive, field: str) -> Fields:
    """``[KIND] OLD NEW [answer ...]...``."""
    args = list(line.args)
    kind = args.pop(0).text if args and args[0].text in KINDS else "exact"
    if len(args) < 2:
        raise line.error(f"rewrite {field} takes [{'|'.join(KINDS)}] FROM TO", fix=f"rewrite {field} exact A B")
    code = ""
    if field == "rcode":
        if len(args) != 3:
            raise line.error("rewrite rcode takes [KIND] NAME FROM TO", fix="rewrite rcode a.org SERVFAIL NOERROR")
        code = _rcode(args.pop(1))
    old, new, rest = args[0].text, args[1].text, args[2:]
    if kind == "regex":
        _check_pattern(line, old)
    else:
        old = old.lower()
    fields: Fields = {"field": field, "kind": kind, "old": old, "new": new, "auto": field == "name" and kind == "exact"}
    if field == "ttl" and not re.fullmatch(r"\d+|\d*-\d*", new):
        raise words.error_at(args[1], f"{new!r} is no ttl", fix="30 or 30-300")
    if field == "rcode":
        fields |= {"code": code, "new": _rcode(args[1])}
    answers = []
    if rest and field != "name":
        raise words.error_at(rest[0], f"{rest[0].text!r}: rewrite {field} takes no options")
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


def _rcode(word: Word) -> str:
    """A response code by name or number."""
    names = dict(enumerate(RCODES))
    text = names.get(int(word.text), "") if word.text.isdecimal() else word.text.upper()
    if text not in RCODES:
        raise words.error_at(word, f"{word.text!r} is no response code (allowed: {', '.join(RCODES)})")
    return text


def _replacing(line: Directive, field: str) -> Fields:
    """``type FROM TO`` and ``class FROM TO``."""
    example = "ANY A" if field == "type" else "CH IN"
    if len(line.args) != 2:
        raise line.error(f"rewrite {field} takes FROM and TO", fix=f"rewrite {field} {example}")
    if field == "type":
        old, new = (words.record_type(word) for word in line.args)
        return {"field": field, "kind": "exact", "old": old, "new": new}
    for word in line.args:
        if word.text.upper() not in CLASSES:
            raise words.error_at(word, f"{word.text!r} is no class (allowed: {', '.join(CLASSES)})")
    return {"field": field, "kind": "exact", "old": line.texts[0].upper(), "new": line.texts[1].upper()}


def _option(line: Directive) -> Fields:
    """``edns0 local ACTION CODE DATA``, ``edns0 nsid ACTION``, ``edns0 subnet ACTION V4BITS V6BITS``."""
    kind, action, *rest = (*line.args[:2], *line.args[2:]) if len(line.args) > 1 else (line.name, line.name)
    if kind.text not in ("local", "nsid", "subnet") or action.text not in ("set", "append", "replace", "unset"):
        allowed = "local|nsid|subnet set|append|replace|unset"
        raise line.error(f"rewrite edns0 takes {allowed}", fix="rewrite edns0 local set 0xffee {client_ip}")
    unset = action.text == "unset"
    wanted = {"local": 1 if unset else 2, "nsid": 0, "subnet": 0 if unset else 2}[kind.text]
    if len(rest) != wanted:
        raise line.error(f"rewrite edns0 {kind.text} {action.text} takes {wanted} more words, got {len(rest)}")
    made: Fields = {"field": "edns0", "kind": action.text, "old": kind.text, "new": ""}
    if kind.text == "local":
        made |= {"code": str(_option_code(rest[0])), "new": "" if unset else _option_data(rest[1])}
    if kind.text == "subnet" and not unset:
        bits = (words.number(rest[0], high=32), words.number(rest[1], high=128))
        made["new"] = f"{bits[0]} {bits[1]}"
    return made


def _option_code(word: Word) -> int:
    try:
        code = int(word.text, 0)
    except ValueError:
        code = -1
    if not 0 < code < 65536:
        raise words.error_at(word, f"{word.text!r} is no option code (allowed: 1 to 65535, 0xffee)")
    return code


def _option_data(word: Word) -> str:
    text = word.text
    if text.startswith("{") and text not in VARIABLES:
        raise words.error_at(word, f"{text} is no variable (allowed: {', '.join(VARIABLES)})")
    if text.startswith("0x"):
        try:
            bytes.fromhex(text[2:])
        except ValueError as error:
            raise words.error_at(word, f"{text} is not hexadecimal") from error
    return text


def _check_pattern(line: Directive, text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise line.error(f"{text!r} is no regular expression: {error}") from error
