#!/usr/bin/env python
"""Trains or evaluates SkyEye.

python tools/train_net.py --config-file configs/xbd_mrcnn.yaml [--num-gpus N] [--resume] [--eval-only] [KEY VALUE ...]
"""

import sys

from skyeye_det.dependencies import require_detectron2
from skyeye_det.errors import run_command


def main() -> int:
    """Parses the command line and launches ``skyeye_det.engine.trainer.train`` in as many processes as asked for."""
    require_detectron2()
    from detectron2.engine import default_argument_parser, launch
    from skyeye_det.engine.trainer import train

    parser = default_argument_parser(epilog=__doc__)
    parser.set_defaults(config_file="configs/xbd_mrcnn.yaml")
    args = parser.parse_args()
    launch(
        train,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )
    return 0


if __name__ == "__main__":
    run_command(main)
