"""What can a log line be about? The list of names, with what each says; a test finds names that are not listed."""

from types import MappingProxyType

LOG_EVENTS = MappingProxyType(
    {
        "batch_split": "A worker's batch failed as a whole and is handled event by event.",
        "event_parked": "An event could not be handled: it waits for another attempt (due) or for a person (dead).",
        "heartbeat_left_behind": "A worker stopped without taking its heartbeat away; it looks alive until it expires.",
        "kafka_away": "No Kafka broker answers; events are read from the log until one does.",
        "kafka_error": "Kafka's client reports an error that it will not repair by itself.",
        "message_not_ours": "A message on one of our topics was not written by the relay; it is passed over.",
        "offsets_not_committed": "Kafka did not take a hint where to resume; messages come again and are dropped.",
        "report_not_stored": "One report of a group could not be stored; it alone was refused.",
        "request_broke": "A request ended with an error nobody expected; the caller saw a 500.",
        "tool_call_broke": "A tool's provider raised an error nobody expected; the call is judged by what was sent.",
        "tool_log": "What a playbook or person wrote through the provider `log`.",
        "tool_result_not_recorded": "A tool answered, and the database stayed away for too long to record it.",
        "worker_waits": "A worker does not reach its database and tries again after `delay_s` seconds.",
    }
)
