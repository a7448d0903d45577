"""The exception for mistakes that a user can fix."""


class VLPromptError(Exception):
    """A mistake that the user can fix: one line that names the parameter, what was given and what is expected.

    Parameters are in backticks (`shots`); the command line shows them as its own options (--shots).
    """
