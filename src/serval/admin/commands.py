"""What `serval status`, `reload` and `scale` do, but for the printing."""

import json
import time
from typing import Final

from serval.admin.client import AdminClient
from serval.admin.screen import screen_of
from serval.errors import AdminError

_LOOK_SECONDS: Final = 0.2  # between two looks at a reload that goes on


def status(client: AdminClient, *, as_json: bool) -> str:
    """The status in words and columns, or as the server gives it.

    Raises:
        AdminError: No server answers.
    """
    report = client.status()
    if as_json:
        return json.dumps(report, indent=2)
    screen = screen_of(report)
    return "\n".join([*screen.summary, "", *screen.table])


def reload(client: AdminClient, *, wait: bool) -> str:
    """Replace all workers; return what has come of it.

    Args:
        wait: Follow it to its end, for as long as the workers may take to start.

    Raises:
        AdminError: No server answers, it refuses, or the new workers do not start.
    """
    report = client.reload()
    generation = report["generation"]
    if not wait:
        return f"reloading: generation {generation} replaces the workers"
    while report["state"] in ("booting", "reloading"):
        time.sleep(_LOOK_SECONDS)
        report = client.status()
    if report["state"] == "stopping":
        raise AdminError("the server stops: the reload was not finished")
    if report["generation"] < generation:
        raise AdminError(
            f"reload failed: generation {generation} does not start, generation "
            f"{report['generation']} goes on serving; the server's log says why"
        )
    return f"reloaded: {report['workers_wanted']} workers of generation {report['generation']}"


def scale(client: AdminClient, workers: int) -> str:
    """Want so many workers; return what has come of it.

    Raises:
        AdminError: No server answers, or it refuses.
    """
    return f"workers wanted: {client.scale(workers)['workers_wanted']}"
