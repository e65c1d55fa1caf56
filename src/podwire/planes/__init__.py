"""One folder per data plane, blind to each other: ``render`` (pure), ``machine`` (sans-IO), ``driver``, ``fake``."""
