"""Lists the released models: what each is, what it was measured at, and what it has learnt from.

  skyeye models [NAME]

Exit codes: 0 done, 2 no such model.
"""

import msgspec

from skyeye_det.arguments import command_parser
from skyeye_det.files import json_bytes
from skyeye_det.released import released_model, released_names
from skyeye_det.text_table import aligned


def main(arguments: list[str]) -> None:
    """Prints a line a model, or the whole card of one."""
    parser = command_parser(__doc__)
    parser.add_argument("name", nargs="?", help="print its whole card, JSON")
    name = parser.parse_args(arguments).name
    if name is not None:
        print(json_bytes(msgspec.to_builtins(released_model(name).card), pretty=True).decode())
        return
    cards = {each: released_model(each).card for each in released_names()}
    rows = [(each, str(len(card.scenes)), card.summary) for each, card in cards.items()]
    print(aligned([("model", "learnt from", "what"), *rows], "<><") if rows else "no model is released yet")
