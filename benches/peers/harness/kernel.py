"""The kernel's memory for sockets: of one server, asked over netlink (sock_diag(7)) as `ss -tm` does,
and of the whole machine."""

import pathlib
import socket
import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
REQUEST_DUMP = 0x301
DONE, ERROR = 3, 2
SKMEMINFO = 7
ESTABLISHED = 1
# The index in the array of SKMEMINFO of the bytes that wait to be sent, including what the kernel
# adds to each buffer.
WMEM_QUEUED = 5
SECONDS = 5
PAGE = 4096


def send_queues(port):
    """Bytes of kernel memory in the send queue of each established connection whose own port this
    is."""
    found = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(SECONDS)
        request = struct.pack(
            "=IHHIIBBBxI48x", 72, SOCK_DIAG_BY_FAMILY, REQUEST_DUMP, 1, 0,
            socket.AF_INET, socket.IPPROTO_TCP, 1 << (SKMEMINFO - 1), 1 << ESTABLISHED,
        )
        netlink.sendto(request, (0, 0))
        while True:
            answers = netlink.recv(1 << 20)
            while answers:
                length, kind = struct.unpack_from("=IH", answers)
                if kind == DONE:
                    return found
                if kind == ERROR:
                    raise OSError("the kernel does not tell of its sockets")
                queued = _send_queue(answers[16:length], port)
                if queued is not None:
                    found.append(queued)
                answers = answers[(length + 3) & ~3:]


def socket_memory():
    """Returns the bytes in the caches that sockets of all processes take. Only root can read them."""
    caches = {"TCP", "UNIX", "sock_inode_cache", "filp", "eventpoll_epi"}
    lines = pathlib.Path("/proc/slabinfo").read_text().splitlines()[2:]
    fields = (line.split() for line in lines)
    # A cache's active objects, each with its share of unused bytes in its page.
    return sum(
        int(active) * PAGE * int(pages) // int(in_slab)
        for name, active, _, _, in_slab, pages, *_ in fields if name in caches
    )


def _send_queue(message, port):
    if struct.unpack_from("!H", message, 4)[0] != port:
        return None
    attributes = message[72:]
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == SKMEMINFO:
            return struct.unpack_from("=9I", attributes, 4)[WMEM_QUEUED]
        attributes = attributes[(length + 3) & ~3:]
    return None
