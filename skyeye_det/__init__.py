"""SkyEye: building damage assessment from pre- and post-disaster satellite images, on detectron2."""

__version__ = "0.1.0"
