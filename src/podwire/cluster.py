"""The only place that assembles a cluster: embedded, attached or offline."""
