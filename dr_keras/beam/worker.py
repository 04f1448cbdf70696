"""A worker process of the embedded engine: Beam's own, but silent, and ended when the driver ends."""

import logging
import os
import sys
import threading
import time

import cv2
from apache_beam.runners.worker import sdk_worker_main


def main():
    """Works for the driver, which started this process with its own process id as the argument."""
    logging.disable(logging.CRITICAL)  # errors are sent to the driver
    cv2.setNumThreads(1)  # each core has a worker
    threading.Thread(target=_end_with_parent, args=(int(sys.argv[1]),), daemon=True).start()
    sdk_worker_main.main(sys.argv[:1])


def _end_with_parent(parent):
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
