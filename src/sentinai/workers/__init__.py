"""Workers: processes that run one stage each over the stream of events."""
