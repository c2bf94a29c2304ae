"""A gallery of pairs: a PNG a pair, a contact sheet, and one HTML page that opens from disk."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from skyeye_det.damage import DAMAGE_COLORS, SUBTYPE_BY_DAMAGE
from skyeye_det.errors import printable
from skyeye_det.files import write_bytes
from skyeye_det.report.outlines import Image, write_image
from skyeye_det.report.panel import (
    PAPER,
    SCALE,
    Crop,
    DamageCounts,
    PairPicture,
    bar,
    count_damage,
    cropped,
    legend,
    panel,
    thumbnails,
)

PAGE, SHEET, PANELS = "index.html", "gallery.png", "panels"
SHEET_PAIRS = 24
"""Most pairs on the contact sheet; the page has them all."""

_TITLE = "SkyEye: buildings and their damage"
_THUMBNAIL_SIDE = 320
_LETTER_HEIGHT = 11
_LONGEST_NAME = 120


@dataclass(frozen=True)
class PanelLook:
    """How pairs are drawn: whole enlargement, crop (x0, y0, x1, y1) in px, image under the outlines."""

    zoom: int | None = None
    crop: Crop | None = None
    background: str = "post"


def write_gallery(
    output: Path,
    pairs: Iterable[PairPicture],
    *,
    score_table: str | None = None,
    look: PanelLook | None = None,
) -> Path:
    """Writes ``panels/<scene>.png`` for each pair, then ``gallery.png`` and ``index.html``.

    The page names its pictures by relative paths and needs neither scripts nor a network. Pairs are drawn one
    at a time: memory does not grow with their number but for the thumbnails of the first ``SHEET_PAIRS``.

    Args:
        output: folder; made where missing, files of the same name are replaced.
        pairs: each scene once.
        score_table: text shown above the pictures as it is.
        look: how pairs are drawn.

    Returns:
        Path of ``index.html``.

    Raises:
        InputError: the crop does not fit an image, or a file cannot be written.
    """
    output, look = Path(output), look or PanelLook()
    figures: list[str] = []
    strips: list[Image] = []
    for pair in pairs:
        shown = cropped(pair, look.crop) if look.crop else pair
        file = f"{PANELS}/{safe_name(pair.scene)}.png"
        picture = panel(shown, zoom=look.zoom, background=look.background)
        write_image(output / file, picture)
        if len(strips) < SHEET_PAIRS:
            strips.append(_strip(shown, look.background))
        figures.append(_figure(shown, file, picture.shape))
    write_image(output / SHEET, contact_sheet(strips, len(figures)))
    write_bytes(output / PAGE, _page(figures, score_table).encode())
    return output / PAGE


def safe_name(scene: str) -> str:
    """File name for a scene, without suffix: a plain name stays, any other is cleaned and gets a digest.

    Separators, leading dots and whatever else a file system may take for more than a letter become "_", and
    two scenes never share a name.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", scene).lstrip(".")[:_LONGEST_NAME]
    if plain == scene and plain:
        return plain
    return f"{plain or 'scene'}-{hashlib.sha256(scene.encode(errors='surrogatepass')).hexdigest()[:10]}"


def contact_sheet(strips: Sequence[Image], total: int) -> Image:
    """RGB uint8 (h, w, 3) strips of any sizes over a legend; says how many of ``total`` are not on it."""
    width = max((strip.shape[1] for strip in strips), default=640)
    rows = [
        np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips
    ]
    if not rows:
        rows = [bar("no pairs", width, _LETTER_HEIGHT)]
    if total > len(strips):
        rows.append(bar(f"and {total - len(strips)} more in {PAGE}", width, _LETTER_HEIGHT))
    return np.concatenate([*rows, legend(width, _LETTER_HEIGHT)])


def _strip(pair: PairPicture, background: str) -> Image:
    """Thumbnails of a pair in a row under one line that names them."""
    tiles = thumbnails(pair, _THUMBNAIL_SIDE, background)
    gap = np.full((tiles[0].shape[0], 4, 3), PAPER, np.uint8)
    row = np.concatenate([piece for tile in tiles for piece in (tile, gap)], axis=1)
    return np.concatenate([bar(f"{pair.scene}:  {_columns(pair)}", row.shape[1], _LETTER_HEIGHT), row])


def _columns(pair: PairPicture) -> str:
    return " | ".join(["pre", "post", *pair.known])


def _figure(pair: PairPicture, file: str, shape: tuple[int, ...]) -> str:
    rows = [(name, count_damage(buildings)) for name, buildings in pair.known.items()]
    note = f"<p>{_text(pair.note)}</p>" if pair.note else ""
    return f"""<figure id="{escape(safe_name(pair.scene))}">
<figcaption><h2>{_text(pair.scene)}</h2>{note}{_count_table(rows)}</figcaption>
<a href="{escape(file)}"><img src="{escape(file)}" width="{shape[1]}" height="{shape[0]}" loading="lazy"
 alt="{_text(pair.scene)}: {_columns(pair)}"></a>
</figure>"""


def _count_table(rows: Sequence[tuple[str, DamageCounts]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{_swatch(grade)}{_text(SUBTYPE_BY_DAMAGE[grade])}</th>" for grade in SCALE)
    body = "".join(
        f"<tr><th>{name}</th><td>{sum(counts.values())}</td>"
        + "".join(f"<td>{counts[grade]}</td>" for grade in SCALE)
        + "</tr>"
        for name, counts in rows
    )
    return f"<table><tr><th></th><th>buildings</th>{head}</tr>{body}</table>"


def _swatch(damage: int) -> str:
    return '<span class="swatch" style="background:rgb({},{},{})"></span>'.format(*DAMAGE_COLORS[damage])


def _text(text: str) -> str:
    return escape(printable(text))


def _page(figures: Sequence[str], score_table: str | None) -> str:
    key = "".join(f"<li>{_swatch(damage)}{_text(SUBTYPE_BY_DAMAGE[damage])}</li>" for damage in SCALE)
    count = f"{len(figures)} pair" + ("" if len(figures) == 1 else "s")
    pictures = "\n".join(figures) or "<p>No pairs.</p>"
    scores = f"<h2>Score</h2><pre>{escape(score_table)}</pre>" if score_table else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_TITLE}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_TITLE}</h1>
{scores}
<h2>Pictures</h2>
<p>{count}; outlines lie around the buildings, in the colour of their damage. A click opens a picture in full
size; <a href="{SHEET}">contact sheet</a>.</p>
<ul class="key">{key}</ul>
{pictures}
</body>
</html>
"""


_STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; margin: 1.5rem; color: #1c1e22; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin: 1.2rem 0 .3rem }
figure { margin: 0 0 2.5rem; border-top: 1px solid #ccc }
figcaption p { margin: .2rem 0 .5rem; color: #555 }
pre, figcaption { overflow-x: auto }
img { max-width: 100%; height: auto; display: block; margin-top: .6rem }
table { border-collapse: collapse; font-size: .9rem }
th, td { padding: .15rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd }
td { font-variant-numeric: tabular-nums }
th:first-child { text-align: left }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border: 1px solid #0003 }
.key { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.4rem;
       position: sticky; top: 0; background: #fff; padding: .4rem 0; margin: .6rem 0 }
"""
