"""The one base of errors that are the user's to mend."""


class UserError(Exception):
    """Its message says what is wrong, where, and what to do; the command line prints it without a traceback."""
