"""Pipelines of Apache Beam: the extra `beam`."""

import logging

logging.disable(logging.CRITICAL)  # Beam warns of Google's packages, which nothing here asks for
import apache_beam  # noqa: E402, F401

logging.disable(logging.NOTSET)
