"Figures are drawn without a screen, and none stays open."
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def nothing_left_open():
    yield
    assert not plt.get_fignums()
