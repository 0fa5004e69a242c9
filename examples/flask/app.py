"""A mini-program's backend: signs in users, tells a user that an order was paid, knows who is online."""

import hmac
import os
import threading
import time

import requests
from flask import Flask, abort, request

app = Flask(__name__)
PASSWORDS = {"alice": "wonderland", "bob": "builder"}  # yours are in a database, and hashed
ORDERS = {17: "alice"}
API, SECRET = os.environ["LONGLINK_API"], os.environ["LONGLINK_SECRET"].strip().encode()
known = {"last": ("", 0), "online": set()}  # the last event's epoch and seq, and who is there
lock = threading.Lock()
longlink = requests.Session()  # keeps its connections
longlink.headers["Authorization"] = f"Bearer {os.environ['LONGLINK_KEY']}"


def ask(method: str, route: str, **more: object) -> dict:
    answer = longlink.request(method, f"{API}/api/{route}", timeout=5, **more)
    answer.raise_for_status()
    return answer.json()


@app.post("/ticket")
def ticket():
    """Gives a user the ticket for ws://…/websocket/USER?ticket=TICKET"""
    login = request.authorization
    if not login or not login.password or PASSWORDS.get(login.username) != login.password:
        abort(401)
    return ask("POST", "ticket", json={"user": login.username, "ttl": 7200})


@app.post("/orders/<int:order>/paid")
def paid(order: int):
    """A payment service calls this, perhaps twice. The user gets one message, which waits while the user is away."""
    user, message = ORDERS.get(order) or abort(404), {"order": order, "state": "paid"}
    more = {"keep": True, "idempotencyKey": f"paid-{order}"}
    return ask("POST", "send", json={"user": user, "message": message, **more})


@app.post("/longlink")
def events():
    """longlink posts signed events here: each event at least once, in order."""
    sent, body = request.headers.get("Longlink-Timestamp", ""), request.get_data()
    expected = "v1=" + hmac.new(SECRET, sent.encode() + b"." + body, "sha256").hexdigest()
    given = request.headers.get("Longlink-Signature", "")
    if not hmac.compare_digest(expected.encode(), given.encode()) or time.time() - int(sent) > 300:
        abort(401)
    told = request.get_json()
    with lock:
        for event in told["events"]:
            (epoch, last), place = known["last"], (told["epoch"], event["seq"])
            if place > (epoch, last + 1):  # some are missing, or one of the two was started again
                look()
            if place > known["last"]:  # else this one was told before
                known["last"] = place
                if event["type"] == "online":
                    known["online"].add(event["user"])
                elif event["type"] == "offline":
                    known["online"].discard(event["user"])
    return "", 204


def look() -> None:
    """Asks longlink who is online, and which event is the last that the answer includes."""
    first = page = ask("GET", "online")
    users = set(page["users"])
    while page["next"]:
        page = ask("GET", "online", params={"after": page["next"]})
        users.update(page["users"])
    known.update(last=(first["epoch"], first["seq"]), online=users)


@app.get("/online")
def online():
    return sorted(known["online"])
