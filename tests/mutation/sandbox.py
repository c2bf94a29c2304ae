"""The input of a mutant: a small xBD root with annotations and results, made once, linked for each."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import cv2
from pycocotools import mask as coco_mask

from skyeye_det.data.coco import convert_split
from skyeye_det.data.conversion import ConversionOptions, convert_xbd
from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import building_mask, scene_targets
from skyeye_det.data.xbd import read_scene
from skyeye_det.files import write_json
from skyeye_det.prediction.masks import encode_crop
from skyeye_det.sample.dataset import make_sample_xbd
from skyeye_det.xview2.submission import number_scenes, write_numbering, write_submission_pngs

PAIRS, SIZE = 4, 192


@dataclass(frozen=True)
class Sandbox:
    """Folders of one mutant; what lies beside ``output`` must stay as the mutant has it."""

    folder: Path

    @property
    def root(self) -> Path:
        """xBD root with split train and its annotations."""
        return self.folder / "root"

    @property
    def results(self) -> Path:
        """Predictions under the scenes' names, and instances.json."""
        return self.folder / "results"

    @property
    def numbered(self) -> Path:
        """Predictions under numbers, and numbering.csv."""
        return self.folder / "numbered"

    @property
    def outside(self) -> Path:
        """What nothing may be read or written through a name in a file."""
        return self.folder / "outside"

    @property
    def output(self) -> Path:
        """Where the step writes; not there before."""
        return self.folder / "output"

    def replace(self, path: Path, content: bytes) -> None:
        """Writes a file anew; its bytes are shared with all other mutants."""
        path.unlink()
        path.write_bytes(content)

    def state(self, output: Path) -> dict[Path, tuple[int, ...]]:
        """All that does not lie in ``output``: path -> kind, size, time of change and number of the file."""
        found: dict[Path, tuple[int, ...]] = {}
        folders = [self.folder]
        while folders:
            for entry in os.scandir(folders.pop()):
                path, status = Path(entry.path), entry.stat(follow_symlinks=False)
                if path == output:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                    found[path] = (status.st_mode,)  # its time changes with what is made in it, told by name
                else:
                    found[path] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)
        return found


def make_base(folder: Path) -> None:
    """Writes the undamaged input: root, annotations, results under both namings, and files outside."""
    box = Sandbox(folder)
    make_sample_xbd(box.root, PAIRS, seed=0, size=SIZE, splits={"train": 1.0}, workers=1)
    convert_split(box.root, "train", box.root / "annotations", workers=1)
    options = ConversionOptions(
        ("train",), box.root / "annotations", split_by="random", fractions="a=.5,b=.5"
    )
    convert_xbd(box.root, options)
    scenes = [scene for files in find_scenes(box.root, "train")[0] if (scene := read_scene(files)[0])]
    numbering = number_scenes(scene.name for scene in scenes)
    instances = []
    for scene in scenes:
        shape = scene.height, scene.width
        images = scene_targets(scene.buildings, shape)
        write_submission_pngs(box.results, scene.name, *images)
        write_submission_pngs(box.numbered, numbering[scene.name], *images)
        for building in scene.buildings:
            mask, corner = building_mask(building.parts, shape)
            segmentation = encode_crop(corner, mask, shape)
            box_of = [float(side) for side in coco_mask.toBbox(segmentation)]
            result = {"category_id": 1, "bbox": box_of, "score": 0.9, "segmentation": segmentation}
            instances.append(
                {"scene": scene.name, "image_id": 1, "damage": max(building.damage, 0), **result}
            )
    write_json(box.results / "instances.json", instances)
    write_numbering(box.numbered, numbering)
    box.outside.mkdir()
    shutil.copyfile(scenes[0].pre_image, box.outside / "secret.png")
    shutil.copyfile(scenes[0].pre_label, box.outside / "secret.json")


def new_sandbox(base: Path, folder: Path) -> Sandbox:
    """Links the base's files into ``folder``."""
    shutil.copytree(base, folder, copy_function=os.link)
    return Sandbox(folder)


def files_of(box: Sandbox, role: str) -> list[Path]:
    """Files of a role, sorted."""
    folder, pattern = ROLES[role]
    return sorted((box.folder / folder).glob(pattern))


def drawn_file(rng: Random, box: Sandbox, role: str) -> Path:
    """One file of a role."""
    return rng.choice(files_of(box, role))


ROLES = {
    "label": ("root/train/labels", "*.json"),
    "image": ("root/train/images", "*.png"),
    "target": ("root/train/targets", "*.png"),
    "COCO file": ("root/annotations", "xbd_train.json"),
    "split file": ("root/annotations", "split_random.json"),
    "prediction": ("results", "*.png"),
    "instances": ("results", "instances.json"),
    "numbered prediction": ("numbered", "*.png"),
    "numbering": ("numbered", "numbering.csv"),
}
"""Role of a file -> its folder and the pattern of its name."""


def leftovers(output: Path) -> set[Path]:
    """Half-written files in the output folder."""
    return set(output.rglob("*.partial")) if output.is_dir() else set()


# Worker and runner never use OpenCV's own threads: a forked or killed one would hang.
cv2.setNumThreads(1)
