"""xBD on disk, its conversion to COCO, and the loading of pre/post pairs for training."""
