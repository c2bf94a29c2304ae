"""The files of an assessment's page, as the review serves them."""

import base64
import hashlib
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from skyeye_det.report.page.document import SERVER_SCRIPT, index_html
from skyeye_det.report.page.folder import PAGE

_SERVER_MARK = "<!--server-->"
"""In the page, where the server says that it is there."""

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}
_POLICY = (
    "default-src 'none'; script-src 'self' {}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class ServedPage:
    """Files of the page's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def answer(self, request: Request) -> Response:
        """The file that a request's path names; 404 where the page has none of that name."""
        name = request.path_params["path"] or PAGE
        path = self._file(name)
        if path is None:
            return PlainTextResponse("no such file", 404)
        if path == self._folder / PAGE:  # our own, whoever made the folder
            return _index(index_html().decode())
        return FileResponse(path, media_type=_KINDS[path.suffix])

    def _file(self, name: str) -> Path | None:
        """A plain file that lies in the folder, links followed, of a kind that the page has."""
        try:
            path = (self._folder / name).resolve()
            is_there = path.is_relative_to(self._folder) and path.suffix in _KINDS and path.is_file()
        except (OSError, ValueError):  # too long a name, or one with a null
            return None
        return path if is_there else None


def _index(text: str) -> Response:
    """The page, told that it is served; no script runs in it but its own."""
    text = text.replace(_SERVER_MARK, f"<script>{SERVER_SCRIPT}</script>", 1)
    scripts = _Scripts()
    scripts.feed(text)
    scripts.close()
    hashes = (hashlib.sha256(each.encode()).digest() for each in scripts.found)
    sources = " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in hashes)
    return Response(
        text, media_type=_KINDS[".html"], headers={"Content-Security-Policy": _POLICY.format(sources)}
    )


class _Scripts(HTMLParser):
    """Collects the texts of a page's own scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_inside = False

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the parser's form
        if tag == "script":
            self._is_inside = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._is_inside &= tag != "script"

    def handle_data(self, data: str) -> None:
        if self._is_inside:
            self.found[-1] += data
