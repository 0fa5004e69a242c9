"""What connections at rest cost the server in resident memory."""

from harness.crowd import Crowd, descriptors, raise_descriptor_limit, rss, wait_until
from harness.servers import Server

LARGE = 16 * 1024
TIMES = 3
# How many descriptors a server may open for itself after it has said that it listens.
OWN = 4


def measure(peer, connections):
    """Bytes a connection after all have connected, and after each has sent and received a
    message of 16 KiB; and the resident memory after all have gone, for each of three times."""
    raise_descriptor_limit()
    with Server(peer) as server:
        base, empty = descriptors(server.pid), rss(server.pid)
        figures = {"connections": connections, "rss_empty": empty, "rss_gone": []}
        for turn in range(TIMES):
            with Crowd(server.port, connections) as crowd:
                if turn == 0:
                    figures["idle"] = per(rss(server.pid) - empty, connections)
                    crowd.exchange(LARGE)
                    figures["after_16k"] = per(rss(server.pid) - empty, connections)
            wait_until(
                lambda: descriptors(server.pid) <= base + OWN, f"{peer} keeps descriptors"
            )
            figures["rss_gone"].append(rss(server.pid))
    figures["growth"] = figures["rss_gone"][-1] - figures["rss_gone"][0]
    return figures


def per(total, connections):
    return round(total / connections, 1)
