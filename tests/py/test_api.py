"""Compares the interface for backends with its description, docs/openapi.yaml: every answer of a
real server is as described, and every request that is as described is accepted.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import asyncio
import http.client
import json
import tempfile
import unittest
from pathlib import Path
from urllib.parse import quote, urlencode

from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from openapi_core.validation.request.exceptions import RequestValidationError
from websockets.asyncio.client import connect

from launch import longlink
from test_interop import Interop

KEY = "0123456789abcdef" * 2
# The paths that need a store.
OF_STORE = {
    "/api/conversations/{user}/{other}/messages",
    "/api/groups/{group}/messages",
    "/api/store/backup",
}
DESCRIPTION = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"


class Described(Interop):
    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        key = folder / "key"
        key.write_text(KEY + "\n")
        self.args = (*self.args, "--api-key-file", str(key))
        super().setUp()
        self.description = OpenAPI.from_file_path(str(DESCRIPTION))
        self.backend = http.client.HTTPConnection(self.address, timeout=10)
        self.addCleanup(self.backend.close)
        self.asked: set[tuple[str, str]] = set()

    def described_path(self, path: str) -> str:
        """The path of the description that a request's path belongs to."""
        def fits(template: str) -> bool:
            pairs = list(zip(template.split("/"), path.split("/")))
            same = template.count("/") == path.count("/")
            return same and all(it.startswith("{") or it == given for it, given in pairs)
        return next(filter(fits, (self.description.spec / "paths").keys()))

    def ask(self, method: str, path: str, body: object = None, query: dict | None = None,
            key: str = KEY, content_type: str = "application/json") -> tuple[int, dict]:
        """Makes a request, and compares the request and its answer with the description."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}"}
        if data is not None:
            headers["Content-Type"] = content_type
        target = quote(path) + (f"?{urlencode(query)}" if query else "")
        self.backend.request(method, target, data, headers)
        answer = self.backend.getresponse()
        text = answer.read()
        request = MockRequest(
            "http://127.0.0.1:9090", method.lower(), quote(path), args=query or {},
            headers=headers, data=data, content_type=content_type)
        response = MockResponse(
            text, status_code=answer.status, headers=dict(answer.getheaders()),
            content_type=answer.getheader("Content-Type"))
        self.description.validate_response(request, response)
        try:
            self.description.validate_request(request)
            right = True
        except RequestValidationError:
            right = False
        self.assertTrue(right or answer.status >= 400, f"{method} {path} {body} was accepted")
        if answer.status == 200:
            self.asked.add((method, self.described_path(path)))
        self.right = right
        return answer.status, json.loads(text)


class Answers(Described):
    def setUp(self) -> None:
        secret = Path(self.enterContext(tempfile.TemporaryDirectory())) / "secret"
        secret.write_text("0123456789abcdef" * 2)
        self.args = ("--secret-file", str(secret))
        super().setUp()

    async def test_every_answer_is_as_described(self) -> None:
        ticket = self.ask("POST", "/api/ticket", {"user": "alice", "groups": ["vip"]})[1]["ticket"]
        alice = await self.open("alice", additional_headers={"Authorization": f"Bearer {ticket}"})
        for body in [
            {"user": "alice", "message": {"order": 17, "state": "paid"}, "from": "shop"},
            {"users": ["alice", "张三"], "message": "hi", "exclude": ["bob"]},
            {"group": "room", "message": None},
            {"all": True, "message": [1, 2], "idempotencyKey": "a"},
            {"all": True, "message": [1, 2], "idempotencyKey": "a"},
            {"user": "carol", "message": 1, "keep": True, "ttl": 60, "key": "price"},
            {"user": "carol", "message": 2, "volatile": True},
            {"users": ["carol"], "message": 3, "idempotencyKey": "b", "keep": None, "ttl": None},
            {"users": ["carol"], "message": 3, "idempotencyKey": "b", "keep": None, "ttl": None},
        ]:
            status, _ = self.ask("POST", "/api/send", body)
            self.assertEqual((status, self.right), (200, True), body)
        for user in ["alice", "张三"]:
            self.assertEqual(self.ask("PUT", f"/api/groups/room 1/members/{user}")[0], 200)
        self.assertEqual(self.ask("GET", "/api/groups/room 1", query={"limit": 1})[1], {
            "group": "room 1", "count": 2, "members": ["alice"], "next": "alice"})
        self.assertEqual(
            self.ask("POST", "/api/send", {"group": "room 1", "message": 1})[1],
            {"results": [{"group": "room 1", "state": "sent", "connections": 1}]})
        self.assertEqual(self.ask("DELETE", "/api/groups/room 1/members/alice")[0], 200)
        online = self.ask("GET", "/api/online", query={"limit": 5})[1]
        self.assertEqual(online, {"count": 1, "users": ["alice"], "next": None})
        found = self.ask("GET", "/api/online", query={"contains": "LIC", "details": "true"})[1]
        age = found["users"][0].pop("age")
        self.assertEqual(found, {"count": 1, "users": [{"user": "alice", "connections": 1, "waiting": 0}], "next": None})
        self.assertLess(age, 60)
        self.assertEqual(self.ask("GET", "/api/online", query={"contains": "nobody"})[1]["users"], [])
        hour = self.ask("GET", "/api/stats/hour")[1]
        self.assertEqual((hour["period"], "missing" in hour), (10, False))
        self.assertTrue(self.ask("GET", "/api/users/alice")[1]["online"])
        self.assertFalse(self.ask("GET", "/api/users/张三")[1]["online"])
        self.assertEqual(self.ask("GET", "/api/stats")[1]["longlink_users"], 1)
        self.assertEqual(self.ask("GET", "/api/nodes")[1], {"node": None, "up": True, "nodes": []})
        batch = {"messages": [{"user": "alice", "message": 1}, {"user": "bob", "message": 2},
                              {"user": "carol", "message": 4, "from": "shop", "key": "price"}]}
        self.assertEqual([it["state"] for it in self.ask("POST", "/api/batch", batch)[1]["results"]],
                         ["sent", "offline", "queued"])
        await self.ask_for_what_waits()
        self.assertEqual(
            self.ask("POST", "/api/kick", {"user": "alice", "reason": "bye"})[1], {"closed": 1})
        await asyncio.wait_for(alice.wait_closed(), 10)
        self.assertEqual((alice.close_code, alice.close_reason), (4503, "bye"))
        block = {"user": "alice", "for": 60, "reason": "spam"}
        self.assertEqual(self.ask("POST", "/api/block", block)[1]["closed"], 0)
        self.assertEqual(self.ask("GET", "/api/users/alice")[1]["block"]["reason"], "spam")
        self.assertEqual(self.ask("GET", "/api/blocks")[1]["count"], 1)
        self.assertFalse(self.ask("DELETE", "/api/blocks/alice")[1]["blocked"])
        described = {
            (method.upper(), path)
            for path, operations in (self.description.spec / "paths").items()
            # test_metrics.py tests the paths that do not answer with JSON.
            if path.startswith("/api/") and path not in OF_STORE
            for method in ("get", "put", "post", "delete") if method in operations}
        self.assertEqual(self.asked, described, "every operation was asked for")

    async def ask_for_what_waits(self) -> None:
        """carol has never connected, and three messages wait; then a phone of hers comes."""
        mailbox = self.ask("GET", "/api/users/carol")[1]["mailbox"]
        self.assertEqual((mailbox["seq"], mailbox["waiting"], mailbox["devices"]), (3, 3, []))
        query = {"after": 1, "limit": 1}
        page = self.ask("GET", "/api/users/carol/messages", query=query)[1]
        self.assertEqual([it["message"] for it in page["messages"]], [3])
        self.assertTrue(page["more"])
        ticket = self.ask("POST", "/api/ticket", {"user": "carol"})[1]["ticket"]
        carol = await self.open(
            "carol", subprotocols=["longlink.v2"],
            additional_headers={"Authorization": f"Bearer {ticket}"})
        kinds = [json.loads(await self.receive(carol))["type"] for _ in range(5)]
        self.assertEqual(kinds, ["welcome", *["message"] * 3, "live"])
        self.ask("POST", "/api/send", {"user": "carol", "message": 5})
        self.assertEqual(
            self.ask("GET", "/api/users/carol")[1]["mailbox"]["devices"],
            [{"device": "", "cursor": 0, "online": True}])
        forgotten = self.ask("DELETE", "/api/users/carol/mailbox")[1]
        self.assertEqual(forgotten, {"user": "carol", "forgotten": True})
        self.assertEqual(self.ask("GET", "/api/users/carol/messages")[1]["messages"], [])
        await carol.close()


class Stored(Described):
    """The interface of a server that keeps messages in a file."""

    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.args = ("--store", str(folder / "messages.db"), "--history", "30d")
        super().setUp()

    async def test_older_messages_and_a_copy_of_the_store_are_as_described(self) -> None:
        for user in ["bob", "carol"]:
            self.assertEqual(self.ask("PUT", f"/api/groups/room/members/{user}")[0], 200)
        for body in [
            {"user": "bob", "from": "carol", "message": 1, "keep": True},
            {"user": "carol", "from": "bob", "message": 2, "keep": True, "idempotencyKey": "k"},
            {"users": ["bob", "dave"], "from": "carol", "message": 3, "keep": True},
            {"group": "room", "message": 4, "keep": True},
        ]:
            _, answer = self.ask("POST", "/api/send", body)
            self.assertEqual({it["state"] for it in answer["results"]}, {"stored"}, body)
        page = self.ask("GET", "/api/conversations/bob/carol/messages", query={"limit": 2})[1]
        self.assertEqual([it["message"] for it in page["messages"]], [3, 2])
        query = {"before": page["messages"][1]["id"]}
        page = self.ask("GET", "/api/conversations/bob/carol/messages", query=query)[1]
        self.assertEqual(([it["message"] for it in page["messages"]], page["more"]), ([1], False))
        page = self.ask("GET", "/api/groups/room/messages")[1]
        self.assertEqual([it["message"] for it in page["messages"]], [4])
        page = self.ask("GET", "/api/users/bob/messages", query={"order": "newest"})[1]
        self.assertEqual([it["message"] for it in page["messages"]], [4, 3, 2, 1])
        waiting = self.ask("GET", "/api/users/bob/messages", query={"order": "oldest"})[1]
        self.assertEqual([it["message"] for it in waiting["messages"]], [1, 3, 4])
        self.assertEqual(self.ask("POST", "/api/store/backup", {})[1]["state"], "running")
        async with asyncio.timeout(20):
            while self.ask("GET", "/api/store/backup")[1]["state"] != "done":
                await asyncio.sleep(0.02)
        of_store = {path for _, path in self.asked} & OF_STORE
        self.assertEqual(of_store, OF_STORE, "every operation was asked for")


class Refusals(Described):
    async def test_every_refusal_is_as_described(self) -> None:
        for status, method, path, body, more in [
            (400, "POST", "/api/send", {"user": "a", "message": 1, "x": 2}, {}),
            (400, "POST", "/api/send", {"user": 5, "message": 1}, {}),
            (400, "POST", "/api/send", {"user": "a", "all": True, "message": 1}, {}),
            (400, "POST", "/api/send", {"message": 1}, {}),
            (400, "POST", "/api/send", {"user": "a/b", "message": 1}, {}),
            (400, "POST", "/api/send", {"users": ["u"] * 1001, "message": 1}, {}),
            (400, "POST", "/api/batch", {"messages": [{"user": "a"}]}, {}),
            (400, "POST", "/api/kick", {}, {}),
            (400, "POST", "/api/block", {"user": "a"}, {}),
            (400, "POST", "/api/block", {"user": "a", "for": 0}, {}),
            (400, "GET", "/api/online", None, {"query": {"limit": 1001}}),
            (400, "POST", "/api/send", {"user": "a", "message": 1, "ttl": 0}, {}),
            (400, "POST", "/api/send", {"user": "a", "message": 1, "key": ""}, {}),
            (400, "POST", "/api/send", {"user": "a", "message": 1, "keep": "yes"}, {}),
            (400, "POST", "/api/send",
             {"user": "a", "message": 1, "keep": True, "volatile": True}, {}),
            (400, "POST", "/api/send", {"all": True, "message": 1, "keep": True}, {}),
            (400, "GET", "/api/users/a/messages", None, {"query": {"after": "x"}}),
            (404, "GET", "/api/users/a/messages", None, {"query": {"before": "x"}}),
            (400, "GET", "/api/groups/g/messages", None, {"query": {"limit": 101}}),
            (404, "GET", "/api/users/a/messages", None, {"query": {"order": "newest"}}),
            (404, "GET", "/api/conversations/a/b/messages", None, {}),
            (404, "GET", "/api/groups/g/messages", None, {}),
            (401, "GET", "/api/online", None, {"key": KEY[:-1]}),
            (404, "POST", "/api/ticket", {"user": "a"}, {}),
            (413, "POST", "/api/send", {"user": "a", "message": "x" * 70_000}, {}),
            (413, "POST", "/api/send", {"user": "a", "message": "x" * 2_000_000}, {}),
            (415, "POST", "/api/send", {"user": "a", "message": 1}, {"content_type": "text/plain"}),
        ]:
            with self.subTest(path=path, status=status, body=str(body)[:60]):
                self.assertEqual(self.ask(method, path, body, **more)[0], status)
        self.ask("POST", "/api/send", {"user": "a", "message": 1, "idempotencyKey": "k"})
        body = {"user": "a", "message": 2, "idempotencyKey": "k"}
        self.assertEqual(self.ask("POST", "/api/send", body)[0], 409)
        for number in range(64):
            self.ask("PUT", f"/api/groups/g{number}/members/a")
        self.assertEqual(self.ask("PUT", "/api/groups/one more/members/a")[0], 409)
        for _ in range(10):
            self.ask("GET", "/api/online", key="x" * 32)
        self.assertEqual(self.ask("GET", "/api/online", key="x" * 32)[0], 429)


class Listener(unittest.IsolatedAsyncioTestCase):
    async def test_a_separate_listener_needs_no_key_for_requests_from_this_machine(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        path = folder / "api.sock"
        address = self.enterContext(longlink("--api-listen", f"unix:{path}"))
        async with connect(f"ws://{address}/websocket/alice") as alice:
            reader, writer = await asyncio.open_unix_connection(path)
            body = b'{"user":"alice","message":"over a socket file"}'
            writer.write(
                b"POST /api/send HTTP/1.1\r\nHost: longlink\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body))
            answer = await asyncio.wait_for(reader.read(), 10)
            self.assertTrue(answer.endswith(b'{"results":[{"user":"alice","state":"sent","online":true}]}'))
            frame = json.loads(await asyncio.wait_for(alice.recv(), 10))
            self.assertEqual(frame["message"], "over a socket file")
            writer.close()


if __name__ == "__main__":
    unittest.main()
