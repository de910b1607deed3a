"The method's diagram: every part can be lit, words can be read on what is behind them, boxes do not meet."
import base64
import xml.etree.ElementTree as ElementTree

import pytest

from videodirector.show.diagram import BOXES, PAINTS, PARTS, drawing, method_diagram

NESTED = {'CA', 'SA-I', 'SA-II'}  # in the edit loop's box


def lit_boxes(lit):
    root = ElementTree.fromstring(method_diagram(lit)._repr_svg_())
    return len([x for x in root.iter('{http://www.w3.org/2000/svg}rect') if 'f-lit' in x.get('class', '')])


def luminance(colour):
    shares = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= .04045 else ((x + .055) / 1.055) ** 2.4 for x in shares]
    return sum(x * weight for x, weight in zip(linear, (.2126, .7152, .0722)))


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + .05) / (low + .05)


def test_every_part_has_a_box_and_lights_up():
    assert BOXES.keys() == PARTS.keys() and lit_boxes(()) == 0
    assert {part: lit_boxes(part) for part in PARTS} == {part: 2 if part == 'VAE' else 1 for part in PARTS}
    assert lit_boxes(tuple(NESTED)) == 3


@pytest.mark.parametrize('mode', [0, 1], ids=['light', 'dark'])
def test_words_can_be_read(mode):
    pairs = [('ink', 'box'), ('soft', 'box'), ('soft', 'band'), ('on', 'lit')]
    assert {pair: contrast(*(PAINTS[name][mode] for name in pair)) for pair in pairs if contrast(*(PAINTS[name][mode] for name in pair)) < 4.5} == {}


def test_dark_has_every_paint_and_light_needs_no_style():
    svg = drawing(())
    style = svg[svg.index('<style>'):svg.index('</style>')]
    assert all(f'.f-{name}{{fill:{dark}}}' in style for name, (_, dark) in PAINTS.items())
    root = ElementTree.fromstring(svg)
    assert [x.attrib for x in root.iter() if 'f-' in x.get('class', '') and not x.get('fill', '').startswith('#')] == []


def test_the_picture_in_html_is_the_drawing():
    html = ElementTree.fromstring(method_diagram('STDG')._repr_html_().replace('>', '/>'))
    kind, data = html.get('src').split(',')
    assert kind == 'data:image/svg+xml;base64' and base64.b64decode(data).decode() == drawing(('STDG',)) and '[STDG]' in html.get('alt')


def test_boxes_do_not_meet():
    places = {part: box[:4] for part, box in BOXES.items()}
    def meet(a, b): return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
    met = {(p, q) for p in places for q in places if p < q and meet(places[p], places[q])}
    assert met == {(part, 'edit loop') for part in NESTED}


def test_as_text_it_names_every_part_and_marks_the_lit_ones():
    assert all(part in repr(method_diagram()) for part in PARTS) and '[' not in repr(method_diagram())
    for part in PARTS: assert f'[{part}] {PARTS[part]}' in repr(method_diagram(part)) and repr(method_diagram(part)).count('[') > 1


def test_what_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no part 'UNet' in the diagram; choose among clip, VAE"): method_diagram('UNet')
    with pytest.raises(TypeError, match='The part is an int'): method_diagram((3,))
