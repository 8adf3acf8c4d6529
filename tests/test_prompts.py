import numpy as np

from graph.prompts import prior, prompt_counts, words


def test_spellings_are_found_as_whole_words_in_either_script():
    forms = {"cat": 0, "red panda": 1, "\u718a\u732b": 1, "animal": 2, "panda": 3}
    prompts = [
        ("A Cat and a cat, catlike", 1),
        ("two red  pandas", 1),
        ("RED_PANDA!", 5),
        ("\u4e00\u53ea\u718a\u732b\u5728\u7af9\u6797", 2),
        ("", 7),
    ]
    assert prompt_counts(prompts, forms, [2, 2, -1, -1]).tolist() == [1, 7, 8, 5]
    assert words("\uff23\uff41\uff54 \u732b\u54aa") == ("cat", "\u732b", "\u54aa")


def test_a_prompt_counts_once_for_a_parent_of_several_of_its_words():
    assert prompt_counts([("cat dog cat", 1)], {"cat": 0, "dog": 1}, [2, 2, -1]).tolist() == [1, 1, 1]


def test_frequent_concepts_gain_within_the_limit_and_none_lose():
    factor = prior(np.array([0, 0, 0, 1000]), limit=3.0)
    assert factor[:3].tolist() == [1, 1, 1] and 1 < factor[3] <= 3
    assert prior(np.zeros(4, np.int64)).tolist() == [1] * 4
    assert prior(np.zeros(0, np.int64)).tolist() == []
