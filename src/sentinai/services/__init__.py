"""Services: commands from people and systems; one function, one transaction, at least one event."""
