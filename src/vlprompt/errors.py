"""The one exception that users are meant to read."""


class VLPromptError(Exception):
    """A mistake the user can fix: one line that names the option and says what to do."""
