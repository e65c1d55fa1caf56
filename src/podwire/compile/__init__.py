"""Snapshot to plans: an ordered tuple of passes with a memo per unit. Pure."""

from podwire.compile.compiler import PASSES, Compiled, Compiler, compile_plans
from podwire.compile.context import Context, Piece
from podwire.compile.memo import Memo

__all__ = ["PASSES", "Compiled", "Compiler", "Context", "Memo", "Piece", "compile_plans"]
