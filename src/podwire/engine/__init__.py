"""The loop: settle, compile, apply, observe, retry. It does not know where objects come from or what planes do."""

from podwire.engine.engine import Engine, Slot, State
from podwire.engine.readiness import Waiting, is_ready, waiting_for

__all__ = ["Engine", "Slot", "State", "Waiting", "is_ready", "waiting_for"]
