"""The command line: `sentinai …`."""
