"""Grades photographs by a server, that of serve.py or TensorFlow Serving: the same table as predict.py's.

  python scripts/client.py --server=http://127.0.0.1:8501 --model=NAME --output=grades.csv IMAGE_OR_FOLDER ...

--server=HOST:PORT in place of an address speaks gRPC, which needs the package tensorflow-serving-api. While
the server is busy or away it is asked again, ever more slowly. The exit status is 0, or 2 if nothing could be
graded. Research use only: no output may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

flags.DEFINE_string("server", "http://127.0.0.1:8501", "Address: http(s)://HOST:PORT, or HOST:PORT for gRPC.")
flags.DEFINE_string("model", None, "Name of the model on the server.", required=True)
cli_flags.define_output("the grades as CSV")
cli_flags.define_token_file("that the server asks for")
flags.DEFINE_string("tls_root", None, "gRPC: certificate file by which the server is known; encrypts.")
flags.DEFINE_integer("tries", 8, "Of each photograph, while the server is busy or away.", lower_bound=1)
flags.DEFINE_float("seconds", 60.0, "To wait for one answer.", lower_bound=0.1)

FLAGS = flags.FLAGS


def main(argv):
    from dr_keras.data import decoding
    from dr_keras.data.layouts import photograph_files
    from dr_keras.inference import graded
    from dr_keras.serving import client

    if len(argv) < 2:
        raise cli_flags.InputError("expected photographs, or folders of them, after the flags")
    paths, token = photograph_files.list_photographs(argv[1:]), cli_flags.read_token()
    if "://" in FLAGS.server:
        ask = client.RestClient(FLAGS.server, FLAGS.model, token, FLAGS.seconds)
    else:
        cli_flags.require_packages("serving-client", "tensorflow_serving")
        root = decoding.read_bytes(FLAGS.tls_root) if FLAGS.tls_root else None
        ask = client.GrpcClient(FLAGS.server, FLAGS.model, token, FLAGS.seconds, root)
    results = cli_flags.progress("grading")(client.score_files(ask, paths, FLAGS.tries), total=len(paths))
    cli_flags.say_graded(graded.write_grades(FLAGS.output, results))


if __name__ == "__main__":
    cli_flags.run(main)
