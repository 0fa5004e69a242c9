"""A mini-program's backend: it lets users in, and tells one that an order was paid.

    pip install flask requests
    export LONGLINK_API=http://127.0.0.1:9090 LONGLINK_KEY=$(cat api.key)
    flask --app examples/flask/app.py run
"""

import os

import requests
from flask import Flask, abort, jsonify, request

app = Flask(__name__)
PASSWORDS = {"alice": "wonderland", "bob": "builder"}  # yours are in a database, and hashed
ORDERS = {17: "alice"}

longlink = requests.Session()  # keeps its connections
longlink.headers["Authorization"] = f"Bearer {os.environ['LONGLINK_KEY']}"


def ask(route: str, **body: object) -> dict:
    answer = longlink.post(f"{os.environ['LONGLINK_API']}/api/{route}", json=body, timeout=5)
    answer.raise_for_status()
    return answer.json()


@app.post("/ticket")
def ticket():
    """What a page connects with: ws://…/websocket/USER?ticket=TICKET"""
    login = request.authorization
    if not login or not login.password or PASSWORDS.get(login.username) != login.password:
        abort(401)
    return jsonify(ask("ticket", user=login.username, ttl=7200))


@app.post("/orders/<int:order>/paid")
def paid(order: int):
    """What a payment service calls. The same call twice tells the user once."""
    user = ORDERS.get(order) or abort(404)
    status = {"order": order, "state": "paid"}
    return jsonify(ask("send", user=user, message=status, idempotencyKey=f"paid-{order}"))
