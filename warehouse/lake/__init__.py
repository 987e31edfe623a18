"""The lake: all that was asked, answered and computed, as Delta tables on a disk or in object storage.

lake.py ─▶ events.py (what is in force), answers.py, questions.py, failures.py ─▶ delta.py (the tables)
"""

from warehouse.lake.blobs import Blobs
from warehouse.lake.failures import NOT_APPLICABLE, Failure
from warehouse.lake.lake import Lake
from warehouse.lake.questions import question_ids

__all__ = ["NOT_APPLICABLE", "Blobs", "Failure", "Lake", "question_ids"]
