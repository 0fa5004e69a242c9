"""Checks that all servers answer with the same bytes."""

from harness.client import Client
from harness.servers import Server

PONG = '{"type":"pong"}'


def check(peer):
    """Raises AssertionError, or another exception, unless `peer` serves the v1 subset."""
    with Server(peer) as server:
        alice, bob = Client(server.port, "alice"), Client(server.port, "bob")
        heartbeats(alice)
        one_to_one(alice, bob)
        everyone(alice, bob)
        comings_and_goings(server.port, alice)
        assert server.is_running(), "the server has ended"


def heartbeats(alice):
    for _ in range(3):
        alice.send("ping")
        expect(alice, PONG)
    for _ in range(16):
        alice.send("ping")
    for _ in range(16):
        expect(alice, PONG)


def one_to_one(alice, bob):
    for text in ["hi", "x" * 200, "y" * 16384]:
        alice.send('{"toUserId":"bob","message":"%s"}' % text)
        expect(bob, '{"type":"message","formUserId":"alice","toUserId":"bob","message":"%s"}' % text)
    alice.send('{"toUserId":"nobody","message":"lost"}')
    # The next message that alice hears is her own, so no other message was for her.
    alice.send('{"toUserId":"alice","message":"to myself"}')
    expect(
        alice,
        '{"type":"message","formUserId":"alice","toUserId":"alice","message":"to myself"}',
    )


def everyone(alice, bob):
    for size in [5, 64, 1024, 16384]:
        text = "z" * size
        alice.send(text)
        bob.send('{"message":"%s"}' % text)
        both = {
            '{"type":"broadcast","formUserId":"alice","message":"%s"}' % text,
            '{"formUserId":"bob","message":"%s"}' % text,
        }
        for client in [alice, bob]:
            heard = {client.receive(), client.receive()}
            assert heard == both, f"{heard} instead of {both}"


def comings_and_goings(port, alice):
    for _ in range(20):
        guest = Client(port, "guest")
        guest.send("ping")
        expect(guest, PONG)
        guest.close()
    alice.send('{"toUserId":"guest","message":"gone"}')
    heartbeats(alice)


def expect(client, text):
    heard = client.receive()
    assert heard == text, f"{heard!r} instead of {text!r}"
