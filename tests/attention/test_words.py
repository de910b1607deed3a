"Words are put together from their tokens, and found with punctuation and as phrases."
import pytest
from videodirector.attention.words import find_words, prompt_words


def test_words_merge_their_pieces(tiny_pipe):
    words = prompt_words(tiny_pipe.tokenizer, 'A red tiger, zoo')
    assert [w.text for w in words] == ['a', 'red', 'tiger', ',', 'zoo']
    assert [w.tokens for w in words] == [(1,), (2,), (3,), (4,), (5, 6, 7)]


def test_words_are_found_with_punctuation_and_as_phrases(tiny_pipe):
    def find(prompt, text): return find_words(tiny_pipe.tokenizer, prompt, text)
    assert find('a tiger, a bear', 'tiger') == (2,)
    assert find('a tiger, a bear', 'a') == (1, 4)
    assert find('a red tiger.', 'Red tiger') == (2, 3)
    assert find('a zoo', 'zoo') == (2, 3, 4)
    with pytest.raises(ValueError, match="'hat' is not in the prompt.*a, bear"): find('a bear', 'hat')
    with pytest.raises(ValueError, match='shorten'): find('zebra zebra zebra zebra', 'zebra')
