"""The plane that writes status and derived objects back through the Kubernetes API."""

from podwire.planes.api.driver import ApiDriver

__all__ = ["ApiDriver"]
