"Runs one training stage so that it ends at a moment."
import os, sys, time, json
from dataclasses import replace
from pathlib import Path
import torch
from videodirector.train import stage as S, vae, image, motion, judge
from videodirector.train.recipe import Recipe
from videodirector.train.world_data import encode_world, render_world
from videodirector.train.folder import tokenizer_of
stage, out, data = sys.argv[1], Path(os.environ['OUTDIR']), Path(os.environ['DATA'])
recipe = Recipe(**json.loads(os.environ.get('RECIPE', '{}')))
def end():
    return json.loads(Path(os.environ['ENDS']).read_text()).get(stage, time.time())
def sync():
    if torch.cuda.is_available(): torch.cuda.synchronize()
class Fitted(S.Stage):
    def run(self, batch):
        module, started = self.faster(batch(self.step)), time.time()
        for _ in range(10): self.advance(module, batch(self.step))
        sync()
        marks = [(time.time(), self.step)]
        print(stage, 'warm after', round(time.time() - started, 1), flush=True)
        if stage == 'motion': told_apart(self)
        self.settings, saved = replace(self.settings, steps=10 ** 9), time.time()
        every = 10 if self.worker.device.type == 'cpu' else 100
        while self.step < self.settings.steps:
            loss, figures = self.advance(module, batch(self.step))
            if self.step % every and self.step < self.settings.steps: continue
            sync()
            now = time.time()
            marks = [*marks[-10:], (now, self.step)]
            rate = (self.step - marks[0][1]) / (now - marks[0][0])
            self.settings = replace(self.settings, steps=self.step + max(0, int(rate * (end() - now))))
            if not loss.isfinite(): raise FloatingPointError(stage)
            if stage == 'motion' and self.step % 1000 == 0: told_apart(self)
            if self.step % (10 * every) == 0: self.log(dict(loss=loss, rate=torch.tensor(rate), planned=torch.tensor(float(self.settings.steps)), **figures), started)
            if now - saved > 240:
                self.save(); saved = time.time()
        self.save()
        for name, p in self.params.items(): p.data.copy_(self.average[name])
        print(stage, 'steps', self.step, flush=True)
for m in (vae, image, motion, judge): m.Stage = Fitted
OPPOSITES = [('growing', 'shrinking'), ('rising', 'falling')]
class Watched(motion.MotionBatches):
    last = None
    def __init__(self, store, captions, recipe, worker):
        super().__init__(store, captions, recipe, worker)
        Watched.last, tokenizer = self, tokenizer_of(out)
        number = {w: tokenizer(w, add_special_tokens=False).input_ids[0] for pair in OPPOSITES for w in pair}
        self.swap = torch.arange(len(tokenizer), device=worker.device)
        for a, b in OPPOSITES: self.swap[number[a]], self.swap[number[b]] = number[b], number[a]
        ids = store['ids'].long()
        self.two_way = (self.swap[ids] != ids).any(1).nonzero()[:, 0]
        print('clips with an opposite', len(self.two_way), flush=True)
motion.MotionBatches = Watched
VARIANTS = dict(learned=dict(motion_push=1.), frozen=dict(motion_push=1.), unpushed=dict(motion_push=0.))
variant = os.environ.get('VARIANT', 'learned')
recipe = replace(recipe, **VARIANTS[variant])
class Chosen(motion.MotionLoss):
    def __init__(self, unet, text, end_weight):
        super().__init__(unet, text, end_weight)
        if variant == 'frozen': text.requires_grad_(False)
motion.MotionLoss = Chosen
@torch.no_grad()
def told_apart(stage):
    "How often the right caption predicts better than the opposite one, and by how much the two differ."
    b, loss, w, said, scores = Watched.last, stage.module, stage.worker, [], []
    for t in (700, 850, 950):
        right, differ = [], []
        for k in range(4):
            draw = torch.Generator(w.device).manual_seed(k)
            pick = b.two_way[k * 32:(k + 1) * 32]
            z = b.store['latents'][pick].permute(0, 2, 1, 3, 4).float()
            noise = torch.randn(z.shape, generator=draw, device=w.device)
            ts = torch.full((len(z),), t, device=w.device)
            noisy, ids = b.scheduler.add_noise(z, noise, ts), b.store['ids'][pick].long()
            eps = []
            with w.autocast():
                for i in (ids, b.swap[ids]):
                    words = motion.embed_words(loss.text, i)[0].repeat_interleave(z.shape[2], 0)
                    eps.append(loss.unet(noisy, ts, words).sample.float())
            e = [((x - noise) ** 2).mean((1, 2, 3, 4)) for x in eps]
            right.append((e[0] < e[1]).float()); differ.append(((eps[0] - eps[1]) ** 2).mean())
        scores.append(torch.cat(right).mean().item())
        said.append(f't {t}: right {torch.cat(right).mean():.2f} differ {torch.stack(differ).mean():.1e}')
    print('told apart at', stage.step, '; '.join(said), flush=True)
    (out / 'score').write_text(str(sum(scores) / len(scores)))
def go_on():
    "What an earlier run left, to be trained further: adapter and judge (the text encoder lies in `world` already)."
    from diffusers import MotionAdapter
    from videodirector.models.judge import Judge
    stored = dict(torch_dtype=torch.float32, use_safetensors=True)
    motion.build_motion_adapter = lambda: MotionAdapter.from_pretrained(former / 'world' / 'motion_adapter', **stored)
    judge.Judge = lambda classes: Judge.from_pretrained(former / 'judge', **stored).train()
former = Path(os.environ['FORMER'])
def on_cpu():
    "Whoever is started from here on renders on the CPU."
    torch.cuda.init(); torch.zeros(1, device='cuda')
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
if __name__ == '__main__':
    t = time.time()
    go_on()
    out.mkdir(parents=True, exist_ok=True); data.mkdir(parents=True, exist_ok=True)
    match stage:
        case 'render': render_world(recipe, data, tokenizer_of(out), int(os.environ.get('WORKERS', 15)))
        case 'encode': encode_world(recipe, out, data)
        case 'image': image.train_image(recipe, out, data)
        case 'judge': judge.train_judge(recipe, out, data)
        case 'motion': motion.train_motion(recipe, out, data)
        case 'sam2':
            from videodirector.train.sam2 import Sam2Recipe, save_tiny, train_sam2
            on_cpu()
            save_tiny(train_sam2(Sam2Recipe(steps=int(os.environ['SAM2_STEPS'])), out, 8), out / 'sam2')
        case 'clip':
            from videodirector.train.clip import ClipRecipe, save_part, train_clip
            on_cpu()
            model, tokenizer = train_clip(ClipRecipe(steps=int(os.environ['CLIP_STEPS'])), out, 8)
            save_part(model, out / 'clip'); tokenizer.save_pretrained(out / 'clip')
    print('DONE', stage, round(time.time() - t, 1), flush=True)
