"""Grades photographs on a server, that of serve.py or TensorFlow Serving: the same table as predict.py's.

  python scripts/client.py --server=http://127.0.0.1:8501 --output=grades.csv IMAGE_OR_FOLDER ...

With --server=HOST:PORT, without http://, it speaks gRPC, which needs the package tensorflow-serving-api.
While the server is busy or can't be reached, a photograph is sent again after ever longer waits. One that the
server fails on has the reason in its row. Rows that are done are written even if the server is lost or Ctrl-C
ends the run. The exit status is 0, or 2 if nothing could be graded or the server was lost.
Research use only: no output may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

flags.DEFINE_string("server", "http://127.0.0.1:8501", "Address: http(s)://HOST:PORT, or HOST:PORT for gRPC.")
flags.DEFINE_string(
    "model",
    None,
    "Name of the model on the server. Default: the only one of a serve.py; others, and gRPC, need it.",
)
cli_flags.define_output("the grades as CSV", ".csv")
cli_flags.define_token_file("that the server asks for")
flags.DEFINE_string(
    "tls_root", None, "gRPC only: file of the root certificate that the server's was signed with; encrypts."
)
flags.DEFINE_integer(
    "tries", 8, "How often a photograph is sent while the server is busy or can't be reached.", lower_bound=1
)
flags.DEFINE_float("seconds", 60.0, "Seconds to wait for the answer to one photograph.", lower_bound=0.1)

FLAGS = flags.FLAGS


def main(argv):
    cli_flags.require_packages("serve", "urllib3")
    import logging

    from dr_keras.data.layouts import photograph_files
    from dr_keras.inference import graded
    from dr_keras.serving import client

    if len(argv) < 2:
        raise cli_flags.InputError("expected photographs, or folders of them, after the flags")
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns at every further try
    paths = photograph_files.list_photographs(argv[1:])
    results = client.score_files(_open_client(), paths, FLAGS.tries)
    results = cli_flags.progress("grading")(results, total=len(paths))
    cli_flags.say_graded(graded.write_grades(FLAGS.output, results), FLAGS.output)


def _open_client():
    from dr_keras.data import decoding
    from dr_keras.serving import client

    token = cli_flags.read_token()
    if "://" in FLAGS.server:
        return client.RestClient(FLAGS.server, FLAGS.model, token, FLAGS.seconds)
    cli_flags.require_packages("serving-client", "tensorflow_serving")
    root = decoding.read_bytes(FLAGS.tls_root) if FLAGS.tls_root else None
    return client.GrpcClient(FLAGS.server, FLAGS.model, token, FLAGS.seconds, root)


if __name__ == "__main__":
    cli_flags.run(main)
