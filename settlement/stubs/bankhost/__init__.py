"""The bank host stub: one process that plays one or several banks, each with its own durable books and fault panel."""
