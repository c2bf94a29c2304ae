"""detectron2's ``.pkl`` files, read with an unpickler that knows arrays and nothing else."""

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain containers; anything else in the file is an error, not a call."""

    _FUNCTIONS: ClassVar[dict[str, Any]] = {
        "multiarray._reconstruct": np.empty(0).__reduce__()[0],
        "multiarray.scalar": np.float64(0).__reduce__()[0],
        "numeric._frombuffer": np.empty(0).__reduce_ex__(5)[0],
    }
    _ALLOWED: ClassVar[dict[str, Any]] = {
        "collections.OrderedDict": OrderedDict,
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        # numpy 1 and 2 name the same functions differently.
        **{f"numpy.core.{name}": function for name, function in _FUNCTIONS.items()},
        **{f"numpy._core.{name}": function for name, function in _FUNCTIONS.items()},
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _latin1_bytes
        try:
            return self._ALLOWED[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """What pickles of Python 2 call to rebuild bytes; ``_codecs.encode`` itself knows more than that."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
    return text.encode("latin1")


def read_detectron2_pickle(path: Path) -> dict[str, Any]:
    """Reads a file of detectron2's zoo; ``pickle.UnpicklingError`` where it asks for more than arrays."""
    content = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    if not isinstance(content, dict):
        raise pickle.UnpicklingError("it is no dictionary")
    if "model" in content and "__author__" in content:
        return content
    blobs = content.get("blobs", content)
    arrays = {key: value for key, value in blobs.items() if not key.endswith("_momentum")}
    return {"model": arrays, "__author__": "Caffe2", "matching_heuristics": True}
