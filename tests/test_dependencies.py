import sys

import pytest

from skyeye_det import dependencies
from skyeye_det.errors import InputError, MissingDependencyError


def test_modules_that_are_there_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "DETECTRON2_MODULES", ("json", "numpy"))
    dependencies.require_detectron2()


def test_missing_modules_are_named_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "DETECTRON2_MODULES", ("json", "no_such_module", "none_either"))
    with pytest.raises(MissingDependencyError) as caught:
        dependencies.require_detectron2("reading")
    expected = f"reading needs no_such_module, none_either, not installed for {sys.executable}: run "
    assert str(caught.value).startswith(expected)


def test_missing_detectron2_is_an_input_error_with_an_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in dependencies.DETECTRON2_MODULES:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"^training needs torch, torchvision, detectron2.*`make env`"):
        dependencies.require_detectron2("training")
