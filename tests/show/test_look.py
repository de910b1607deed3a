"What the controls choose is what the recording gives by name."
import torch
from recordings import COARSE, CROSS, SPATIAL, TEMPORAL, clip, recorded

from videodirector.show.explore import explore
from videodirector.show.look import Look


def look_of(e): return Look(e.packed, e.state)


def test_controls_choose_what_the_recording_gives_by_name():
    recording = recorded()
    e = explore(recording, clip(), clip(1), kind='cross', site=CROSS, step=5, word='hat')
    look = look_of(e)
    source, edit, difference = look.panels()
    torch.testing.assert_close(torch.tensor(look.maps(edit)), recording.cross['hat', 5, CROSS, 'edit_cond'], rtol=1e-3, atol=1e-6)
    assert look.maps(source) is None and look.maps(difference) is None
    look = look_of(e.choose(word='grass', site=COARSE, step=2))
    mine, theirs = (recording.cross['grass', 2, COARSE, f'{side}_cond'] for side in ('edit', 'source'))
    torch.testing.assert_close(torch.tensor(look.maps(difference)), mine - theirs, rtol=1e-3, atol=1e-6)

    look = look_of(e.choose(kind='temporal', point=(.3, .9), key=3))
    assert e.state['site'] == TEMPORAL and look.cell() == (1, 5)
    m = recording.maps[TEMPORAL, 2, 'source_cond'].float()
    assert torch.equal(torch.tensor(look.maps(source)), m[..., 3].permute(2, 0, 1))
    assert torch.equal(torch.tensor(look.maps(source, matrix=True)), m[1, 5])


def test_what_the_edit_reads_from_the_source():
    recording = recorded()
    look = look_of(explore(recording, kinds='spatial', point=(0, 1), step=7))
    titles = [p.title for p in look.panels()]
    assert titles == ['source', 'edit', 'edit looks at source', 'edit − source']
    source, edit, reads, difference = look.panels()
    m, own = (recording.maps[SPATIAL, 7, f'{side}_cond'][:, 0, 5].float().unflatten(1, (-1, 4, 6)) for side in ('edit', 'source'))
    assert torch.equal(torch.tensor(look.maps(reads)), m[:, 0]) and torch.equal(torch.tensor(look.maps(edit)), m[:, 1])
    assert torch.equal(torch.tensor(look.maps(difference)), m[:, 1] - own[:, 0])
    assert look.maps(reads, step=2) is None  # SA-II did not act there


def test_heads_are_averaged_or_chosen():
    recording = recorded(heads=3)
    m = recording.maps[CROSS, 5, 'edit_cond'].float()[..., 5]  # "hat"
    e = explore(recording, kinds='cross', site=CROSS, step=5, word='with', head=2)
    edit = look_of(e).panels()[1]
    torch.testing.assert_close(torch.tensor(look_of(e).maps(edit)), m[:, 2], rtol=1e-3, atol=0)
    torch.testing.assert_close(torch.tensor(look_of(e.choose(head=-1)).maps(edit)), m.mean(1), rtol=1e-3, atol=1e-6)


def test_one_scale_for_both_sides_and_all_steps():
    recording = recorded()
    recording.maps[CROSS, 2, 'source_cond'] *= 10
    look = look_of(explore(recording, kinds='cross', site=CROSS, step=7, word='grass'))
    source, edit, difference = look.panels()
    assert look.limits(source) == look.limits(edit) and 5 < look.limits(edit)[1] <= 10
    assert look.limits(difference)[0] == -look.limits(difference)[1]
