"""``infer``: which of its options go together, and that none swallows the four paths."""

from pathlib import Path

import pytest

from skyeye_det.commands.infer import main, parse_arguments
from skyeye_det.errors import InputError

MODEL = ["--config-file", "c.yaml", "--weights", "w.pth"]
PAIR = ["a.png", "b.png", "c.png", "d.png"]


@pytest.mark.parametrize(
    "options",
    [MODEL, [*MODEL, "v.pth"], [*MODEL, "--opts", "MODEL.DEVICE", "cpu"], [*MODEL, "--tta", "flips", "none"]],
)
def test_the_four_paths_are_the_last_words(options: list[str]) -> None:
    args = parse_arguments([*options, *PAIR])
    assert args.paths == list(map(Path, PAIR))
    assert args.config_file == ["c.yaml"]
    assert args.weights[0] == "w.pth"
    assert args.opts == (["MODEL.DEVICE", "cpu"] if "--opts" in options else [])


def test_several_weights_configs_and_views_are_lists() -> None:
    words = ["--config-file", "a", "b", "--weights", "x", "y", "--tta", "d4", "none", "--images", "i"]
    args = parse_arguments([*words, "--output", "o", "--opts", "A.B", "1"])
    assert (args.config_file, args.weights, args.tta) == (["a", "b"], ["x", "y"], ["d4", "none"])
    assert (args.opts, args.paths) == (["A.B", "1"], [])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([*MODEL, "--images", "a"], "expected --images and --output"),
        (MODEL, "expected four different files as the last words"),
        (["--weights", "w", "--images", "a", "--output", "b"], "expected --config-file and --weights"),
        ([*MODEL, "a", "b", "c", "a"], "expected four different files"),
        ([*MODEL, "a", "b", "c"], "expected four different files"),
        ([*MODEL, "--numbered", *PAIR], "--numbered and --footprints: expected with --images"),
        ([*MODEL, "--images", "a", "--output", "b", "--prefix", "hold"], "--prefix hold: expected with"),
        ([*MODEL, "--quality", "--images", "a", "--output", "b"], "one of --weights, --model and --quality"),
        (["--model", "other", "--images", "a", "--output", "b"], "found no such model"),
        (["--decide-only"], "expected --images and --output"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises((InputError, SystemExit)) as caught:
        main(words)
    if isinstance(caught.value, InputError):
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)
    else:
        assert caught.value.code == 2
