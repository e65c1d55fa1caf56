"""The public test kit: generated clusters, probes that send real packets, and the comparison with what trace says."""
