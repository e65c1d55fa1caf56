"""Kinds that users define: what a CustomResourceDefinition is, and what its objects mean."""

from podwire.apiserver.custom.definitions import Definitions

__all__ = ["Definitions"]
