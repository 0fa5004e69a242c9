"""The tables of what servers that keep and acknowledge messages cost and lose."""

from statistics import median

from harness import keepers

# The lines of the first table: what is in it, and in which row and under which name it was
# measured.
COSTS = [
    ("CPU time of a message, 5,000 a second in an open loop, µs", "v2-open", "cpu_us_per_op"),
    ("… 1 in flight on each of 50 pairs, µs", "v2-1", "cpu_us_per_op"),
    ("… 16 in flight on each of 50 pairs, µs", "v2-16", "cpu_us_per_op"),
    ("… of a heartbeat, 16 in flight on each of 100 connections, µs", "v2-ping", "cpu_us_per_op"),
    ("An idle session, bytes", "v2-crowd", "idle_bytes"),
    ("A session whose client is away, with 3 messages waiting, bytes", "v2-crowd", "waiting_bytes"),
    ("CPU time of a whole return, µs", "v2-crowd", "return_us"),
    ("… for so many clients, who came back at once", "v2-crowd", "clients"),
    ("… and the last of them was back after, ms", "v2-crowd", "last_ms"),
    ("CPU time of a delivery to a group of 1,000, µs", "v2-group", "cpu_us_per_op"),
]


def tables(results, number):
    """The tables as one text; `number` writes a figure."""
    rows = results["rows"]
    if not any(name.startswith("v2-") for name in rows):
        return "Not measured."
    return "\n\n".join([costs(rows, number), versions(results), losses(rows)])


def costs(rows, number):
    compared = [name for name in keepers.NAMES
                if any(rounds(rows, row, name) for _, row, _ in COSTS)]
    titles = [keepers.named(name).title for name in compared]
    lines = [f"| | {' | '.join(titles)} |", "| --- |" + " ---: |" * len(titles)]
    for title, row, key in COSTS:
        cells = [cell(rounds(rows, row, name), key, number) for name in compared]
        if any(one != "–" for one in cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(measured, key, number):
    return number(median(one[key] for one in measured)) if measured else "–"


def rounds(rows, row, name):
    return rows.get(row, {}).get("peers", {}).get(name, {}).get("rounds", [])


def versions(results):
    told = results.get("versions", {})
    others = [f"{keepers.named(name).title}: {version}" for name, version in told.items()
              if name in keepers.NAMES and not keepers.is_ours(name)]
    return "Versions: " + "; ".join(others) + "."


def losses(rows):
    """What was lost, of how many messages their senders were told that they are taken."""
    lines = [
        "| | cut: lost | twice | out of order | told of gaps "
        "| restarted: lost | twice | told of gaps | killed: lost | twice | told of gaps |",
        "| --- |" + " ---: |" * 10,
    ]
    for name in keepers.NAMES:
        cut, restarted, killed = (rounds(rows, row, name) for row in keepers.LOSSES)
        if not cut and not restarted and not killed:
            continue
        cells = [*figures(cut, "lost", "copies", "out_of_order"), told(cut),
                 *figures(restarted, "lost", "copies"), told(restarted),
                 *figures(killed, "lost", "copies"), told(killed)]
        lines.append(f"| {keepers.named(name).title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figures(measured, *keys):
    return [f"{measured[0][key]:,}" if measured else "–" for key in keys]


def told(measured):
    return "–" if not measured else "yes" if measured[0]["gaps"] else "no"
