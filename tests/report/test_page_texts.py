"""What the page says, in each of its languages."""

import json
import re
from pathlib import Path

import pytest

from skyeye_det.decision.buildings import NOT_ASSESSED
from skyeye_det.prediction.visibility import ASSESSED, POST_UNSEEN, PRE_UNSEEN, UNREADABLE
from skyeye_det.report import page
from skyeye_det.scene.records import OUTSIDE
from skyeye_det.scene.review.state import CANNOT_TELL, DRAWN

PAGE = Path(page.__file__).parent
PACKAGE = PAGE.parents[1]
TEXTS = {path.stem: json.loads(path.read_text("utf-8")) for path in (PAGE / "texts").glob("*.json")}
STATUSES = {ASSESSED, NOT_ASSESSED, POST_UNSEEN, PRE_UNSEEN, UNREADABLE, OUTSIDE, CANNOT_TELL, DRAWN}


def named(prefix: str) -> set[str]:
    return {key.removeprefix(prefix) for key in TEXTS["en"] if key.startswith(prefix)}


@pytest.mark.parametrize("language", ["en", "de", "es", "fr"])
def test_every_language_has_the_same_texts(language: str) -> None:
    assert list(TEXTS[language]) == list(TEXTS["en"])
    for key, text in TEXTS[language].items():
        assert text.strip(), key
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", TEXTS["en"][key])), key


def test_the_page_has_all_texts_that_its_scripts_name() -> None:
    scripts = "".join(path.read_text("utf-8") for path in PAGE.glob("*.js"))
    assert set(re.findall(r"""\b(?:text|textNodes)\("([\w.]+)"[),]""", scripts)) <= set(TEXTS["en"])


def test_the_page_has_a_sentence_for_each_refusal_and_a_word_for_each_status() -> None:
    sources = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    assert set(re.findall(r"""\bcode"?[=:] ?"(\w+)\"""", sources)) == named("refused.")
    assert named("word.") == STATUSES
