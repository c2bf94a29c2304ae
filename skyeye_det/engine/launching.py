"""Training in one process, or in one a GPU on one or several machines."""

import argparse
import sys

import torch
from detectron2.engine import default_argument_parser, launch
from torch.multiprocessing.spawn import ProcessExitedException

from skyeye_det.engine.trainer import train
from skyeye_det.errors import InputError

_WRONG_INPUT = 2  # exit code, see ``skyeye_det.errors.run_command``


def launch_training(args: argparse.Namespace) -> int:
    """Runs ``train`` in as many processes as detectron2's command line asks for.

    Returns:
        Exit code: 0, or 2 where one of several processes has reported a fault of the input.

    Raises:
        InputError: the machine lacks the GPUs, or as ``train`` where it runs in this process.
    """
    _check_processes(args)
    if args.num_gpus * args.num_machines == 1:
        train(args)
        return 0
    try:
        launch(
            _train_as_child,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except ProcessExitedException as error:
        if error.exit_code != _WRONG_INPUT:
            raise
        return _WRONG_INPUT
    return 0


def _train_as_child(args: argparse.Namespace) -> None:
    """Reports a fault in the process that met it: the parent would get an exception as a traceback."""
    try:
        train(args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(_WRONG_INPUT)


def _check_processes(args: argparse.Namespace) -> None:
    gpus = torch.cuda.device_count()
    if args.num_gpus < 1 or args.num_machines < 1:
        raise InputError(
            f"--num-gpus and --num-machines: expected 1 or more, found {args.num_gpus} and "
            f"{args.num_machines}; without a GPU, --num-gpus 1 runs on the CPU"
        )
    if not 0 <= args.machine_rank < args.num_machines:
        raise InputError(
            f"--machine-rank: expected 0..{args.num_machines - 1} for --num-machines {args.num_machines}, "
            f"found {args.machine_rank}"
        )
    if args.num_machines > 1 and args.dist_url in ("auto", default_argument_parser().get_default("dist_url")):
        raise InputError(
            "--dist-url: expected tcp://<address of machine 0>:<port> for several machines, found "
            f"{args.dist_url}"
        )
    if args.num_gpus * args.num_machines > 1 and args.num_gpus > gpus:
        raise InputError(
            f"--num-gpus: expected at most {gpus}, the GPUs that PyTorch sees here, found {args.num_gpus}; "
            "training in several processes needs a GPU for each, and --num-gpus 1 alone runs on the CPU"
        )
