"""``index.html``: the page's own files, its texts and Leaflet in one file."""

import base64
import hashlib
import re
from importlib.resources import files
from pathlib import Path

from skyeye_det.files import read_json
from skyeye_det.report.page.script_files import safe_json

SERVER_SCRIPT = "window.skyeyeServer = true"
"""What a server of reviews puts in the place of ``<!--server-->``: the only other script that may run."""

_SOURCES = Path(__file__).parent
_LAST = "start.js"
_INLINE = re.compile(r"(script-src [^;\"]*)'unsafe-inline'")


def index_html(sources: Path = _SOURCES) -> bytes:
    """The page as it opens from disk.

    Args:
        sources: folder of ``index.html`` with the marks ``<!--style-->``, ``<!--script-->`` and
            ``<!--texts-->``, scripts of which ``start.js`` comes last, styles and ``texts/LANGUAGE.json``.

    Raises:
        InputError: a file of texts cannot be read.
    """
    scripts = sorted(sources.glob("*.js"), key=lambda path: (path.name == _LAST, path.name))
    licence = (_SOURCES / "leaflet-license.txt").read_text(encoding="utf-8")
    script = "\n".join([f"/*\n{licence}*/", _leaflet("leaflet.js"), *map(_text, scripts)])
    style = "\n".join([_leaflet("leaflet.css"), *map(_text, sorted(sources.glob("*.css")))])
    texts = {path.stem: read_json(path) for path in sorted((sources / "texts").glob("*.json"))}
    parts = {
        "style": f"<style>{style}</style>",
        "script": f"<script>{script}</script>",
        "texts": f'<script type="application/json" id="texts">{safe_json(texts).decode()}</script>',
    }
    template = _INLINE.sub(rf"\1{_hash(script)} {_hash(SERVER_SCRIPT)}", _text(sources / "index.html"))
    return re.sub(r"<!--(style|script|texts)-->", lambda mark: parts[mark[1]], template).encode()


def _leaflet(name: str) -> str:
    """A file of Leaflet without what it would load: its source map, and pictures of controls."""
    text = (files("xstatic.pkg.leaflet") / "data" / name).read_text(encoding="utf-8")
    if name.endswith(".css"):
        return re.sub(r"url\([^)]*\)", "none", text)
    return re.sub(r"//# sourceMappingURL=.*", "", text)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """By which a content security policy knows a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
