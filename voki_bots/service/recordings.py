"""Finished calls over HTTP: lists, what is in one, its waveform, transcript and files.

A path is never made of what somebody asks for: recordings are found by tenant and id among those on the
shelf, and files by their names in the recording's own list.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import FileResponse

from voki_bots.archive.seal import read_call
from voki_bots.archive.shelf import Shelf, Shelved, files_of, inside, player_of
from voki_bots.archive.transcript import attributed, read_transcript
from voki_bots.archive.waveform import waveform
from voki_bots.service.access import Access, Principal

RECORDING = "/api/v1/recordings/{tenant}/{call:path}"

FRESH = 2.0
"""Seconds for which what is on the shelf is not looked at again."""

TICKET = 600.0
"""Seconds that a ticket is good for."""

TICKETS = 1_000
"""Tickets that are good at once; the oldest goes before."""

WAVEFORMS = 64
"""Waveforms that are remembered."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Ticket:
    directory: Path
    who: Principal
    until: float


class Recordings:
    """The recordings of an archive, and the routes that show them.

    Args:
        roots: The directories in which they are.
        access: Who may see them.
        clock: Seconds.
    """

    def __init__(self, roots: Sequence[Path], access: Access, *, clock: Callable[[], float]) -> None:
        self._shelf = Shelf(roots)
        self._access = access
        self._clock = clock
        self._found: list[Shelved] = []
        self._looked = -FRESH
        self._looking = asyncio.Lock()
        self._drawing = asyncio.Lock()
        self._waveforms: OrderedDict[tuple[Path, float, int], dict[str, Any]] = OrderedDict()
        self._tickets: OrderedDict[str, _Ticket] = OrderedDict()

    def routes(self) -> APIRouter:
        """Make the routes."""
        router = APIRouter(tags=["recordings"])
        viewer = Depends(self._access.viewer)
        of_bot = Query(default="", description="whose, where several bots kept the same call")

        @router.get("/api/v1/recordings")
        async def recordings(
            who: Principal = viewer,
            tenant: str = Query(default="", max_length=256),
            q: str = Query(default="", max_length=200, description="in the id, names and department"),
            limit: int = Query(default=50, ge=1, le=200),
            cursor: str = Query(default="", max_length=2000, description="of the list before"),
        ) -> dict[str, Any]:
            """The recordings, the newest first."""
            return await self._listed(who, tenant, q, limit, cursor)

        @router.get(RECORDING + "/sidecar")
        async def sidecar(tenant: str, call: str, who: Principal = viewer, bot: str = of_bot) -> Any:
            """The sidecar, as it is."""
            return (await self._opened(tenant, call, bot))[1]

        @router.get(RECORDING + "/summary")
        async def summary(
            tenant: str, call: str, who: Principal = viewer, bot: str = of_bot
        ) -> dict[str, Any]:
            """What is known of one, and its files."""
            shelved, said = await self._opened(tenant, call, bot)
            self._access.audit(who, "recording_opened", tenant, call, bot=shelved.bot)
            files = await asyncio.to_thread(files_of, shelved.directory, said)
            more = {"files": files, "player": player_of(files), "supervision": said.get("supervision") or []}
            return {**shelved.facts, **more}

        @router.get(RECORDING + "/waveform")
        async def drawn(
            tenant: str,
            call: str,
            who: Principal = viewer,
            bot: str = of_bot,
            points: int = Query(default=800, ge=10, le=2000),
        ) -> dict[str, Any]:
            """How loud it is from moment to moment, by side."""
            return await self._drawn(tenant, call, bot, points)

        @router.get(RECORDING + "/transcript")
        async def transcript(
            tenant: str, call: str, who: Principal = viewer, bot: str = of_bot
        ) -> dict[str, Any]:
            """What was said."""
            shelved, said = await self._opened(tenant, call, bot)
            try:
                found = await asyncio.to_thread(read_transcript, shelved.directory)
            except ValueError:
                raise _encrypted() from None
            except OSError:
                raise HTTPException(404, "its transcript cannot be read") from None
            if found is None:
                raise HTTPException(404, "it has no transcript")
            utterances = [
                {
                    "id": each.id,
                    "role": each.role,
                    "name": each.name,
                    "start": each.start,
                    "end": each.end,
                    "text": each.text,
                }
                for each in attributed(found.utterances, said)
            ]
            return {"language": found.facts.get("language") or "", "utterances": utterances}

        @router.post(RECORDING + "/ticket")
        async def ticket(
            tenant: str, call: str, who: Principal = viewer, bot: str = of_bot
        ) -> dict[str, Any]:
            """A ticket for the files of one recording: an element of a page cannot show a token."""
            shelved, _ = await self._opened(tenant, call, bot)
            made = secrets.token_urlsafe(24)
            self._tickets[made] = _Ticket(shelved.directory, who, self._clock() + TICKET)
            while len(self._tickets) > TICKETS:
                self._tickets.popitem(last=False)
            return {"ticket": made, "seconds": int(TICKET)}

        @router.api_route(RECORDING + "/file", methods=["GET", "HEAD"])
        async def file(
            request: Request,
            tenant: str,
            call: str,
            name: str = Query(max_length=1000),
            bot: str = of_bot,
            ticket: str = Query(default="", max_length=100),
        ) -> FileResponse:
            """One of its files, or a range of one (RFC 9110 section 14)."""
            return await self._file(request, tenant, call, bot, name, ticket)

        return router

    # ------------------------------------------------------------ finding

    async def _all(self) -> list[Shelved]:
        async with self._looking:
            if self._clock() - self._looked >= FRESH:
                self._found = await asyncio.to_thread(self._shelf.all)
                self._looked = self._clock()
            return self._found

    async def _listed(
        self, who: Principal, tenant: str, wanted: str, limit: int, cursor: str
    ) -> dict[str, Any]:
        seen = [each for each in await self._all() if who.sees(each.tenant) and tenant in ("", each.tenant)]
        words = wanted.casefold().split()
        found = [each for each in seen if all(word in each.words for word in words)]
        after = _place(cursor)
        if after is not None:
            found = [each for each in found if each.place < after]
        page = found[:limit]
        last = page[-1] if len(found) > limit else None
        return {
            "recordings": [dict(each.facts) for each in page],
            "cursor": None if last is None else _cursor(last),
            "tenants": sorted({each.tenant for each in seen}),
        }

    async def _opened(self, tenant: str, call: str, bot: str) -> tuple[Shelved, dict[str, Any]]:
        """Find a recording, and read its sidecar; HTTP 404 if there is none."""
        there = [each for each in await self._all() if (each.tenant, each.call) == (tenant, call)]
        found = [each for each in reversed(there) if bot in ("", each.bot)]
        if found and (read := await asyncio.to_thread(read_call, found[0].directory)) is not None:
            return found[0], read.sidecar
        raise HTTPException(404, "there is no such recording")

    # ------------------------------------------------------------ what is in one

    async def _drawn(self, tenant: str, call: str, bot: str, points: int) -> dict[str, Any]:
        shelved, said = await self._opened(tenant, call, bot)
        player = player_of(await asyncio.to_thread(files_of, shelved.directory, said))
        if player is None:
            raise (
                _encrypted()
                if shelved.facts.get("encrypted")
                else HTTPException(404, "nothing is to be heard")
            )
        changed = (shelved.directory / player).stat().st_mtime
        key = shelved.directory / player, changed, points
        if (known := self._waveforms.get(key)) is None:
            try:
                async with self._drawing:  # one at a time: calls run beside it
                    known = await asyncio.to_thread(waveform, shelved.directory, said, player, points)
            except (ValueError, OSError) as error:
                _log.warning("waveform_failed", tenant=tenant, call=call, why=type(error).__name__)
                raise HTTPException(409, "it cannot be decoded") from None
            self._waveforms[key] = known
            while len(self._waveforms) > WAVEFORMS:
                self._waveforms.popitem(last=False)
        return known

    async def _file(
        self, request: Request, tenant: str, call: str, bot: str, name: str, ticket: str
    ) -> FileResponse:
        found = self._tickets.get(ticket) if ticket else None
        if found is not None and found.until < self._clock():
            found = None
        who = self._access.viewer(request) if found is None else found.who
        shelved, said = await self._opened(tenant, call, bot)
        if found is not None and found.directory != shelved.directory:
            raise HTTPException(404, "there is no such recording")
        listed = await asyncio.to_thread(files_of, shelved.directory, said)
        file = next((each for each in listed if each["name"] == name), None)
        if file is None or not inside(path := shelved.directory / name, shelved.directory):
            raise HTTPException(404, "it has no such file")
        if "range" not in request.headers:
            self._access.audit(who, "file_fetched", tenant, call, name=name)
        shown = str(file["type"]).partition("/")[0] in ("audio", "video")
        return FileResponse(
            path,
            media_type=str(file["type"]),
            filename=Path(name).name,
            content_disposition_type="inline" if shown else "attachment",
        )


def _encrypted() -> HTTPException:
    return HTTPException(409, "it is encrypted; use `voki-bots recordings decrypt` with the key")


def _cursor(last: Shelved) -> str:
    return urlsafe_b64encode(json.dumps(last.place).encode()).decode()


def _place(cursor: str) -> tuple[str, ...] | None:
    """Read a cursor; HTTP 422 if it is none of ours."""
    if not cursor:
        return None
    try:
        started, tenant, call, bot = map(str, json.loads(urlsafe_b64decode(cursor.encode())))
    except (ValueError, TypeError, RecursionError):
        raise HTTPException(422, "cursor: expected one of an earlier list") from None
    return started, tenant, call, bot
