"""What every pool of worker processes needs."""

import os
import threading
from multiprocessing import parent_process


def end_with_parent() -> None:
    """Makes this worker end when its parent is killed; it would wait for work for ever otherwise."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
