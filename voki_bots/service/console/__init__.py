"""The console: pages that show what the API tells. Nothing is built, and nothing comes from elsewhere.

The pages hold no facts of calls: their script asks the API for them, with the token that its reader gives.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Response

TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}

ASSETS = (
    "audio.js",
    "base.js",
    "call.js",
    "calls.js",
    "console.css",
    "console.js",
    "recording.js",
    "recordings.js",
    "supervise.js",
    "words.js",
    "worklet.js",
)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""What a browser is told about a page, beside what is said of every answer: it may load nothing but ours."""


def routes() -> APIRouter:
    """Make the routes of the pages."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def calls() -> Response:
        """The calls now."""
        return _served("page.html")

    @router.get("/calls/{tenant}/{call:path}")
    async def call(tenant: str, call: str) -> Response:
        """One call; which one is the script's business."""
        return _served("page.html")

    @router.get("/recordings")
    async def recordings() -> Response:
        """The finished calls."""
        return _served("page.html")

    @router.get("/recordings/{tenant}/{call:path}")
    async def recording(tenant: str, call: str) -> Response:
        """One of them."""
        return _served("page.html")

    @router.get("/console/{name}")
    async def asset(name: str) -> Response:
        """What the pages are made of."""
        if name not in ASSETS:
            raise HTTPException(404, "there is no such file")
        return _served(name)

    return router


def _served(name: str) -> Response:
    return Response(_content(name), media_type=TYPES[name.rpartition(".")[2]], headers=HEADERS)


@cache
def _content(name: str) -> bytes:
    return (files(__package__) / name).read_bytes()
