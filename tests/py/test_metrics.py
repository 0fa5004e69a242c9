"""Reads `/metrics` with the parser of Prometheus, and compares the values with the traffic of a
test, and the documentation with the metrics that exist.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from launch import longlink

KEY = "0123456789abcdef" * 2
ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MONITORING = DOCS / "monitoring"
DEADLINE_SECONDS = 10

METRIC = r"\b(?:longlink|process)_\w+"

Sample = tuple[str, tuple[tuple[str, str], ...]]


class Scraped(unittest.IsolatedAsyncioTestCase):
    args: tuple[str, ...] = ()

    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        key = folder / "key"
        key.write_text(KEY)
        args = ("--api-key-file", str(key), *self.args)
        self.address = self.enterContext(longlink(*args, level="error"))

    def get(self, path: str) -> tuple[str, str]:
        connection = http.client.HTTPConnection(self.address, timeout=DEADLINE_SECONDS)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {KEY}"})
            answer = connection.getresponse()
            text = answer.read().decode()
            self.assertEqual(answer.status, 200, text)
            return text, answer.getheader("Content-Type")
        finally:
            connection.close()

    def scrape(self) -> dict[Sample, float]:
        text, kind = self.get("/metrics")
        self.assertTrue(kind.startswith("application/openmetrics-text; version=1.0.0"), kind)
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}

    async def until(self, **expected: float) -> dict[Sample, float]:
        """Scrapes until plain values are as expected, because the server notices an end late."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            samples = self.scrape()
            found = {name: samples[name, ()] for name in expected}
            if found == expected:
                return samples
            self.assertLess(time.monotonic(), deadline, f"{found}, not {expected}")
            await asyncio.sleep(0.01)


def of(samples: dict[Sample, float], name: str, label: str) -> dict[str, float]:
    """The values of a metric by the values of its label, without zeros."""
    return {
        labels[0][1]: value for (sample, labels), value in samples.items()
        if sample == name and labels[0][0] == label and value}


class Traffic(Scraped):
    # A page of another origin is refused at once.
    args = ("--reject-delay", "0")

    async def test_values_are_those_of_the_traffic(self) -> None:
        before = self.scrape()
        url = f"ws://{self.address}/websocket/"
        async with connect(url + "alice") as alice, connect(url + "bob") as bob:
            async with connect(url + "bob") as newer:
                parked = await self.until(longlink_users=2, longlink_parked_total=1)
                self.assertEqual(
                    of(parked, "longlink_connections", "phase"),
                    {"open": 2, "parked": 1, "handshake": 1})
                sent = '{"toUserId":"bob","message":"hi"}'
                await alice.send(sent)
                received = await newer.recv()
                await alice.send('{"toUserId":"nobody","message":"hi"}')
                await alice.send('{"message":"all"}')
                self.assertEqual(await alice.recv(), await newer.recv())
                await alice.send("ping")
                pong = await alice.recv()
                samples = await self.until(longlink_messages_received_total=4)
                self.assertEqual(samples["longlink_messages_sent_total", ()], 4)
                self.assertEqual(
                    of(samples, "longlink_relay_messages_total", "result"),
                    {"delivered": 1, "offline": 1})
                self.assertEqual(
                    of(samples, "longlink_relay_broadcasts_total", "result"), {"sent": 1})
                fan_outs = of(samples, "longlink_fan_out_connections_bucket", "le")
                self.assertEqual((fan_outs.get("1.0"), fan_outs["5.0"]), (None, 1))
                self.assertEqual(samples["longlink_fan_out_connections_sum", ()], 2)
                # Between two scrapes there are a ping and its pong, and a request and its answer.
                await alice.send("ping")
                self.assertEqual(await alice.recv(), pong)
                after = self.scrape()
                grown = {
                    name: after[name, ()] - samples[name, ()] for name in
                    ("longlink_received_bytes_total", "longlink_sent_bytes_total")}
                request = grown["longlink_received_bytes_total"] - (2 + 4 + 4)
                # The host, the port and the key may have any length, nothing else.
                self.assertTrue(80 < request < 300, grown)
                text = len(self.get("/metrics")[0])
                answer = grown["longlink_sent_bytes_total"] - (2 + len(pong))
                self.assertTrue(text - 200 < answer < text + 400, (grown, text))
                self.assertIn("hi", received)
        for headers, code in [({"Origin": "https://evil.test"}, 403), ({}, 404)]:
            with self.assertRaises(InvalidStatus) as refused:
                path = url + "eve" if headers else url[:-len("websocket/")] + "nowhere"
                async with connect(path, additional_headers=headers):
                    pass
            self.assertEqual(refused.exception.response.status_code, code)
        samples = await self.until(longlink_users=0)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while of(samples, "longlink_closes_total", "reason") != {"peer": 3}:
            self.assertLess(time.monotonic(), deadline, samples)
            samples = self.scrape()
        self.assertEqual(
            of(samples, "longlink_handshakes_total", "code"), {"101": 3, "403": 1, "404": 1})
        self.assertEqual(
            of(samples, "longlink_refusals_total", "reason"), {"not_allowed": 1})
        self.assertGreater(samples["longlink_turn_seconds_count", ()], 10)
        self.assertGreater(samples["longlink_turn_seconds_sum", ()], 0)
        self.assertGreater(
            samples["longlink_uptime_seconds", ()], before["longlink_uptime_seconds", ()])
        age = time.time() - samples["process_start_time_seconds", ()]
        self.assertTrue(-2 < age < 600, age)
        self.assertGreater(samples["process_resident_memory_bytes", ()], 1 << 20)
        growing = {
            name for name, _ in samples if name.endswith(("_total", "_count", "_bucket"))}
        for (name, labels), value in before.items():
            if name in growing:
                self.assertGreaterEqual(samples[name, labels], value, name)

    async def test_no_user_is_in_any_label(self) -> None:
        async with connect(f"ws://{self.address}/websocket/find-me") as client:
            await client.send('{"toUserId":"find-me","message":"find-me"}')
            await client.recv()
            for path in ("/metrics", "/api/stats"):
                self.assertNotIn("find-me", self.get(path)[0])


class Formats(Scraped):
    args = (
        "--webhook", "http://127.0.0.1:9/", "--webhook-secret-file", "{secret}",
        "--store", "{store}")

    def setUp(self) -> None:
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        secret = directory / "secret"
        secret.write_text("0123456789abcdef" * 2)
        self.args = tuple(
            it.format(secret=secret, store=directory / "messages.db") for it in self.args)
        super().setUp()

    async def test_the_metrics_of_webhooks_show_a_backend_that_is_dead(self) -> None:
        async with connect(f"ws://{self.address}/websocket/alice"):
            samples = await self.until(longlink_webhook_failing=1, longlink_webhook_waiting=1)
            self.assertGreaterEqual(samples["longlink_webhook_retries_total", ()], 1)
            self.assertGreater(samples["longlink_webhook_waiting_bytes", ()], 10)
            deadline = time.monotonic() + DEADLINE_SECONDS
            while self.scrape()["longlink_webhook_oldest_seconds", ()] == 0:
                self.assertLess(time.monotonic(), deadline)

    def test_json_has_the_same_metrics(self) -> None:
        families = list(text_string_to_metric_families(self.get("/metrics")[0]))
        suffix = {"counter": "_total", "info": "_info"}
        names = {family.name + suffix.get(family.type, "") for family in families}
        stats = json.loads(self.get("/api/stats")[0])
        self.assertEqual(set(stats), names)
        for family in families:
            value = stats[family.name + suffix.get(family.type, "")]
            if family.type == "histogram":
                bounds = [s.labels["le"] for s in family.samples if s.name.endswith("_bucket")]
                told = [bucket["le"] for bucket in value["buckets"]]
                self.assertEqual([float(it) for it in bounds[:-1]], told[:-1], family.name)
                self.assertEqual((bounds[-1], told[-1]), ("+Inf", None))
                self.assertEqual(sum(it["count"] for it in value["buckets"]), value["count"])
            elif isinstance(value, dict):
                labels = {text for sample in family.samples for text in sample.labels.values()}
                told = set(value.values() if family.type == "info" else value)
                self.assertEqual(told, labels, family.name)
            else:
                self.assertEqual(len(family.samples), 1, family.name)

    def test_every_metric_is_documented_and_no_other(self) -> None:
        documented = set(re.findall(
            r"^\| `(\w+)`", (DOCS / "metrics.md").read_text(), flags=re.MULTILINE))
        # Those of nodes exist only with Redis; the tests of nodes compare them.
        documented = {name for name in documented if not name.startswith("longlink_cluster_")}
        self.assertEqual(documented, set(json.loads(self.get("/api/stats")[0])))

    def test_the_alerts_and_the_dashboard_use_metrics_and_labels_that_exist(self) -> None:
        samples = self.scrape()
        # Those of nodes exist only with Redis.
        of_nodes = set(re.findall(r"`(longlink_cluster_\w+)`", (DOCS / "metrics.md").read_text()))
        existing = {name for name, _ in samples} | of_nodes
        labels = {name: {label for label, _ in pairs} for name, pairs in samples}
        rules = (MONITORING / "alerts.yml").read_text()
        expressions = re.findall(r"^ +expr: (.+)$", rules, flags=re.MULTILINE)
        self.assertGreater(len(expressions), 15)
        dashboard = json.loads((MONITORING / "dashboard.json").read_text())
        shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        self.assertGreater(len(shown), 20)
        for expression in expressions + shown:
            used = re.findall(METRIC, expression)
            if expression.startswith("up{"):
                continue
            self.assertTrue(used, expression)
            self.assertEqual(set(used) - existing, set(), expression)
            for name, selector in re.findall(f"({METRIC})" + r"\{([^}]*)\}", expression):
                asked = set(re.findall(r"(\w+)=", selector)) - {"job", "instance"}
                self.assertLessEqual(asked, labels.get(name, set()), expression)
            for by in re.findall(r"by \(([^)]*)\)", expression):
                asked = {it.strip() for it in by.split(",")} - {"instance"}
                known = set().union(*(labels.get(name, set()) for name in used))
                self.assertLessEqual(asked, known, expression)

    def test_promtool_accepts_the_alerts_and_their_tests(self) -> None:
        promtool = os.environ.get("PROMTOOL") or shutil.which("promtool")
        self.assertIsNotNone(promtool, "promtool is missing: tests/run installs it")
        for words in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
            done = subprocess.run(
                [promtool, *words], cwd=MONITORING, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("SUCCESS", done.stdout)
        alerts = re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text())
        self.assertEqual(len(alerts), len(set(alerts)))

    def test_the_panels_of_the_dashboard_do_not_overlap(self) -> None:
        dashboard = json.loads((MONITORING / "dashboard.json").read_text())
        taken = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertEqual(cells & taken, set(), panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            taken |= cells
        names = [panel["id"] for panel in dashboard["panels"]]
        self.assertEqual(len(names), len(set(names)))

    def test_the_ops_page_uses_metrics_that_exist(self) -> None:
        pages = (ROOT / "src" / "backend" / "ops").glob("*.js")
        used = {name for page in pages for name in re.findall(METRIC, page.read_text())}
        self.assertGreater(len(used), 5)
        self.assertEqual(used - set(json.loads(self.get("/api/stats")[0])), set())


if __name__ == "__main__":
    unittest.main()
