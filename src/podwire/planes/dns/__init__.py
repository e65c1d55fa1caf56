"""The DNS plane: a worker in the ``kube-system/coredns`` pod answers from a table that the driver keeps current.

``wire`` and ``render`` (pure) know the message format, ``table`` the zone, ``machine`` and ``upstream`` (sans-IO) what
to reply and whom to ask, ``worker`` the sockets. The worker imports the standard library and this folder only, so this
module imports nothing: ``from podwire.planes.dns.driver import DnsDriver``.
"""
