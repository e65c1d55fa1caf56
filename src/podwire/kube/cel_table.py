"""The functions expressions may call: the language's own and those Kubernetes adds, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from podwire.kube.cel_functions import STANDARD, Function
from podwire.kube.cel_lists import LISTS
from podwire.kube.cel_network import NETWORK
from podwire.kube.cel_strings import STRINGS

_TABLES = (STANDARD, STRINGS, LISTS, NETWORK)

FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        name: tuple(overload for table in _TABLES for overload in table.get(name, ()))
        for table in _TABLES
        for name in table
    }
)
"""A function is its overloads."""
