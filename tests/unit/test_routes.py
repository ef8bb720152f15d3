from functools import partial

import pytest
from admin_world import FakeOverseer, figures, two_workers

from serval.admin.routes import Answer, Ask, Routes
from serval.admin.status import parse_status
from serval.scoreboard import Scoreboard


def routes(
    overseer: FakeOverseer | None = None,
    *,
    board: Scoreboard | None = None,
    may_act: bool = True,
) -> Routes:
    gather = partial(figures, board or two_workers())
    return Routes(overseer or FakeOverseer(), gather, may_act=may_act)


def got(path: str, method: str = "GET", query: str = "") -> Answer:
    return routes().answer(Ask(method, path, query))


def test_alive_is_who_answers() -> None:
    assert got("/livez") == Answer(200, "alive\n")


def test_ready_needs_a_worker() -> None:
    assert got("/readyz") == Answer(200, "ready\n")
    assert routes(board=Scoreboard(1)).answer(Ask("GET", "/readyz")) == Answer(
        503, "not ready: no worker is ready\n"
    )


def test_a_probe_may_ask_for_the_head_alone() -> None:
    assert got("/readyz", "HEAD").status == 200


def test_the_figures_come_as_text_for_scrapers_and_as_json() -> None:
    assert got("/metrics").media_type.startswith("text/plain; version=0.0.4")
    assert parse_status(got("/status").text)["pid"] == 40
    assert got("/status").media_type == "application/json"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/status"])
def test_what_is_read_is_not_posted(path: str) -> None:
    assert (got(path, "POST").status, got(path, "POST").allow) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/reload", "/scale"])
def test_what_acts_is_not_read(path: str) -> None:
    overseer = FakeOverseer()

    answer = routes(overseer).answer(Ask("GET", path, "workers=3"))

    assert (answer.status, answer.allow, overseer.asked) == (405, "POST", [])


def test_an_unknown_path_is_told_the_known_ones() -> None:
    assert got("/").status == 404
    assert "/metrics" in got("/").text


def test_the_owner_may_reload_and_scale() -> None:
    overseer = FakeOverseer()

    reloaded = routes(overseer).answer(Ask("POST", "/reload"))
    scaled = routes(overseer).answer(Ask("POST", "/scale", "workers=5"))

    assert (reloaded.status, scaled.status) == (202, 202)
    assert overseer.asked == ["reload", "scale 5"]
    assert parse_status(scaled.text)["app"] == "shop:app"


@pytest.mark.parametrize("path", ["/reload", "/scale"])
def test_whom_a_port_lets_in_may_change_nothing(path: str) -> None:
    overseer = FakeOverseer()

    answer = routes(overseer, may_act=False).answer(Ask("POST", path, "workers=5"))

    assert answer.status == 403
    assert "over TCP" in answer.text
    assert overseer.asked == []


@pytest.mark.parametrize(("path", "query"), [("/reload", ""), ("/scale", "workers=5")])
def test_what_cannot_be_done_is_told_with_the_reason(path: str, query: str) -> None:
    overseer = FakeOverseer("the server is stopping")

    answer = routes(overseer).answer(Ask("POST", path, query))

    assert answer == Answer(409, "the server is stopping\n")


@pytest.mark.parametrize("query", ["", "workers=", "workers=-1", "workers=99999", "n=3"])
def test_how_many_workers_must_be_said(query: str) -> None:
    overseer = FakeOverseer()

    answer = routes(overseer).answer(Ask("POST", "/scale", query))

    assert answer.status == 400
    assert overseer.asked == []
