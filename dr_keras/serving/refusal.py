"""The exception by which every part of the server turns a request down: a status, and one line of reason."""

_LONGEST = 300  # characters


class Refused(Exception):
    """A request is turned down.

    Args:
        status: HTTP status code.
        message: the reason; made one line of at most 300 characters, since it may quote the request.
        retry_after: seconds after which the client may try again, or None.
    """

    def __init__(self, status, message, retry_after=None):
        super().__init__(one_line(message))
        self.status = status
        self.retry_after = retry_after


def one_line(text):
    """Makes printable text of one line, at most 300 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
