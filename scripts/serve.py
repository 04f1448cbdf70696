"""Serves an exported model: a page to drop photographs on, TensorFlow Serving's REST paths, and gRPC.

  python scripts/serve.py --model=savedmodels/NAME

The page is at http://127.0.0.1:8501/ then, the model at /v1/models/NAME:predict. Others are let in by --host
and --token_file, and should be given --tls_cert and --tls_key. Nothing is stored unless --save_dir says
where. Research use only: no output may guide the care of a patient.
"""

import _installed  # noqa: F401  isort: skip
from absl import flags

from dr_keras import cli_flags

flags.DEFINE_string("model", None, "Model made by export.py: folder of versions, or of one.", required=True)
flags.DEFINE_string("name", None, "To serve it under. Default: its own.")
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all of this machine's.")
flags.DEFINE_integer("port", 8501, "Of HTTP; 0 takes a free one.", lower_bound=0, upper_bound=65535)
flags.DEFINE_integer("grpc_port", None, "Of gRPC. Default: no gRPC.", lower_bound=0, upper_bound=65535)
cli_flags.define_token_file("that clients and the page must give")
flags.DEFINE_string("tls_cert", None, "Certificate file, for HTTPS.")
flags.DEFINE_string("tls_key", None, "Key file of --tls_cert.")
flags.DEFINE_string("save_dir", None, "Folder to keep photographs sent from the page, and their results.")
flags.DEFINE_integer("max_batch", 16, "Photographs in a batch.", lower_bound=1)
flags.DEFINE_float("max_wait_ms", 5.0, "How long a batch waits for more photographs.", lower_bound=0.0)
flags.DEFINE_integer("max_queue", 64, "Photographs that wait; beyond, the answer is 503.", lower_bound=1)
flags.DEFINE_integer("max_body_mb", 32, "Size of a request in MiB; beyond, 413.", lower_bound=1)
flags.DEFINE_float("max_megapixels", 50.0, "Size of a photograph; beyond, 400.", lower_bound=0.01)
flags.DEFINE_float("body_seconds", 30.0, "In which a request must have arrived; else 408.", lower_bound=0.1)
flags.DEFINE_float("seconds", 60.0, "In which a request must be answered; else 504.", lower_bound=0.1)

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
    # The server's own handler is called first; once it has ended, the signal comes here.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
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
