"""When Python looks for garbage.

Plans and snapshots hold no reference cycles, so the cycle collector finds nothing in them; but it walks all of them:
with 10,000 Services that costs a third of a first compile, and later a pause of some tenths of a second in the way of
an urgent change.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

LARGE_SECONDS = 0.2


@contextmanager
def without_collections() -> Iterator[None]:
    """No collection inside. What there is after a long stretch is not looked at again (it goes when its last reference
    does); cycles made later are found as always."""
    started = time.monotonic()
    gc.disable()
    try:
        yield
    finally:
        if time.monotonic() - started > LARGE_SECONDS:
            gc.freeze()
        gc.enable()
