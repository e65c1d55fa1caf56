"""Kubernetes' name and label syntax: each function returns the reasons a text is refused, in Kubernetes' words.

Patterns are text, compiled by :mod:`re` on first use and cached there: most runs need few of them.

Spec: apimachinery pkg/util/validation/validation.go.
"""

import re

_LABEL_FORMAT = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_FORMAT = rf"{_LABEL_FORMAT}(\.{_LABEL_FORMAT})*"
_QUALIFIED_FORMAT = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE_FORMAT = rf"({_QUALIFIED_FORMAT})?"
_WILDCARD_FORMAT = rf"\*\.{_SUBDOMAIN_FORMAT}"
_KEY_FORMAT = "[-._a-zA-Z0-9]+"

_LABEL = rf"{_LABEL_FORMAT}\Z"
_DNS1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?\Z"
_QUALIFIED = rf"{_QUALIFIED_FORMAT}\Z"
_LABEL_VALUE = rf"{_LABEL_VALUE_FORMAT}\Z"
_KEY = rf"{_KEY_FORMAT}\Z"
_ENV_NAME = r"[^=\x00-\x1f\x7f-\U0010ffff]+\Z"


def _regex_error(message: str, pattern: str, *examples: str) -> str:
    # Kubernetes writes: (e.g. 'a',  or 'b', regex used for validation is '...').
    shown = ",  or ".join(f"'{example}'" for example in examples)
    return f"{message} (e.g. {shown}, regex used for validation is '{pattern}')"


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def dns_label_problems(text: str) -> list[str]:
    """RFC 1123 label: at most 63 of lower case, digits, ``-``."""
    problems = [_too_long(63)] if len(text) > 63 else []
    if not re.match(_LABEL, text):
        problems.append(
            _regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
                "and end with an alphanumeric character",
                _LABEL_FORMAT,
                "my-name",
                "123-abc",
            )
        )
    return problems


def dns_subdomain_problems(text: str) -> list[str]:
    """RFC 1123 subdomain: labels joined by dots, at most 253."""
    problems = [_too_long(253)] if len(text) > 253 else []
    if not _is_subdomain(text):
        problems.append(
            _regex_error(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
                "must start and end with an alphanumeric character",
                _SUBDOMAIN_FORMAT,
                "example.com",
            )
        )
    return problems


def _is_subdomain(text: str) -> bool:
    # Label by label: the one regular expression backtracks badly on hostile text.
    return all(re.match(_LABEL, label) for label in text[:4096].split("."))


def wildcard_subdomain_problems(text: str) -> list[str]:
    """``*.`` and a subdomain."""
    problems = [_too_long(253)] if len(text) > 253 else []
    if not (text.startswith("*.") and _is_subdomain(text[2:])):
        problems.append(
            _regex_error(
                "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
                "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
                _WILDCARD_FORMAT,
                "*.example.com",
            )
        )
    return problems


def qualified_name_problems(text: str) -> list[str]:
    """``name`` or ``prefix/name``: keys of labels and annotations, application protocols."""
    parts = text.split("/")
    problems = []
    name = parts[-1]
    if len(parts) > 2:
        return [
            "a qualified name "
            + _regex_error(_QUALIFIED_MESSAGE, _QUALIFIED_FORMAT, "MyName", "my.name", "123-abc")
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if len(parts) == 2:
        if not parts[0]:
            problems.append("prefix part must be non-empty")
        else:
            problems += [f"prefix part {problem}" for problem in dns_subdomain_problems(parts[0])]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append(f"name part {_too_long(63)}")
    if not re.match(_QUALIFIED, name):
        shown = _regex_error(_QUALIFIED_MESSAGE, _QUALIFIED_FORMAT, "MyName", "my.name", "123-abc")
        problems.append(f"name part {shown}")
    return problems


_QUALIFIED_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)


def label_key_problems(text: str) -> list[str]:
    """Keys of labels are qualified names."""
    return qualified_name_problems(text)


def label_value_problems(text: str) -> list[str]:
    """At most 63 characters, empty allowed."""
    problems = [_too_long(63)] if len(text) > 63 else []
    if not re.match(_LABEL_VALUE, text):
        problems.append(
            _regex_error(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                "must start and end with an alphanumeric character",
                _LABEL_VALUE_FORMAT,
                "MyValue",
                "my_value",
                "12345",
            )
        )
    return problems


def port_name_problems(text: str) -> list[str]:
    """IANA service name."""
    problems = [_too_long(15)] if len(text) > 15 else []
    if not re.match(r"[-a-z0-9]+\Z", text):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", text):
        problems.append("must contain at least one letter (a-z)")
    if "--" in text:
        problems.append("must not contain consecutive hyphens")
    if text and (text[0] == "-" or text[-1] == "-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def port_number_problems(number: int) -> list[str]:
    """1 to 65535."""
    return [] if 1 <= number <= 65535 else ["must be between 1 and 65535, inclusive"]


def config_key_problems(text: str) -> list[str]:
    """Keys of ConfigMaps and Secrets: file names."""
    problems = [_too_long(253)] if len(text) > 253 else []
    if not re.match(_KEY, text):
        problems.append(
            _regex_error(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                _KEY_FORMAT,
                "key.name",
                "KEY_NAME",
                "key-name",
            )
        )
    if text == ".":
        problems.append("must not be '.'")
    elif text == "..":
        problems.append("must not be '..'")
    elif text.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def env_name_problems(text: str) -> list[str]:
    """Any printable ASCII but ``=`` (relaxed since 1.30)."""
    if re.match(_ENV_NAME, text):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def path_segment_problems(text: str) -> list[str]:
    """A name that can stand alone in a URL path."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in text]
