"""`VLPromptError`, the base class of errors that users can fix."""


class VLPromptError(Exception):
    """Error that the user can fix. Its one-line message names the parameter, what was expected and what was given.

    Parameters are in backticks (`shots`); the command line shows them as options (--shots).
    """
