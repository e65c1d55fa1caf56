"""Pass in the making."""

from podwire.compile.context import Context, Piece


def compile_workloads(context: Context) -> Piece:
    """Nothing yet."""
    return Piece()
