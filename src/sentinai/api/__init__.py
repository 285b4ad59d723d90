"""The HTTP interface: translates HTTP, nothing else."""
