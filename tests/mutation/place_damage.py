"""Damage to where files lie: links, folders and pipes in their place, odd names, missing files."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from sandbox import Sandbox

PlaceDamage = Callable[[Random, Sandbox, Path], Path]
"""(rng, sandbox, a file of the role) -> the place that was changed"""

_ODD_NAMES = (
    "..", "...", "-rf", "a b", "a\nb", "a\tb", "a\x1b[31m", os.fsdecode(b"caf\xe9"), "%s%n", "{0}", "$(id)",
    "`id`", "<script>alert(1)", "\u202egnp", "\U0001f3da", "x" * 180, "x" * 225, "con", "a\\b", "a:b", "~",
    "*", "'\"", "e\u0301", "test_00000", "a_pre_disaster", "é", "a,b", "a;b", "#", "&amp;", "\u2028",
)  # fmt: skip


def missing(rng: Random, box: Sandbox, path: Path) -> Path:
    """The file is gone."""
    path.unlink()
    return path


def folder_instead(rng: Random, box: Sandbox, path: Path) -> Path:
    """A folder has the file's name."""
    path.unlink()
    path.mkdir()
    return path


def pipe_instead(rng: Random, box: Sandbox, path: Path) -> Path:
    """A pipe that nobody writes to has the file's name."""
    path.unlink()
    os.mkfifo(path)
    return path


def link_instead(rng: Random, box: Sandbox, path: Path) -> Path:
    """A link to itself, to nothing, out of the root, to a folder, to a device or to a pipe."""
    path.unlink()
    pipe = box.outside / "pipe"
    os.mkfifo(pipe)
    aims = (path.name, "nothing", box.outside / "secret.png", box.outside / "secret.json", box.outside)
    path.symlink_to(rng.choice((*aims, "/dev/zero", "/dev/full", "/proc/self/mem", pipe, "/dev/null")))
    return path


def linked_out(rng: Random, box: Sandbox, path: Path) -> Path:
    """The right content, behind a link out of the root."""
    moved = box.outside / "moved"
    path.rename(moved)
    path.symlink_to(moved)
    return path


def scene_renamed(rng: Random, box: Sandbox, path: Path) -> Path:
    """All files of a scene, or this one alone, have an odd name."""
    new = rng.choice(_ODD_NAMES)
    scene = path.name.split("_pre_")[0].split("_post_")[0].split("_localization_")[0].split("_damage_")[0]
    if not path.name.startswith(f"{scene}_") or rng.random() < 0.2:
        scene, files = path.name, [path]
    else:
        files = [file for folder in (box.root, box.results) for file in folder.rglob(f"{scene}_*")]
    kept = rng.choice((new, f"{new}_00000009"))
    for file in files:
        name = file.name.replace(scene, kept, 1)
        if len(os.fsencode(name)) < 256 and name not in (".", ".."):
            file.rename(file.with_name(name))
    return path.with_name(kept)


def stranger_beside(rng: Random, box: Sandbox, path: Path) -> Path:
    """A copy of the file under an odd name, another suffix or in another case beside it."""
    odd = rng.choice(_ODD_NAMES[:20])
    names = (
        path.name.upper(), f".{path.name}", f"{path.name}.bak", f"{path.stem}.jpg", f"{path.stem}.TIF",
        f"{odd}.png", f"{odd}.json", f".{path.name}.partial", f"{odd}_pre_disaster{path.suffix}",
        f"{odd}_damage_prediction.png", f"{odd}_post_disaster_target.png", "Thumbs.db",
        f"{path.stem}_target{path.suffix}", f" {path.name}",
    )  # fmt: skip
    new = path.with_name(rng.choice(names))
    if new != path:
        new.unlink(missing_ok=True)
        new.write_bytes(path.read_bytes())
    return new


def folder_damaged(rng: Random, box: Sandbox, path: Path) -> Path:
    """The folder of the file is a file, a pipe, a link to itself or out of the root, empty, or missing."""
    folder = path.parent
    away = box.outside / "away"
    folder.rename(away)
    what = rng.randrange(7)
    if what == 0:
        folder.write_bytes(b"no folder")
    elif what == 1:
        os.mkfifo(folder)
    elif what == 2:
        folder.symlink_to(folder.name)
    elif what == 3:
        folder.symlink_to(away)
    elif what == 4:
        folder.symlink_to("nothing")
    elif what == 5:
        folder.mkdir()
    return folder


def output_damaged(rng: Random, box: Sandbox, path: Path) -> Path:
    """The output folder is a file, a link, a pipe, or holds folders and links of the names to be written."""
    names = (
        "xbd_train.json",
        "xbd_train.faults.json",
        "index.html",
        "gallery.png",
        "panels",
        "train",
        "check.json",
    )
    what = rng.randrange(7)
    if what == 0:
        box.output.write_bytes(b"no folder")
    elif what == 1:
        box.output.symlink_to(box.output.name)
    elif what == 2:
        os.mkfifo(box.output)
    elif what == 3:
        box.output.symlink_to("/proc/self/nowhere")
    else:
        box.output.mkdir()
        for name in names:
            place = box.output / name
            if what == 4:
                (place / "full").mkdir(parents=True)
            elif what == 5:
                os.mkfifo(place)
            else:
                place.symlink_to(box.outside / "secret.png")
    return box.output


PLACE_DAMAGES: dict[str, PlaceDamage] = {
    "file missing": missing,
    "folder in its place": folder_instead,
    "pipe in its place": pipe_instead,
    "link in its place": link_instead,
    "linked out of the root": linked_out,
    "odd name": scene_renamed,
    "stranger beside": stranger_beside,
    "folder damaged": folder_damaged,
    "output in the way": output_damaged,
}
