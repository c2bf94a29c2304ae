"""Trains or evaluates SkyEye.

  python tools/train_net.py --config-file configs/xbd_mrcnn.yaml [--resume] [--eval-only] [KEY VALUE ...]

Exit codes: 0 done, 2 wrong input, or losses that became NaN, 130 interrupted, 143 terminated.
"""

from skyeye_det.dependencies import require_detectron2


def main(arguments: list[str]) -> int:
    """Parses the command line and calls ``skyeye_det.engine.launching.launch_training``."""
    require_detectron2()
    from detectron2.engine import default_argument_parser

    from skyeye_det.engine.launching import launch_training

    parser = default_argument_parser(epilog=__doc__)
    parser.set_defaults(config_file="configs/xbd_mrcnn.yaml")
    return launch_training(parser.parse_args(arguments))
