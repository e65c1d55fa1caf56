"""Envoy through delta ADS: renders route plans to typed protobufs and reports what Envoy confirmed.

Importing this room imports neither gRPC nor protobuf; :meth:`EnvoyDriver.start` does.
"""

from podwire.planes.envoy.bootstrap import envoy_argv
from podwire.planes.envoy.driver import EnvoyDriver
from podwire.planes.envoy.fake import FakeEnvoy

__all__ = ["EnvoyDriver", "FakeEnvoy", "envoy_argv"]
