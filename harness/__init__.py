"""Evaluation of language models with lm-evaluation-harness."""

import os
import sys

# lm-eval and transformers draw progress bars wherever stderr leads; in a log file they are noise. tqdm reads
# this once, when it is first imported.
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")
