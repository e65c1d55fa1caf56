"""A look-up as text for people and as plain values for machines."""

from typing import Any

import msgspec

from podwire.explain.names import Lookup, Question


def format_lookup(found: Lookup) -> str:
    """The resolver's setting, its queries in order, the verdict, and the fixes."""
    servers = ", ".join(found.servers) or "no name server"
    lines = [
        f"{found.name} from {found.pod}",
        f"asks      {servers}   search {' '.join(found.searches) or '-'}   ndots:{found.ndots}",
    ]
    if found.hosts_file:
        lines.append(
            f"hosts     {found.name} is {', '.join(found.hosts_file)} in the pod's hosts file; nothing is asked"
        )
    for hop in found.blocked:
        lines.append(f"blocked   {hop.text}  {hop.code}")
        lines.extend(f"          {origin}" for origin in hop.origins)
    for number, question in enumerate(found.questions, 1):
        lines.extend(_question_lines(number, question))
    addresses = f": {', '.join(found.addresses)}" if found.addresses else ""
    lines.append(f"verdict   {found.verdict}{addresses}")
    lines.extend(f"note      {text}" for text in found.notes)
    lines.extend(f"fix       {fix.text}  {fix.code}" for fix in found.fixes)
    return "\n".join(lines) + "\n"


def _question_lines(number: int, question: Question) -> list[str]:
    answers = ", ".join(question.answers[:3])
    if len(question.answers) > 3:
        answers += f" and {len(question.answers) - 3} more"
    said = answers or f"{question.rcode}  ({question.why})"
    lines = [f"{number:>3} {question.type:<5} {question.name}  ->  {said}"]
    if answers and question.source.endswith(" plugin"):
        lines.append(f"{'':>10}{question.why}")
    return [*lines, *(f"{'':>10}{origin}" for origin in question.origins[:3])]


def lookup_to_dict(found: Lookup) -> dict[str, Any]:
    """Plain values; origins as text."""
    value: dict[str, Any] = msgspec.to_builtins(found)
    for question, plain in zip(found.questions, value["questions"], strict=True):
        plain["origins"] = [str(origin) for origin in question.origins]
    for hop, plain in zip(found.blocked, value["blocked"], strict=True):
        plain["origins"] = [str(origin) for origin in hop.origins]
    for fix, plain in zip(found.fixes, value["fixes"], strict=True):
        plain["ref"] = str(fix.ref) if fix.ref else None
    return value
