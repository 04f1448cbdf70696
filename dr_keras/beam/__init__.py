"""Apache Beam pipelines for preparation and screening; they need the extra `beam`."""

import logging
import os

# Connections that are closed at the end make gRPC, now and then, log an error behind the program's last line.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
logging.disable(logging.CRITICAL)  # Beam warns that Google's packages are absent, which nothing here needs
import apache_beam  # noqa: E402, F401

logging.disable(logging.NOTSET)
