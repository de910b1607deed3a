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
            if self.step % (10 * every) == 0: self.log(dict(loss=loss, rate=torch.tensor(rate), planned=torch.tensor(float(self.settings.steps)), **figures), started)
            if now - saved > 240:
                self.save(); saved = time.time()
        self.save()
        for name, p in self.params.items(): p.data.copy_(self.average[name])
        print(stage, 'steps', self.step, flush=True)
for m in (vae, image, motion, judge): m.Stage = Fitted
if __name__ == '__main__':
    t = time.time()
    out.mkdir(parents=True, exist_ok=True); data.mkdir(parents=True, exist_ok=True)
    photos = Path(os.environ['PHOTOS'])
    match stage:
        case 'render': render_world(recipe, data, tokenizer_of(out), int(os.environ.get('WORKERS', 15)))
        case 'vae': vae.train_vae(recipe, out, data, photos)
        case 'encode': encode_world(recipe, out, data)
        case 'image': image.train_image(recipe, out, data)
        case 'judge': judge.train_judge(recipe, out, data)
        case 'motion': motion.train_motion(recipe, out, data)
        case 'smoke':
            from diffusers import UNetMotionModel
            from videodirector.models.judge import Judge, world_classes
            from videodirector.train.networks import build_unet, build_text_encoder, build_motion_adapter
            w, tok = S.Worker.start(), tokenizer_of(out)
            def z(*shape): return torch.randn(*shape, device=w.device)
            def ids(n): return torch.tensor(tok(['a red bear walking left in a forest'] * n, padding='max_length').input_ids, device=w.device)
            tmp = out / 'smoke'; tmp.mkdir(exist_ok=True)
            n = recipe.image_batch
            text, unet = build_text_encoder(tok).to(w.device), build_unet().to(w.device, memory_format=torch.channels_last)
            roles = torch.zeros(n, 32, dtype=torch.uint8, device=w.device); roles[:, 2:4] = 1
            tt = torch.randint(1000, (n,), device=w.device)
            Fitted(image.ImageLoss(unet, text, .05, 1.), S.StageSettings('image', 10, 1e-3), w, tmp).run(
                lambda step: (z(n, 8, 16, 16), z(n, 8, 16, 16), tt, ids(n), roles, torch.rand(n, 2, 16, 16, device=w.device)))
            m = recipe.motion_batch
            um = UNetMotionModel.from_unet2d(unet.cpu(), build_motion_adapter()).to(w.device)
            Fitted(motion.MotionLoss(um, text, 1.), S.StageSettings('motion', 10, 1e-3), w, tmp).run(
                lambda step: (z(m, 8, 16, 16, 16), z(m, 8, 16, 16, 16), tt[:m], ids(m), torch.ones(m, device=w.device)))
            j = Judge(world_classes()).to(w.device)
            b = recipe.judge_batch
            Fitted(judge.JudgeLoss(j), S.StageSettings('judge', 10, 1e-3), w, tmp).run(
                lambda step: (torch.rand(b, 16, 3, 64, 64, device=w.device), torch.zeros(b, 5, dtype=torch.long, device=w.device)))
        case 'warm':
            from videodirector.train.networks import build_vae
            w = S.Worker.start()
            torch.manual_seed(0)
            v = build_vae().to(w.device, memory_format=torch.channels_last)
            s = S.Stage(vae.VAELoss(v, 1e-4), S.StageSettings('warm', 3, 1e-3, compiled=w.cuda, every=1), w, out)
            n = recipe.vae_batch
            s.run(lambda step: ((torch.rand(n, 3, 128, 128, device=w.device) * 2 - 1).contiguous(memory_format=torch.channels_last), torch.randn(n, 8, 16, 16, device=w.device)))
    print('DONE', stage, round(time.time() - t, 1), flush=True)
