"""Listens for DICOM photographs, grades them, and sends or keeps the results.

  python scripts/dicom_listener.py --queue=FOLDER --output=RESULTS
  python scripts/dicom_listener.py --queue=FOLDER --destination=ARCHIVE@10.0.0.5:104 \\
    --host=0.0.0.0 --allowed_ae_titles=CAMERA1,CAMERA2

It answers C-ECHO and C-STORE. A photograph is on disk, in --queue, before it is acknowledged; whatever
happens then, each gets its Structured Report once, also one that can't be graded. Results wait while the
destination is down. By default only this machine can reach it (docs/dicom.md). SIGTERM and Ctrl-C end it
cleanly. Research use only: no output may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

cli_flags.define_model_flag()
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all addresses of this machine.")
flags.DEFINE_integer("port", 11112, "Port; 0 takes a free one.", lower_bound=0, upper_bound=65535)
flags.DEFINE_string("ae_title", "DR_KERAS", "Title of this application entity, 16 characters at most.")
flags.DEFINE_list("allowed_ae_titles", [], "Titles of the callers to accept. Default: all, of this machine.")
flags.DEFINE_string(
    "queue", None, "Folder of what was received and isn't done, for its owner alone.", required=True
)
flags.DEFINE_string("output", None, "Folder in which the results are kept, for its owner alone.")
flags.DEFINE_string("destination", None, "Archive to which the results are sent: AE@host:port.")
flags.DEFINE_bool(
    "overlays", False, "Make the overlay and the lesions, too, of a model that can be explained."
)
flags.register_validator(
    "ae_title", lambda title: 0 < len(title.strip()) <= 16, message="expected 1 to 16 characters"
)
cli_flags.define_thresholds(default=None)

FLAGS = flags.FLAGS


def main(argv):
    import logging
    import signal
    import threading

    cli_flags.refuse_arguments(argv)
    cli_flags.require_packages("dicom", "pydicom", "highdicom", "pynetdicom")
    model = cli_flags.find_model()
    from dr_keras.dicom.listener_settings import ListenerSettings
    from dr_keras.dicom.sending import Destination

    destination = Destination.parse(FLAGS.destination) if FLAGS.destination else None
    settings = ListenerSettings(
        FLAGS.host, FLAGS.port, FLAGS.ae_title, tuple(FLAGS.allowed_ae_titles), FLAGS.queue, FLAGS.output,
        destination, FLAGS.overlays,
    )  # fmt: skip
    cli_flags.require_tensorflow()
    from dr_keras.dicom.listener import LOG, Listener
    from dr_keras.inference.grader import load_grader

    LOG.setLevel(logging.INFO)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOG.addHandler(handler)
    LOG.propagate = False
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    listener = Listener(load_grader(model, cli_flags.parsed("thresholds")), settings)
    port = listener.start()
    print(f"{FLAGS.ae_title} listens on {FLAGS.host}:{port}; Ctrl-C ends", flush=True)
    ended.wait()
    listener.stop()


if __name__ == "__main__":
    cli_flags.run(main)
