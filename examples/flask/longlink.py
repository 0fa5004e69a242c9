"""The backend's side of longlink: its HTTP interface and its webhooks."""

import hmac
import logging
import threading
import time
from typing import Any

import requests

from problem import Problem

TIMEOUT = 3
ATTEMPTS = 3
LONGEST_WAIT = 2  # seconds; a caller who would have to wait longer is told so
OLDEST_WEBHOOK = 300  # seconds


class Longlink:
    def __init__(self, api: str, key: str, webhook_secret: str) -> None:
        self.api, self.secret = api, webhook_secret.encode()
        self.http = requests.Session()  # keeps its connections
        self.http.headers["Authorization"] = f"Bearer {key}"
        # The last event that was taken, who is online, and the last event that `users` knew of when longlink
        # was asked. In several processes this belongs into your database.
        self.epoch, self.seq, self.users, self.snapshot = "", 0, set(), 0
        self.lock = threading.Lock()

    def push(self, user: str, message: object, key: str) -> str:
        """Sends a message to a user, and returns what became of it.

        The message waits for a user who is away. A call that is repeated with the same key sends it only once, so
        that every caller, also this function, may try again. The answer is `stored` or `queued` (every device of the
        user gets the message, now or later), `sent` (pages of the older protocol get it now) or `offline` (nobody gets it).
        """
        body = {"user": user, "from": "orders", "message": message, "keep": True, "idempotencyKey": key}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                state = self._ask("POST", "send", json=body)["results"][0]["state"]
                if state != "busy":
                    return state
                problem = Problem(503, "longlink_busy", "The user has too many messages waiting.", 1)
            except Problem as error:
                problem = error
            if problem.status != 503 or attempt == ATTEMPTS or problem.retry_after > LONGEST_WAIT:
                raise problem
            time.sleep(problem.retry_after)
        raise AssertionError("the last attempt returns or raises")

    def _ask(self, method: str, route: str, **more: Any) -> dict:
        """Asks a route of longlink's interface."""
        try:
            answer = self.http.request(method, f"{self.api}/api/{route}", timeout=TIMEOUT, **more)
            json = answer.json()
        except requests.RequestException as error:
            # Nobody listens, the connection broke, no answer came in time, or a proxy answered with a page.
            logging.error("longlink cannot be reached: %s", type(error).__name__)
            raise Problem(503, "longlink_unreachable", "longlink cannot be reached. Try again a little later.", 1) from None
        if answer.ok:
            return json
        error = json.get("error", {})
        if answer.status_code == 429 or answer.status_code >= 500:
            wait = answer.headers.get("Retry-After", "")
            raise Problem(503, "longlink_busy", f"longlink cannot do this now: {error.get('code')}",
                          int(wait) if wait.isdecimal() else 1)
        logging.error("longlink refuses %s: %s %s", route, answer.status_code, error)
        raise Problem(502, "longlink_refused", f"longlink refuses this: {error.get('code')}")

    def is_signed(self, timestamp: str, signature: str, body: bytes) -> bool:
        """Whether a webhook is signed with the secret, and was sent in the last five minutes."""
        expected = "v1=" + hmac.new(self.secret, timestamp.encode() + b"." + body, "sha256").hexdigest()
        return (hmac.compare_digest(expected.encode(), signature.encode())
                and timestamp.isdecimal() and abs(time.time() - int(timestamp)) < OLDEST_WEBHOOK)

    def take(self, epoch: str, events: list[dict]) -> None:
        """Takes the events of a webhook, one webhook after the other."""
        with self.lock:
            for event in events:
                seq = event["seq"]
                if epoch == self.epoch and seq <= self.seq:
                    continue  # longlink has sent this event again
                if (epoch, seq) != (self.epoch, self.seq + 1):
                    # Events are missing, or one of the two programs was started again. If longlink does not
                    # answer, it gets an error, and sends the same events again later.
                    now, last, self.users = self._who_is_online()
                    if now != epoch:
                        break  # events of a server that is gone
                    self.epoch, self.snapshot = epoch, last
                self.seq = seq
                if event["type"] == "online" and seq > self.snapshot:
                    self.users.add(event["user"])
                elif event["type"] == "offline" and seq > self.snapshot:
                    self.users.discard(event["user"])
                elif event["type"] == "undelivered":
                    # This is the moment for a subscription message of WeChat, which reaches a user who is not in
                    # the mini-program.
                    logging.warning("undelivered: a message to %s", event["toUserId"])

    def _who_is_online(self) -> tuple[str, int, set[str]]:
        """Asks who is online, and which event is the last one that the answer includes."""
        first = page = self._ask("GET", "online")
        users = set(first["users"])
        while page["next"]:
            page = self._ask("GET", "online", params={"after": page["next"]})
            if page["epoch"] != first["epoch"]:
                raise Problem(503, "longlink_busy", "longlink was started again.", 1)
            users.update(page["users"])
        return first["epoch"], first["seq"], users
