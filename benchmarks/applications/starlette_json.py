"""A route of Starlette that answers with JSON: what a small service really runs."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def item(request: Request) -> JSONResponse:
    """Answer with what the path says."""
    return JSONResponse({"item": request.path_params["number"], "stock": [1, 2, 3]})


app = Starlette(routes=[Route("/items/{number:int}", item)])
