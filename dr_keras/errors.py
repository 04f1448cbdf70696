"""The one error class for mistakes that a user can make."""


class InputError(ValueError):
    """Something that the user named (a file, a folder, a flag) isn't what was expected.

    The message is one line that names the thing and says what was expected. Scripts print it
    without a stack trace and exit with status 2.
    """
