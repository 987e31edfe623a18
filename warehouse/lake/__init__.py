"""The lake: all that was asked, answered and computed, as Delta tables on a disk or in object storage.

lake.py ─▶ writing.py (one commit), events.py (what is in force), reading.py (rows, by DuckDB) ─▶ delta.py (the tables)
           answers.py, questions.py, failures.py (what they are), upkeep.py (damage, compaction), blobs.py (files)
"""

from .blobs import Blobs
from .failures import NOT_APPLICABLE, Failure
from .lake import Lake
from .questions import question_ids

__all__ = ["NOT_APPLICABLE", "Blobs", "Failure", "Lake", "question_ids"]
