"""The one way in which a request is turned down: a status, and one line that says why."""

_LONGEST = 300  # characters


class Refused(Exception):
    """A request that isn't answered.

    Args:
        status: HTTP status code.
        message: why; made one line, and cut off where it is long, since it may quote the request.
        retry_after: seconds after which it may be tried again, or None.
    """

    def __init__(self, status, message, retry_after=None):
        super().__init__(one_line(message))
        self.status = status
        self.retry_after = retry_after


def one_line(text):
    """Makes printable text of one line, at most 300 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
