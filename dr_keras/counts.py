"""How many photographs were graded, and what is kept of them where the work is stopped."""

import contextlib
import dataclasses

from dr_keras.errors import InputError


@dataclasses.dataclass
class Counts:
    """Numbers of photographs that were graded, couldn't be graded, and couldn't be read."""

    graded: int = 0
    not_gradable: int = 0
    unreadable: int = 0

    def add(self, readable, gradable):
        """Counts a photograph."""
        if not readable:
            self.unreadable += 1
        elif gradable:
            self.graded += 1
        else:
            self.not_gradable += 1

    @property
    def total(self):
        """Number of all photographs."""
        return self.graded + self.not_gradable + self.unreadable

    def __str__(self):
        """The three numbers in words."""
        return f"{self.graded} graded, {self.not_gradable} not gradable, {self.unreadable} unreadable"


@contextlib.contextmanager
def keeping(counts):
    """Catches Ctrl-C, SIGTERM and `InputError` once a photograph is done, so that what is done is kept.

    Yields:
        A list; the exception is added to it. `pass_on` raises it again.
    """
    stopped = []
    try:
        yield stopped
    except (KeyboardInterrupt, InputError) as error:
        if not counts.total:
            raise
        stopped.append(error)


def pass_on(stopped, where, counts):
    """Raises what `keeping` caught, if anything, with a word on what is kept `where`."""
    for error in stopped:
        done = f"{where}: {counts} before it was stopped"
        raise type(error)(f"{error}; {done}" if str(error) else done) from None
