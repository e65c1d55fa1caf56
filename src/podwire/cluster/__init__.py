"""Assembles clusters: embedded, offline, observed. The only place where the rooms meet."""
