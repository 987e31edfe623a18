"""What ends a command in one sentence."""


class CommandError(RuntimeError):
    """What was asked cannot be done; the message says why and what to do instead."""
