"The two ends of the scale: nothing held, and nothing changed."
import pytest
import torch
from clips import moving_clip

from videodirector.attention.recording import Recording
from videodirector.base.run import Run
from videodirector.methods.api import Clip
from videodirector.methods.baselines import ClimbSettings, DoNothing, InvertAndPrompt, PromptSettings
from videodirector.parts.inversion import invert_ddim, sample_ddim
from videodirector.parts.settings import EditSettings, InvertSettings

QUIET, CLIP = Run(progress=False), Clip(moving_clip(4, 32, 32), 'a bear walking')


def test_invert_and_prompt_is_inversion_and_sampling(tiny_model):
    method, record = InvertAndPrompt(), Recording()
    made = method.edit(method.prepare(tiny_model, CLIP, ClimbSettings(3), QUIET), 'a tiger', PromptSettings(2.), QUIET, record)
    plan = tiny_model.schedule(3, 2., 'standard')
    noise = invert_ddim(tiny_model, tiny_model.encode(CLIP.video), tiny_model.embed('a bear walking'), plan, QUIET)[-1:]
    plain = sample_ddim(tiny_model, noise, tiny_model.embed('a tiger'), tiny_model.embed(''), plan, QUIET)
    torch.testing.assert_close(made.latents, plain, rtol=1e-3, atol=1e-4)
    assert {key[1:] for key in record.maps} == {(i, slot) for i in range(3) for slot in ('edit_uncond', 'edit_cond')}
    assert made.settings['guidance_scale'] == 2 and made.method == 'invert_and_prompt' and made.source_prompt == CLIP.prompt


def test_do_nothing_changes_nothing(tiny_model):
    method = DoNothing()
    made = method.edit(method.prepare(tiny_model, CLIP), 'a tiger')
    assert torch.equal(made.video, CLIP.video) and torch.equal(made.latents, tiny_model.encode(CLIP.video)) and made.prompt == 'a tiger'


@pytest.mark.parametrize('method', [InvertAndPrompt(), DoNothing()], ids=lambda m: m.name)
def test_what_does_not_fit_is_a_sentence(tiny_model, method):
    state = method.prepare(tiny_model, CLIP, run=QUIET)
    with pytest.raises(ValueError, match='The target prompt is empty'): method.edit(state, ' ')
    with pytest.raises(ValueError, match='multiples of 8'): method.prepare(tiny_model, Clip(moving_clip(3, 30, 32), 'a bear'))


def test_settings_of_another_method_are_refused(tiny_model):
    method = InvertAndPrompt()
    with pytest.raises(TypeError, match='give a value `ClimbSettings`'): method.prepare(tiny_model, CLIP, InvertSettings())
    with pytest.raises(TypeError, match='give a value `PromptSettings`'): method.edit(method.prepare(tiny_model, CLIP, ClimbSettings(2), QUIET), 'a', EditSettings())


def test_the_attention_is_given_back(tiny_model):
    method, before = InvertAndPrompt(), dict(tiny_model.unet.attn_processors)
    def stop(part, i, total):
        if part == 'sampling': raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): method.edit(method.prepare(tiny_model, CLIP, ClimbSettings(2), QUIET), 'a', run=Run(progress=False, on_step=stop), record=Recording())
    assert tiny_model.unet.attn_processors == before


def test_steps_are_kept_for_this_clip_alone(tiny_model, tmp_path):
    method, kept = InvertAndPrompt(), Run(progress=False, folder=tmp_path)
    first, again = (method.prepare(tiny_model, CLIP, ClimbSettings(2), kept)[1] for _ in range(2))
    assert torch.equal(first.pivots, again.pivots) and (tmp_path / 'pivot-002.safetensors').exists()
    other = Clip(-CLIP.video, CLIP.prompt)
    with pytest.raises(ValueError, match=r'from other inputs \(clip\)'): method.prepare(tiny_model, other, ClimbSettings(2), Run(progress=False, folder=tmp_path))
