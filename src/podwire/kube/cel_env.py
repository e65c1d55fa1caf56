"""What compiled expressions share: the environment they run in, its budget, and the seam of the compiler's parts."""

from collections.abc import Callable
from typing import Any, Protocol

from podwire.kube.cel_parse import Node
from podwire.kube.cel_types import Decl
from podwire.kube.cel_values import CelError


class CompileError(ValueError):
    """The expression can never run."""


class CostExceeded(CelError):
    """The budget is spent."""


class Env:
    """Variables, and what is left of the budget."""

    __slots__ = ("left", "vars")

    def __init__(self, variables: dict[str, Any], left: int) -> None:
        """``variables`` is changed by comprehensions."""
        self.vars = variables
        self.left = left

    def spend(self, cost: int) -> None:
        """Pay. Raises :class:`CostExceeded`."""
        self.left -= cost
        if self.left < 0:
            raise CostExceeded("operation cancelled: actual cost limit exceeded")


Run = Callable[[Env], Any]


class Compiles(Protocol):
    """The compiler as operators and macros see it."""

    scope: dict[str, tuple[str, Decl]]
    """The slot and type of each variable."""

    def fresh(self) -> int:
        """A number not used yet in this expression."""
        ...

    def compile(self, node: Node) -> tuple[Run, Decl]:
        """A closure and the type of its value."""
        ...


def no_overload(name: str, kinds: list[Decl], *, method: bool = False) -> CompileError:
    """No such function for these types."""
    shown = [str(kind) for kind in kinds]
    applied = f"{shown[0]}.({', '.join(shown[1:])})" if method else f"({', '.join(shown)})"
    return CompileError(f"found no matching overload for '{name}' applied to '{applied}'")


def sized(value: Any) -> int:
    """What reading a value costs, in characters or items."""
    return len(value) if isinstance(value, str | bytes | list | dict) else 1
