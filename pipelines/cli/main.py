"""Where the console script `embedllm` begins, before anything heavy is imported."""

import signal


def main() -> None:
    """Run the command line. Ctrl-C while it still loads, or in a command of seconds, ends it without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in a background job, which ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .app import app

    app()
