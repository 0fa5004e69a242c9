"""The backend of a mini-program that uses longlink: login, tickets, orders that are pushed, webhooks."""

import hmac
import math
import os
import sys
import time
import uuid

import jwt
import waitress
from flask import Flask, jsonify, request
from werkzeug.exceptions import HTTPException

from longlink import Longlink
from problem import Problem
from wechat import openid_of

NEEDED = ["APPID", "APPSECRET", "LONGLINK_API", "LONGLINK_KEY", "TICKET_SECRET", "WEBHOOK_SECRET", "SHOP_KEY"]
env = os.environ
if missing := [name for name in NEEDED if not env.get(name)]:
    sys.exit(f"These environment variables are missing: {', '.join(missing)}")

TICKET_SECONDS = 7200
STATUSES = ["placed", "making", "ready"]
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 2 * 1024 * 1024
longlink = Longlink(env["LONGLINK_API"], env["LONGLINK_KEY"], env["WEBHOOK_SECRET"])
orders: dict[str, dict] = {}  # by their ids; yours are in a database


def bearer() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""


def user_of_ticket() -> str:
    """Returns the user whose ticket the request has."""
    try:
        return jwt.decode(bearer(), env["TICKET_SECRET"], algorithms=["HS256"], options={"require": ["sub", "exp"]})["sub"]
    except jwt.InvalidTokenError:
        raise Problem(401, "no_ticket", "The request needs a valid ticket. Log in again.") from None


def shown(order: dict) -> dict:
    return {"id": order["id"], "status": order["status"]}


def body() -> dict:
    """Returns the JSON object of the request; a value that is no object has no fields."""
    json = request.get_json()
    return json if isinstance(json, dict) else {}


@app.post("/login")
def login():
    code = body().get("code")
    if not isinstance(code, str) or not code:
        raise Problem(400, "no_code", "The request needs the code of wx.login.")
    # An id of your own, found by the openid in your database, is better: other users see the id.
    user = openid_of(code, env.get("WECHAT", "https://api.weixin.qq.com"), env["APPID"], env["APPSECRET"])
    expires = int(time.time()) + TICKET_SECONDS
    ticket = jwt.encode({"sub": user, "exp": expires}, env["TICKET_SECRET"], algorithm="HS256")
    return {"user": user, "ticket": ticket, "expires": expires}


@app.post("/orders")
def place_order():
    order = {"id": str(uuid.uuid4()), "user": user_of_ticket(), "status": "placed"}
    orders[order["id"]] = order
    return {"order": shown(order)}, 201


@app.get("/orders")
def list_orders():
    user = user_of_ticket()
    return {"orders": [shown(order) for order in list(orders.values()) if order["user"] == user]}


@app.post("/orders/<order_id>/status")
def set_status(order_id: str):
    """Your own programs call this, perhaps twice.

    The order is stored first and pushed then: after an error the caller tries again, and the page reads the order
    when it opens.
    """
    if not hmac.compare_digest(bearer().encode(), env["SHOP_KEY"].encode()):
        raise Problem(401, "no_key", "The request needs the key of the shop.")
    order = orders.get(order_id)
    if not order:
        raise Problem(404, "no_order", "There is no such order.")
    status = body().get("status")
    if status not in STATUSES[1:]:
        raise Problem(400, "bad_status", "The status is making or ready.")
    if STATUSES.index(status) < STATUSES.index(order["status"]):
        raise Problem(409, "status_went_back", f"The order is {order['status']}.")
    order["status"] = status
    push = longlink.push(order["user"], {"order": shown(order)}, f"order-{order_id}-{status}")
    return {"order": shown(order), "push": push}


@app.get("/online")
def online():
    user_of_ticket()
    return {"users": sorted(longlink.users)}


@app.post("/longlink")
def webhook():
    timestamp, signature = request.headers.get("Longlink-Timestamp", ""), request.headers.get("Longlink-Signature", "")
    if not longlink.is_signed(timestamp, signature, request.get_data()):
        raise Problem(401, "bad_signature", "The request is not signed by longlink, or is too old.")
    told = request.get_json()
    longlink.take(told["epoch"], told["events"])
    return "", 204


@app.errorhandler(Problem)
def tell(problem: Problem):
    answer = jsonify(error={"code": problem.code, "message": problem.message})
    if problem.retry_after:
        answer.headers["Retry-After"] = str(math.ceil(problem.retry_after))
    return answer, problem.status


@app.errorhandler(HTTPException)
def tell_http(error: HTTPException):
    """Flask's own errors, such as JSON that is none, and what has no route."""
    codes = {404: "no_such_path", 500: "internal"}
    return tell(Problem(error.code, codes.get(error.code, "bad_request"), error.description))


if __name__ == "__main__":
    host, port = env.get("HOST", "127.0.0.1"), int(env.get("PORT", "3000"))
    print(f"starting on http://{host}:{port}", flush=True)
    waitress.serve(app, host=host, port=port, threads=16)
