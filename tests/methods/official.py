"""VideoDirector (CVPR 2025) in plain loops, as its official code reckons: explicit maps, four gradients one by one, a batch of four clips.

Nothing of the package is in here. Levels are pairs (t, ᾱ_t, ᾱ_s): where a step begins, and the noise left where it ends."""
import math

import torch
import torch.nn.functional as F

SPATIAL, TEMPORAL = '.attentions.', '.motion_modules.'
STDG_BLOCKS = {'up_blocks.1': 20000., 'up_blocks.2': 10000.}


class Loops:
    "Attention head by head. `said` collects keys and temporal maps by name; `rules` may replace maps and outputs."
    def __init__(self, name, said, rules=None): self.name, self.said, self.rules = name, said, rules

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        x, context = hidden_states, hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = attn.to_q(x), attn.to_k(context), attn.to_v(context)
        d = q.shape[-1] // attn.heads
        heads = [tuple(y[..., h * d:(h + 1) * d] for y in (q, k, v)) for h in range(attn.heads)]
        if TEMPORAL in self.name: self.said[self.name] = torch.stack([maps(q, k) for q, k, _ in heads], 1)  # [N, head, F, F]
        elif encoder_hidden_states is None: self.said[self.name] = k  # [F, N, C]
        rule = self.rules and self.rules.find(self.name, encoder_hidden_states is not None, x.shape[1])
        out = torch.cat([rule(*head) if rule else maps(*head[:2]) @ head[2] for head in heads], -1)
        return attn.to_out[0](out)


def maps(q, k, bias=0.): return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias).softmax(-1)


def predict(unet, z, t, text, rules=None):
    "ε for clips [B,4,F,h,w] with a text for each frame [B·F,L,C]; and what the attention said."
    said, before = {}, dict(unet.attn_processors)
    unet.set_attn_processor({key: Loops(key.removesuffix('.processor'), said, rules) for key in before})
    try: return unet(z, t, encoder_hidden_states=text).sample, said
    finally: unet.set_attn_processor(before)


def ddim(eps, z, a_from, a_to): return a_to**.5 * (z - (1 - a_from)**.5 * eps) / a_from**.5 + (1 - a_to)**.5 * eps


def guided_step(eps, z, g, a, b):
    "x̂0 from the unguided ε; guidance bends the direction alone."
    return b**.5 * (z - (1 - a)**.5 * eps) / a**.5 + (1 - b)**.5 * (eps - (1 - a)**.5 * g)


def climb(unet, z0, source, levels):
    "Z[0] … Z[S], conditional only."
    Z = [z0]
    for t, a, b in reversed(levels):
        with torch.no_grad(): eps, _ = predict(unet, Z[-1], t, source)
        Z.append(ddim(eps, Z[-1], b, a))
    return Z


def on_grid(mask, n):
    "A boolean mask [F,H,W] on a square grid of n positions, by nearest pixel, flattened [F,n]."
    side = math.isqrt(n)
    return F.interpolate(mask[:, None].double(), (side, side), mode='nearest').flatten(1)


def stdg(unet, reference, z, t, source, mask, weights):
    "g = η_f G_T^f + η_b G_T^b + ζ_f G_K^f + ζ_b G_K^b: each gradient by passes of its own."
    with torch.no_grad(): _, before = predict(unet, reference, t, source)
    g = torch.zeros_like(z)
    for kind, where, weight in ((TEMPORAL, mask, weights[0]), (TEMPORAL, ~mask, weights[1]), (SPATIAL, mask, weights[2]), (SPATIAL, ~mask, weights[3])):
        y = z.clone().requires_grad_()
        _, now = predict(unet, y, t, source)
        losses = [block_weight / 100 * (temporal if kind == TEMPORAL else spatial)(before[name], now[name], where)
                  for block, block_weight in STDG_BLOCKS.items() for name in now if name.startswith(block) and kind in name]
        g = g + weight * torch.autograd.grad(100 * sum(losses) / len(losses), y)[0]
    return g


def temporal(before, now, mask):
    "Maps [N, head, F, F] at the reference's greatest entry of each row, over positions and query frames of the mask."
    total, count, m = 0., 0, on_grid(mask, len(before))
    for q in range(before.shape[2]):
        rows = m[q].bool()
        k = before[rows, :, q].argmax(-1, keepdim=True)
        total = total + (before[rows, :, q].gather(-1, k) - now[rows, :, q].gather(-1, k)).square().sum()
        count += k.numel()
    return total / count


def spatial(before, now, mask):
    "Keys [F, N, C] averaged over the mask of each frame."
    m, means = on_grid(mask, before.shape[1]), []
    for k in (before, now): means.append(torch.stack([(m[f, :, None] * k[f]).sum(0) / (m[f].sum() + 1e-5) for f in range(len(k))]))
    return (means[0] - means[1]).square().mean()


def null_text(unet, Z, source, phi, mask, levels, w, weights, inner=10, lr=.01, tolerance=1e-5):
    "φ_i and g_i of every step, and where the path ends; Adam by hand, fresh at every step."
    y, S, found, pulls = Z[-1], len(levels), [], []
    for i, (t, a, b) in enumerate(levels):
        with torch.no_grad(): eps_c, _ = predict(unet, y, t, source)
        g = stdg(unet, Z[S - i], y, t, source, mask, weights)
        m = v = torch.zeros_like(phi)
        for n in range(1, inner + 1):
            phi = phi.detach().requires_grad_()
            eps_u, _ = predict(unet, y, t, phi.expand(y.shape[2], -1, -1))
            loss = (guided_step(eps_c + w * (eps_c - eps_u), y, g, a, b) - Z[S - 1 - i]).square().mean()
            d, = torch.autograd.grad(loss, phi)
            m, v = .9 * m + .1 * d, .999 * v + .001 * d * d
            phi = phi.detach() - lr * (1 - i / (2 * S)) * (m / (1 - .9**n)) / ((v / (1 - .999**n)).sqrt() + 1e-8)
            if loss.item() < tolerance + 2e-5 * i: break
        with torch.no_grad(): eps_u, _ = predict(unet, y, t, phi.expand(y.shape[2], -1, -1))
        y = guided_step(eps_c + w * (eps_c - eps_u), y, g, a, b)
        found.append(phi.detach()), pulls.append(g)
    return found, pulls, y


class Rules:
    "CA, SA-I and SA-II at one step, for a batch of edit-uncond, edit-cond, source-uncond, source-cond."
    def __init__(self, i, mask, layout_steps, cross_steps, mapper, factors):
        self.i, self.mask, self.layout_steps, self.cross_steps, self.mapper, self.factors = i, mask, layout_steps, cross_steps, mapper, factors

    def find(self, name, is_cross, n):
        if TEMPORAL in name: return None
        if is_cross: return self.cross if self.i < self.cross_steps else None
        if self.i < self.layout_steps: return self.layout if n <= 1024 else None
        return self.mutual if name.startswith('up_blocks') else None

    def cross(self, q, k, v):
        A = maps(q, k).unflatten(0, (4, -1)).clone()  # [slot, F, N, L]
        mixed = A[1].clone()
        for n, source in enumerate(self.mapper):
            if source >= 0: mixed[..., n] = A[3][..., source]
            mixed[..., n] *= self.factors[n]
        A[1] = mixed
        return A.flatten(0, 1) @ v

    def layout(self, q, k, v):
        A, frames = maps(q, k), len(q) // 4
        A[frames:2 * frames] = A[3 * frames:]
        return A @ v

    def mutual(self, q, k, v):
        frames, hidden, out = len(q) // 4, on_grid(self.mask, q.shape[1]), []
        for row in range(len(q)):
            slot, f = divmod(row, frames)
            if slot > 1: out.append(maps(q[row], k[row]) @ v[row]); continue
            other, m = row + 2 * frames, hidden[f]
            keys, values = torch.cat([(1 - m)[:, None] * k[other], k[row]]), torch.cat([v[other], v[row]])
            bias = torch.cat([torch.zeros_like(m).masked_fill(m > 0, -math.inf), torch.zeros_like(m)])
            out.append(maps(q[row], keys, bias) @ values)
        return torch.stack(out)


def edit(unet, Z, phis, pulls, texts, mask, levels, w, **rules):
    "The edited latents; texts are c_new, c_neg and c_src, one for each frame."
    z, S = Z[-1], len(levels)
    for i, (t, a, b) in enumerate(levels):
        batch, text = torch.cat([z, z, Z[S - i], Z[S - i]]), torch.cat([phis[i].expand(z.shape[2], -1, -1), *texts])
        with torch.no_grad(): eps, _ = predict(unet, batch, t, text, Rules(i, mask, **rules))
        z = guided_step(eps[1:2] + w * (eps[1:2] - eps[0:1]), z, pulls[i], a, b)
    return z
