"""The files of an assessment's page, as the review serves them."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from skyeye_det.files import read_bytes
from skyeye_det.report.page.document import SERVER_SCRIPT, index_html
from skyeye_det.report.page.folder import PAGE
from skyeye_det.report.page.script_files import is_call

_SERVER_MARK = "<!--server-->"
"""In the page, where the server says that it is there."""

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}
_NO_FRAME = {"Content-Security-Policy": "frame-ancestors 'none'"}
"""What the page cannot say of itself; the rest of its policy stands in it."""


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
            text = index_html().decode().replace(_SERVER_MARK, f"<script>{SERVER_SCRIPT}</script>", 1)
            return Response(text, media_type=_KINDS[".html"], headers=_NO_FRAME)
        if path.suffix == ".js":  # a stranger's folder may hold programs
            content = read_bytes(path)
            if not is_call(content):
                return PlainTextResponse("no data of the page", 404)
            return Response(content, media_type=_KINDS[".js"])  # of one edition, should it be written anew
        return FileResponse(path, media_type=_KINDS[path.suffix])

    def _file(self, name: str) -> Path | None:
        """A plain file that lies in the folder, links followed, of a kind that the page has."""
        try:
            path = (self._folder / name).resolve()
            is_there = path.is_relative_to(self._folder) and path.suffix in _KINDS and path.is_file()
        except (OSError, ValueError):  # too long a name, or one with a null
            return None
        return path if is_there else None
