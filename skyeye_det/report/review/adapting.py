"""What a server of reviews does with the labels: grades adapted to them, and which to label next."""

import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skyeye_det.errors import CodedError, InputError
from skyeye_det.report.page.folder import REPORT
from skyeye_det.report.page.regraded import regrade_page
from skyeye_det.report.review.bodies import body_of, json_answer
from skyeye_det.scene.adaptation_record import read_adaptation_record, shown_record
from skyeye_det.scene.adapted import adapt_geopackage, write_adapted_files
from skyeye_det.scene.answered_rows import area_outlines
from skyeye_det.scene.outputs import AREAS, GEOPACKAGE
from skyeye_det.scene.own_answers import ANSWERS
from skyeye_det.scene.review.counted import buildings_of
from skyeye_det.scene.review.file import ReviewFile
from skyeye_det.scene.review.sample import buildings_to_check
from skyeye_det.scene.review.suggestion import Suggested, suggested_buildings

_PAUSE = 3.0
"""Seconds in which the pages read their new data, before rasters are written."""


class Adapting:
    """Of one assessment; its methods may be called by several threads.

    Attributes:
        time: when it was last adapted, as the page's data say; empty: never.
        is_page_old: whether these data could not be written after the last time.
    """

    def __init__(self, review: ReviewFile, folder: Path) -> None:
        self._review, self._folder = review, folder
        self._turn, self._files = threading.Lock(), ThreadPoolExecutor(1)
        self._is_closing, self._are_files_asked = threading.Event(), False
        self._written: Future[None] | None = None
        self._suggested: Suggested = []
        with review.reading() as base:
            record = read_adaptation_record(base)
        self.time, self.is_page_old = "" if record is None else record.time, False

    def close(self) -> None:
        """Waits for the files that are being written."""
        self._is_closing.set()
        self._files.shutdown()
        if self._written is not None:
            self._written.result()  # raises what nobody has expected

    def adapt(self, undo: bool) -> dict[str, Any]:
        """Does what ``skyeye adapt`` does: GeoPackage and page first, then, behind the answer, the rest.

        Args:
            undo: whether to bring back the model's own grades instead.

        Returns:
            See ``adaptation_record.shown_adaptation``.

        Raises:
            InputError: as ``adapt_folder``; or all is adapted but the page. Once more writes that too.
        """
        with self._turn:
            with self._review.changing() as base:
                found = adapt_geopackage(base, self._folder, undo=undo)
                buildings, areas = buildings_of(base), area_outlines(base, AREAS)
            if not self._are_files_asked:
                self._are_files_asked = True
                self._written = self._files.submit(self._write_files)
            print(found.told, flush=True)
            told = shown_record(found.record)
            try:
                regrade_page(self._folder / REPORT, found.records, buildings, areas, self._review.grid, told)
            except InputError as error:
                self.is_page_old = True
                print(f"the page's data are not written: {error}", file=sys.stderr, flush=True)
                raise CodedError(f"{GEOPACKAGE} is adapted, the page is not", code="page_is_old") from error
            self.time, self.is_page_old = found.record.time, False
        return told

    def suggest(self, count: int) -> int:
        """Suggests buildings in place of those before; how many, see ``suggested_buildings``."""
        self._suggested = suggested_buildings(self._review, self._folder / ANSWERS, count)
        return len(self._suggested)

    def suggested(self) -> dict[str, Any] | None:
        """See ``buildings_to_check``."""
        with self._review.reading() as base:
            return buildings_to_check(base, self._suggested, self._review.grid)

    def _write_files(self) -> None:
        self._is_closing.wait(_PAUSE)
        with self._turn:
            self._are_files_asked = False
        try:
            write_adapted_files(self._folder)
        except InputError as error:
            print(f"the files beside are not written yet: {error}", file=sys.stderr, flush=True)


class _AdaptCall(msgspec.Struct, forbid_unknown_fields=True):
    undo: bool


class _SuggestCall(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, msgspec.Meta(ge=1, le=1000)]


def adapting_routes(adapting: Adapting) -> list[Route]:
    """The calls by which the page has it done."""

    async def adapt(request: Request) -> Response:
        call = await body_of(request, _AdaptCall)
        return json_answer(await run_in_threadpool(adapting.adapt, call.undo))

    async def suggest(request: Request) -> Response:
        call = await body_of(request, _SuggestCall)
        return json_answer({"size": await run_in_threadpool(adapting.suggest, call.count)})

    def suggested(request: Request) -> Response:  # noqa: ARG001 - Starlette's form
        return json_answer(adapting.suggested())

    return [
        Route("/api/adapt", adapt, methods=["POST"]),
        Route("/api/suggested", suggest, methods=["POST"]),
        Route("/api/suggested", suggested, methods=["GET"]),
    ]
