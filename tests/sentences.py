"What an error should be: one sentence that says what was given, what was expected and what to do."
import re

import pytest


def refuses(pattern, call, *args, error=ValueError, **kwargs):
    "The call fails with one sentence in which the pattern is found."
    with pytest.raises(error, match=pattern) as caught: call(*args, **kwargs)
    text = str(caught.value)
    assert '\n' not in text and text.endswith('.') and not re.search(r'[.!?] [A-Z]', text), text
