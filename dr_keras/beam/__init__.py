"""Apache Beam pipelines for preparation and screening; they need the extra `beam`."""

import logging

logging.disable(logging.CRITICAL)  # Beam warns that Google's packages are absent, which nothing here needs
import apache_beam  # noqa: E402, F401

logging.disable(logging.NOTSET)
