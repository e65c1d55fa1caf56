"""HTTP over the verbs: paths, negotiation, lists, watches, discovery. What a write means is decided elsewhere."""
