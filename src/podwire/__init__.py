"""podwire: Kubernetes networking, whole, as real packets on one Linux machine.

The package is divided into rooms; imports go down only (see ``docs/design/rooms.md``).
"""

__version__ = "0.1.0"
