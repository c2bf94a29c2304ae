"""YAML from strangers: plain values, and no aliases, by which a few lines grow beyond all memory."""

from typing import Any

import yaml


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader that refuses aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases, which are not read")
        return super().compose_node(parent, index)


def parse_yaml(content: bytes) -> Any:
    """Values of a YAML text.

    Raises:
        yaml.YAMLError: it is no YAML, has aliases, or builds more than plain values.
        ValueError: it is no text.
        RecursionError: it is nested too deep.
    """
    # A subclass of SafeLoader: it builds plain values alone.
    return yaml.load(content, Loader=_PlainLoader)
