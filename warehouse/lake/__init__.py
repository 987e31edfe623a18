"""The lake: all that was asked, answered and computed, as Delta tables on a disk or in object storage.

lake.py ─▶ writing.py (one commit), events.py (what is in force), reading.py (rows, by DuckDB) ─▶ delta.py (the tables)
           answers.py, questions.py, failures.py (what they are), upkeep.py (damage, compaction), blobs.py (files)
"""

from warehouse.lake.blobs import Blobs
from warehouse.lake.failures import NOT_APPLICABLE, Failure
from warehouse.lake.lake import Lake
from warehouse.lake.questions import question_ids

__all__ = ["NOT_APPLICABLE", "Blobs", "Failure", "Lake", "question_ids"]
