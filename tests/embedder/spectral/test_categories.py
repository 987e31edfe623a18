import json

import numpy as np

from embedder.spectral.categories import CategoryNames

NAMES, NUMBERS = CategoryNames.of(
    np.array(["physics", "law", "physics", "sums"], object), np.array(["mmlu", "mmlu", "gpqa", "gsm"], object)
)


def test_categories_are_numbered_by_name():
    assert NAMES.categories == ("law", "physics", "sums")
    assert NUMBERS.tolist() == [1, 0, 1, 2]


def test_a_benchmark_leaves_its_categories_possible_a_category_itself_and_nothing_all():
    known = np.array(["mmlu", "gpqa", "law", None, "unheard of"], object)
    assert NAMES.possible(known).int().tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1]]


def test_kept_as_json():
    assert CategoryNames.restored(json.loads(json.dumps(NAMES.stored()))) == NAMES
