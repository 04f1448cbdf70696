"""Serves an exported model: a page to drop photographs on, TensorFlow Serving's REST paths, and gRPC.

  python scripts/serve.py --model=savedmodels/NAME

The page is then at http://127.0.0.1:8501/, the model at /v1/models/NAME:predict. By default only this machine
can reach it; --host and --token_file let others in, and --tls_cert and --tls_key encrypt what they send.
Photographs are saved only if --save_dir names a folder. Serve only models that you trust: a SavedModel can
read and write files when it runs. Research use only: no output may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

flags.DEFINE_string(
    "model",
    None,
    "SavedModel made by export.py: the folder of its versions, or of one. It can read and write files when "
    "it runs: serve none that you don't trust.",
    required=True,
)
flags.DEFINE_string("name", None, "Name to serve the model under. Default: the model's own.")
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all addresses of this machine.")
flags.DEFINE_integer("port", 8501, "Port for HTTP; 0 takes a free one.", lower_bound=0, upper_bound=65535)
flags.DEFINE_integer("grpc_port", None, "Port for gRPC. Default: no gRPC.", lower_bound=0, upper_bound=65535)
cli_flags.define_token_file("that clients and the page must give")
flags.DEFINE_string("tls_cert", None, "Certificate file, for HTTPS.")
flags.DEFINE_string("tls_key", None, "Key file of --tls_cert.")
flags.DEFINE_string(
    "save_dir",
    None,
    "Folder in which photographs sent from the page are saved with their results, for its owner alone.",
)
flags.DEFINE_integer("max_batch", 16, "Largest number of photographs in a batch.", lower_bound=1)
flags.DEFINE_float("max_wait_ms", 5.0, "Milliseconds that a batch waits for more rows.", lower_bound=0.0)
flags.DEFINE_integer(
    "max_queue",
    64,
    "Largest number of photographs that wait, else 503, and of photographs in a request, else 413.",
    lower_bound=1,
)
flags.DEFINE_integer("max_body_mb", 32, "Largest size of a request in MiB; else 413.", lower_bound=1)
flags.DEFINE_float("max_megapixels", 50.0, "Largest size of a photograph; else 400.", lower_bound=0.01)
flags.DEFINE_float(
    "body_seconds", 30.0, "Time for a request to arrive, in seconds; else 408.", lower_bound=0.1
)
flags.DEFINE_float("seconds", 60.0, "Time until the answer, in seconds; else 504.", lower_bound=0.1)

FLAGS = flags.FLAGS


def main(argv):
    import asyncio
    import signal

    cli_flags.refuse_arguments(argv)
    cli_flags.require_tensorflow()
    cli_flags.require_packages("serve", "fastapi", "uvicorn", "prometheus_client")
    settings = _read_settings()
    from dr_keras.serving import servable, server, telemetry

    model = servable.load_servable(FLAGS.model, FLAGS.name)
    model.warm_up()
    telemetry.start_log()
    # uvicorn handles a signal first and raises it again once it has ended: by then there is nothing to do.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: None)
    asyncio.run(server.serve(model, settings, _say_where))


def _read_settings():
    from dr_keras.serving.settings import Limits, Settings, check_settings

    limits = Limits(
        max_batch=FLAGS.max_batch,
        max_wait=FLAGS.max_wait_ms / 1000,
        max_queue=FLAGS.max_queue,
        max_body=FLAGS.max_body_mb << 20,
        max_pixels=round(FLAGS.max_megapixels * 1e6),
        body_seconds=FLAGS.body_seconds,
        seconds=FLAGS.seconds,
    )
    settings = Settings(
        FLAGS.host, FLAGS.port, FLAGS.grpc_port, cli_flags.read_token(), FLAGS.tls_cert, FLAGS.tls_key,
        FLAGS.save_dir, limits,
    )  # fmt: skip
    check_settings(settings)
    return settings


def _say_where(page, grpc_address, running):
    print(f"page: {page}, REST: {page}v1/models/, gRPC: {grpc_address or 'off'}; Ctrl-C ends", flush=True)


if __name__ == "__main__":
    cli_flags.run(main)
