"""What ``make bench`` runs: one module a measurement, each printing one last line of JSON."""
