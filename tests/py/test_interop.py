"""Clients of another library, Python's `websockets`, against the real server.

    python -m unittest discover -s tests/py
"""

from __future__ import annotations

import asyncio
import json
import unittest
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from launch import longlink

PONG = '{"type":"pong"}'
PATIENCE = 10


class Interop(unittest.IsolatedAsyncioTestCase):
    """Each test has a server of its own; `args` are its flags."""

    args: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.address = self.enterContext(longlink(*self.args))

    def url(self, user: str) -> str:
        return f"ws://{self.address}/websocket/{quote(user, safe='')}"

    async def asyncSetUp(self) -> None:
        # unittest turns the debug mode of asyncio on, which is slow and logs much.
        asyncio.get_running_loop().set_debug(False)

    async def open(self, user: str, **options) -> ClientConnection:
        return await self.enterAsyncContext(connect(self.url(user), **options))

    async def refusal(self, url: str, **options) -> int:
        """The status that the handshake is answered with instead of 101."""
        with self.assertRaises(InvalidStatus) as refused:
            async with connect(url, **options):
                pass
        return refused.exception.response.status_code

    async def receive(self, client: ClientConnection):
        return await asyncio.wait_for(client.recv(), PATIENCE)

    async def beat(self, client: ClientConnection) -> None:
        """Sends a heartbeat. Its answer is the next frame, so no other frame was on its way."""
        await client.send("ping")
        self.assertEqual(await self.receive(client), PONG)

    async def say(self, client: ClientConnection, to: str, message: object) -> None:
        await client.send(json.dumps({"toUserId": to, "message": message}))


class Chat(Interop):
    async def test_a_heartbeat_in_any_case_is_answered_with_the_same_bytes(self) -> None:
        client = await self.open("A")
        for ping in ("ping", "PING", "pInG", '{"type":"ping"}', ' { "type" : "ping" , "t" : 1 } '):
            await client.send(ping)
            self.assertEqual(await self.receive(client), PONG)

    async def test_two_clients_with_chinese_ids_chat(self) -> None:
        a = await self.open("小明")
        b = await self.open("小红 + 1%")
        await self.say(a, "小红 + 1%", "在吗?")
        self.assertEqual(
            json.loads(await self.receive(b)),
            {"type": "message", "formUserId": "小明", "toUserId": "小红 + 1%", "message": "在吗?"},
        )
        await self.say(b, "小明", {"any": ["json", 1.5, None]})
        self.assertEqual(json.loads(await self.receive(a))["message"], {"any": ["json", 1.5, None]})

    async def test_fragments_are_put_together_also_when_they_split_a_character(self) -> None:
        a = await self.open("A")
        b = await self.open("B")
        whole = json.dumps({"toUserId": "B", "message": "早上好👋" * 50}, ensure_ascii=False)
        encoded = whole.encode()
        await a.send([encoded[n : n + 7] for n in range(0, len(encoded), 7)], text=True)
        self.assertEqual(json.loads(await self.receive(b))["message"], "早上好👋" * 50)
        await a.send(iter(whole))
        self.assertEqual(json.loads(await self.receive(b))["message"], "早上好👋" * 50)

    async def test_a_ping_between_fragments_is_answered_before_the_message_is_whole(self) -> None:
        a = await self.open("A")
        b = await self.open("B")
        reached = asyncio.Event()

        async def parts():
            yield '{"toUserId":"B",'
            await asyncio.wait_for(await a.ping(b"between"), PATIENCE)
            reached.set()
            yield '"message":"whole"}'

        await a.send(parts())
        self.assertTrue(reached.is_set())
        self.assertEqual(json.loads(await self.receive(b))["message"], "whole")

    async def test_the_largest_message_arrives_and_a_larger_one_closes_with_1009(self) -> None:
        a = await self.open("A")
        b = await self.open("B")
        frame = {"toUserId": "B", "message": ""}
        room = 65536 - len(json.dumps(frame))
        await self.say(a, "B", "x" * room)
        self.assertEqual(len(json.loads(await self.receive(b))["message"]), room)
        await self.say(a, "B", "x" * (room + 1))
        with self.assertRaises(ConnectionClosed) as closed:
            await self.receive(a)
        self.assertEqual(closed.exception.rcvd.code, 1009)
        await self.beat(b)

    async def test_a_broadcast_reaches_a_hundred_clients_and_the_sender_in_order(self) -> None:
        clients = await asyncio.gather(*(self.open(f"user {n}") for n in range(100)))
        for n in range(20):
            await clients[0].send(f"line {n}")

        async def read(client: ClientConnection) -> list[object]:
            return [json.loads(await self.receive(client)) for _ in range(20)]

        for got in await asyncio.gather(*map(read, clients)):
            self.assertEqual(
                got,
                [
                    {"type": "broadcast", "formUserId": "user 0", "message": f"line {n}"}
                    for n in range(20)
                ],
            )

    async def test_binary_frames_are_ignored(self) -> None:
        client = await self.open("A")
        await client.send(b"ping")
        await client.send(bytes(range(256)))
        await self.beat(client)

    async def test_a_ping_of_any_size_is_answered_with_the_same_payload(self) -> None:
        client = await self.open("A")
        for payload in (b"", b"x", bytes(range(125))):
            await asyncio.wait_for(await client.ping(payload), PATIENCE)


class Closing(Interop):
    async def test_a_close_is_answered_with_its_own_code(self) -> None:
        for code in (1000, 1001, 1011, 3000, 4000, 4999):
            client = await self.open("A")
            await asyncio.wait_for(client.close(code, "再见"), PATIENCE)
            self.assertEqual(client.close_code, code)
            self.assertEqual(client.protocol.close_rcvd.code, code)

    async def test_the_last_messages_before_a_close_are_delivered(self) -> None:
        b = await self.open("B")
        a = await self.open("A")
        for n in range(100):
            await self.say(a, "B", n)
        await a.close()
        got = [json.loads(await self.receive(b))["message"] for _ in range(100)]
        self.assertEqual(got, list(range(100)))


class Handshake(Interop):
    async def test_compression_is_offered_and_not_negotiated(self) -> None:
        client = await self.open("A", compression="deflate")
        self.assertIn("permessage-deflate", client.request.headers["Sec-WebSocket-Extensions"])
        self.assertNotIn("Sec-WebSocket-Extensions", client.response.headers)
        await self.beat(client)

    async def test_the_first_subprotocol_that_is_no_ticket_is_echoed(self) -> None:
        for offered, echoed in (
            (["longlink.v1"], "longlink.v1"),
            (["ticket.abc", "longlink.v1"], "longlink.v1"),
            (["mqtt", "longlink.v1"], "mqtt"),
            (["longlink.v1", "ticket.abc"], "longlink.v1"),
        ):
            client = await self.open("A", subprotocols=offered)
            self.assertEqual(client.subprotocol, echoed)
            await self.beat(client)

    async def test_a_client_that_offers_no_subprotocol_gets_none(self) -> None:
        client = await self.open("A")
        self.assertNotIn("Sec-WebSocket-Protocol", client.response.headers)

    async def test_the_status_of_a_refused_handshake_tells_the_reason(self) -> None:
        for path, status in (
            ("/nowhere", 404),
            ("/websocket", 404),
            ("/websocket/", 404),
            ("/websocket/a/b", 404),
            ("/websocket/a%2Fb", 400),
            ("/websocket/a%00b", 400),
            ("/websocket/%zz", 400),
            ("/websocket/%ff", 400),
            ("/websocket/" + "x" * 129, 400),
        ):
            with self.subTest(path):
                self.assertEqual(await self.refusal(f"ws://{self.address}{path}"), status)

    async def test_a_web_page_of_another_site_is_refused(self) -> None:
        for origin in ("https://example.com", "null", "https://servicewechat.com.example.com"):
            with self.subTest(origin):
                self.assertEqual(await self.refusal(self.url("A"), origin=origin), 403)
        for origin in ("https://servicewechat.com", "http://localhost:3000", f"http://{self.address}"):
            with self.subTest(origin):
                await self.beat(await self.open("A", origin=origin))


class Liveness(Interop):
    args = ("--ping-after", "0.2", "--idle-timeout", "0.6")

    async def test_a_silent_client_that_answers_pings_stays(self) -> None:
        client = await self.open("A", ping_interval=None)
        await asyncio.sleep(1.5)
        await self.beat(client)

    async def test_a_client_kept_alive_by_its_own_pings_stays(self) -> None:
        client = await self.open("A", ping_interval=0.1)
        await asyncio.sleep(1.5)
        await self.beat(client)


if __name__ == "__main__":
    unittest.main()
