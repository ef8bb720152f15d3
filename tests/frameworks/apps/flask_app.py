"""The common routes of the WSGI frameworks, in Flask."""

import hashlib
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, jsonify, make_response, redirect, request, send_file

from frameworks.apps.meeting import meet

app = Flask(__name__)


@app.get("/hello/<name>")
def hello(name: str) -> Response:
    return jsonify(name=name, q=request.args.get("q"), scheme=request.scheme)


@app.post("/echo")
def echo() -> str:
    return hashlib.sha256(request.get_data()).hexdigest()


@app.post("/upload")
def upload() -> Response:
    content = request.files["file"].read()
    return jsonify(name=request.form["name"], sha256=hashlib.sha256(content).hexdigest())


@app.get("/stream/<int:count>")
def stream(count: int) -> Response:
    def lines() -> Iterator[str]:
        for number in range(count):
            yield f"line {number}\n"

    return Response(lines(), mimetype="text/plain")


@app.get("/file")
def file() -> Response:
    return send_file(__file__)


@app.get("/redirect")
def away() -> Any:
    return redirect("/hello/there")


@app.get("/cookies")
def cookies() -> Response:
    response = make_response("two")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@app.get("/error")
def error() -> str:
    raise ValueError("on purpose")


@app.get("/meeting")
def meeting() -> str:
    meet()
    return "met"
