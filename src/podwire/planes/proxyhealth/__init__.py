"""The proxy's listeners on every node: health checks for load balancers, healthz, livez and metrics (P9, P10, P23).

Nothing is imported here: the driver is needed only where nodes run.
"""
