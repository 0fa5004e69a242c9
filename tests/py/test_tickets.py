"""Which tickets of PyJWT let a client connect."""

from __future__ import annotations

import asyncio
import tempfile
import time

import jwt

from launch import longlink
from test_interop import PATIENCE, Interop
from tickets import SECRET, mint, mint_alice, secret_file


class Tickets(Interop):
    def setUp(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.log = self.enterContext(open(f"{folder}/log", "w+"))
        flags = ("--secret-file", secret_file(folder), "--reject-delay", "0")
        self.address = self.enterContext(longlink(*flags, level="trace", log=self.log))

    async def refused(self, ticket: str, user: str = "alice") -> None:
        self.assertEqual(await self.refusal(f"{self.url(user)}?ticket={ticket}"), 401)

    async def test_a_ticket_of_the_documented_sample_lets_its_user_in_and_nobody_else(self) -> None:
        ticket = mint_alice()
        client = await self.open("alice", additional_headers={"Authorization": f"Bearer {ticket}"})
        await self.beat(client)
        offers = ["longlink.v1", f"ticket.{ticket}"]
        client = await self.open("alice", subprotocols=offers)
        self.assertEqual(client.subprotocol, "longlink.v1")
        await self.beat(client)
        await self.refused(ticket, "bob")
        self.assertEqual(await self.refusal(self.url("alice")), 401)

    async def test_a_ticket_that_is_not_signed_with_the_secret_is_refused(self) -> None:
        claims = {"sub": "alice", "exp": int(time.time()) + 60}
        other = SECRET[::-1]
        for ticket in (
                mint_alice(other),
                jwt.encode(claims, None, "none"),
                jwt.encode(claims, SECRET * 2, "HS512"),
                mint("alice") + "A",
                "x" * 5_000,
        ):
            await self.refused(ticket)

    async def test_a_ticket_is_valid_only_in_its_time_and_for_its_user_and_device(self) -> None:
        await self.refused(mint("alice", ttl=-10))
        await self.refused(mint("alice", nbf=int(time.time()) + 60))
        await self.refused(jwt.encode({"sub": "alice"}, SECRET, "HS256"))
        await self.refused(f"{mint('alice', device='phone')}&device=pad")
        # The clocks of the two machines may differ a little.
        for ticket in (mint("alice", ttl=-2), mint("alice", nbf=int(time.time()) + 2)):
            await self.beat(await self.open("alice", additional_headers={
                "Authorization": f"Bearer {ticket}"}))

    async def test_no_part_of_a_ticket_is_logged(self) -> None:
        good, foreign = mint("alice"), mint("alice", secret=SECRET[::-1])
        await self.beat(await self.open("alice", subprotocols=["longlink.v1", f"ticket.{good}"]))
        await self.refused(foreign)
        await self.refused(mint("alice", ttl=-10))
        # The server writes its log beside its work, so the last line may come after the answer.
        log = ""
        async with asyncio.timeout(PATIENCE):
            while "open user alice" not in log or "refused user alice" not in log:
                await asyncio.sleep(0.01)
                self.log.seek(0)
                log = self.log.read()
        for secret in (SECRET, good, foreign, "eyJ", "ticket="):
            self.assertNotIn(secret, log)
