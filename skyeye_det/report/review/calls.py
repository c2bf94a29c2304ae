"""The calls by which the page reads and saves reviews; what they say is checked before anything is done."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from skyeye_det.errors import CodedError, InputError
from skyeye_det.report.review.adapting import Adapting, adapting_routes
from skyeye_det.report.review.bodies import body_of, json_answer
from skyeye_det.report.review.guard import Guard
from skyeye_det.report.review.served_page import ServedPage
from skyeye_det.scene.geopackage_editing import BusyFileError
from skyeye_det.scene.review.file import Answer, ConflictError, NotThereError, ReviewFile
from skyeye_det.scene.review.sample import sample_estimate, sample_to_check
from skyeye_det.scene.review.state import GRADE, UNSURE, Review

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
Note = Annotated[str, msgspec.Meta(max_length=2000)]
Grade = Annotated[int, msgspec.Meta(ge=0, le=3)]


class _ReviewCall(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    layer: Annotated[int, msgspec.Meta(ge=0, le=1)]
    verdict: str
    by: Name
    note: Note = ""
    damage: Grade | None = None
    lock: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class _DrawCall(msgspec.Struct, forbid_unknown_fields=True):
    rings: list[list[float]]
    by: Name
    note: Note = ""
    damage: Grade | None = None


class _UndoCall(msgspec.Struct, forbid_unknown_fields=True):
    by: Name


def review_app(review: ReviewFile, adapting: Adapting, page: Path, token: str, port: int) -> ASGIApp:
    """The application.

    Args:
        review: of the assessment.
        adapting: of the same.
        page: folder of its page.
        token: that every request must show.
        port: at which it is served.
    """
    calls = _Calls(review, adapting)
    app = Starlette(
        routes=[
            Route("/api/reviews", calls.reviews, methods=["GET"]),
            Route("/api/reviews", calls.save_review, methods=["POST"]),
            Route("/api/buildings", calls.draw, methods=["POST"]),
            Route("/api/undo", calls.undo, methods=["POST"]),
            Route("/api/sample", calls.sample, methods=["GET"]),
            Route("/api/estimate", calls.estimate, methods=["GET"]),
            *adapting_routes(adapting),
            Route("/{path:path}", ServedPage(page).answer, methods=["GET"]),
        ],
        exception_handlers={InputError: _refused},
    )
    return Guard(app, token, port)


class _Calls:
    """A method a call, in Starlette's form."""

    def __init__(self, review: ReviewFile, adapting: Adapting) -> None:
        self._review, self._adapting = review, adapting

    def reviews(self, request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdigit() and len(since) < 16):
            raise InputError("since: expected a version, found something else")
        version, changed = self._review.changes(int(since))
        page = {"adapted": self._adapting.time, "is_page_old": self._adapting.is_page_old}
        return json_answer({"version": version, "reviews": changed, **page})

    async def save_review(self, request: Request) -> Response:
        call = await body_of(request, _ReviewCall)
        by = _line(call.by)
        told = Review.of(call.verdict, call.damage, by, _text(call.note))
        return await _saved(self._review.review, call.layer, call.id, told, by, call.lock)

    async def draw(self, request: Request) -> Response:
        call = await body_of(request, _DrawCall)
        verdict = UNSURE if call.damage is None else GRADE
        told = Review.of(verdict, call.damage, _line(call.by), _text(call.note))
        return await _saved(self._review.draw, call.rings, told)

    async def undo(self, request: Request) -> Response:
        call = await body_of(request, _UndoCall)
        return await _saved(self._review.undo, _line(call.by))

    def sample(self, request: Request) -> Response:  # noqa: ARG002
        return json_answer(sample_to_check(self._review))

    def estimate(self, request: Request) -> Response:  # noqa: ARG002
        return json_answer(sample_estimate(self._review))


async def _saved(change: Callable[..., Answer], *given: Any) -> Response:
    version, record = await run_in_threadpool(change, *given)
    return json_answer({"version": version, "review": record})


def _line(name: str) -> str:
    """A name; InputError where it is none."""
    name = name.strip()
    if not name or any(sign < " " or sign == "\x7f" for sign in name):
        raise CodedError("by: expected a name on one line, found another text", code="control_characters")
    return name


def _text(note: str) -> str:
    """A note; InputError where a terminal or a GIS would stumble over it."""
    if any((sign < " " and sign not in "\n\r\t") or sign == "\x7f" for sign in note):
        raise CodedError("note: expected a text, found control characters in it", code="control_characters")
    return note


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's form
    """The sentence that says what is wrong, for the page its code; the newer state with a conflict."""
    told: dict[str, Any] = {"error": str(error)}
    if isinstance(error, CodedError):
        told |= {"code": error.code, "values": {name: _plain(each) for name, each in error.values.items()}}
    if isinstance(error, ConflictError):
        return json_answer(told | {"review": error.record}, 409)
    status = 404 if isinstance(error, NotThereError) else 503 if isinstance(error, BusyFileError) else 400
    return json_answer(told, status)


def _plain(value: object) -> object:
    """A number, or the text of anything else."""
    return value if isinstance(value, int | float) else str(value)
