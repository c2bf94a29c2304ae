"""YAML from strangers: plain values, and no aliases by which a few lines grow beyond all memory."""

from typing import Any

import yaml

_LONGEST_ALIASED = 64


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader that refuses aliases but of single values and short lists of them.

    These detectron2 writes into the ``config.yaml`` of every training, and they do not grow: the text is at
    most ``_LONGEST_ALIASED`` times as long without them.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if is_alias and not _is_short(node):
            raise yaml.YAMLError("it has aliases of more than a short list, which are not read")
        return node


def _is_short(node: yaml.Node | None) -> bool:
    if node is None or node.end_mark is None:  # it stands within itself, without end
        return False
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
        return len(parts) <= _LONGEST_ALIASED and all(isinstance(part, yaml.ScalarNode) for part in parts)
    # A long text would be repeated as a whole.
    return isinstance(node, yaml.ScalarNode) and len(node.value) <= _LONGEST_ALIASED


def parse_yaml(content: bytes) -> Any:
    """Values of a YAML text.

    Raises:
        yaml.YAMLError: it is no YAML, has aliases of more than short lists, or builds more than plain values.
        ValueError: it is no text.
        RecursionError: it is nested too deep.
    """
    # A subclass of SafeLoader: it builds plain values alone.
    return yaml.load(content, Loader=_PlainLoader)
