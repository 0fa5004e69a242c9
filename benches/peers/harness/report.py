"""The tables of docs/benchmarks.md, written between two markers."""

from statistics import median

from harness import kept_report, rows, tls
from harness.servers import PEERS, ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures: written by benches/peers/run -->", "<!-- end of figures -->"
MET = {True: "yes", False: "**no**", None: "–"}


def write(results):
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{figures(results)}\n{END}{after}")


def summary(results):
    """Each row in a line, for the terminal."""
    lines = []
    for row in measured(results):
        record = results["rows"][row.name]
        for one in record["targets"]:
            judged = MET[one["met"]].strip("*") if one["judged"] else "(told)"
            value = number(one["value"])
            lines.append(f"{row.name:9} {judged:7} {one['what']}: {value} ({one['target']})")
    return "\n".join(lines)


def figures(results):
    machine = results["machine"]
    timed = sorted({
        (record["rounds"], record["seconds"])
        for record in results["rows"].values() if "seconds" in record
    })
    told = ", or ".join(f"{rounds} of {seconds} s a load" for rounds, seconds in timed)
    parts = [
        f"Measured {occasions(results)}: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}; "
        f"{machine['rustc']}; {machine['cxx']}."
        + (f" Rounds: {told}." if told else ""),
        "### Targets",
        targets(results),
        "### Server CPU time for one operation, µs",
        by_peer(results, lambda record: median_of(record, "cpu_us_per_op")),
        "### Operations a second",
        by_peer(results, lambda record: median_of(record, "rate")),
        "### Latency, µs: median / 99th percentile",
        by_peer(results, latency),
        "### Instructions in user space for one operation",
        by_peer(results, lambda record: number(record.get("instructions"))),
        "### System calls for one operation: all / those that send",
        by_peer(results, calls),
        "### User-space bytes for each of many idle connections",
        memory(results),
        "### TLS",
        encrypted(results),
        "### Messages that are kept and acknowledged",
        kept_report.tables(results, number),
    ]
    return "\n\n".join(part for part in parts if part is not None) + "\n"


def occasions(results):
    """When and at which commits: rows that a later run has left out keep their figures."""
    found = sorted({(row["date"], row["commit"]) for row in results["rows"].values()})
    return ", and ".join(f"on {date} at {commit}" for date, commit in found)


def measured(results):
    return [row for row in rows.ROWS if row.name in results["rows"]]


def targets(results):
    lines = ["| row | what | target | measured | met |", "| --- | --- | --- | --- | --- |"]
    for row in measured(results):
        title = row.title
        for one in results["rows"][row.name]["targets"]:
            met = MET[one["met"]] if one["judged"] else f"({MET[one['met']].strip('*')})"
            value = number(one["value"]) + (one["unit"] if one["value"] is not None else "")
            lines.append(f"| {title} | {one['what']} | {one['target']} | {value} | {met} |")
            title = ""
    return "\n".join(lines)


def by_peer(results, cell):
    """A line for each load and a column for each peer; lines without any figure are left out."""
    compared = [row for row in measured(results) if row.kind == "load"]
    peers = [
        peer for peer in PEERS
        if any(peer in results["rows"][row.name]["peers"] for row in compared)
    ]
    lines = [f"| row | {' | '.join(peers)} |", "| --- |" + " ---: |" * len(peers)]
    for row in compared:
        records = results["rows"][row.name]["peers"]
        cells = [cell(records[peer]) if peer in records else "–" for peer in peers]
        if any(one != "–" for one in cells):
            lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else "Not measured."


def memory(results):
    if "memory" not in results["rows"]:
        return "Not measured."
    records = results["rows"]["memory"]["peers"]
    peers = [peer for peer in PEERS if peer in records]
    if not peers:
        return "Not measured."
    lines = [f"| | {' | '.join(peers)} |", "| --- |" + " ---: |" * len(peers)]
    for title, key in [
        ("idle", "idle"),
        ("after a message of 16 KiB to and from each", "after_16k"),
    ]:
        cells = [number(records[peer]["figures"][key]) for peer in peers]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def encrypted(results):
    """CPU time for an operation, and bytes of an idle connection, by who does the TLS."""
    row = results["rows"].get("tls")
    if not row or rows.OURS not in row["peers"]:
        return "Not measured."
    figures = row["peers"][rows.OURS]["figures"]
    lines = [
        f"Measured on {row['date']} at {row['commit']}. Rounds: {figures['rounds']} of "
        f"{tls.SECONDS} s a load; {figures['connections']:,} idle connections, of TLS 1.3.",
        "",
        "| | plain | longlink's TLS | nginx before longlink |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, load in tls.LOADS.items():
        cells = [
            number(tls.of(figures, name, front)) + " µs" if front in load.fronts else "–"
            for front in tls.FRONTS
        ]
        lines.append(f"| {load.title} | {' | '.join(cells)} |")
    resting = [tls.resting(figures, front) for front in tls.FRONTS]
    for title, place in [("An idle connection, processes", 0), ("An idle connection, kernel", 1)]:
        cells = [f"{one[place]:,.0f} B" for one in resting]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def median_of(record, key):
    values = [one[key] for one in record["rounds"] if one.get(key) is not None]
    return number(median(values)) if values else "–"


def latency(record):
    both = [median_of(record, key) for key in ('p50_us', 'p99_us')]
    return "–" if "–" in both else " / ".join(both)


def calls(record):
    counted = record.get("system_calls")
    return f"{number(counted['all'])} / {number(counted.get('send', 0))}" if counted else "–"


def number(value):
    """A figure with the digits that mean something."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
