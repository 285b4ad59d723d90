"""Which port is free for a process of our own?"""

import socket

SAMPLE_TOOLS_PORT = 9009
"""Where the sample tools listen beside `up` and `demo`."""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
