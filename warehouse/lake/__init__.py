"""The lake: all that was asked, answered and computed, as Delta tables on a disk or in object storage.

lake.py (writes) ─▶ contents.py (reads), writing.py (one commit) ─▶ events.py (what is in force), reading.py (rows) ─▶
delta.py (tables). What they are: answers.py, questions.py, failures.py; damage, compaction: upkeep.py; files: blobs.py;
who works on a lake that machines share: lease.py
"""

from .blobs import Blobs
from .failures import NOT_APPLICABLE, Failure
from .lake import Lake
from .lease import Lease, Leases
from .questions import question_ids

__all__ = ["NOT_APPLICABLE", "Blobs", "Failure", "Lake", "Lease", "Leases", "question_ids"]
