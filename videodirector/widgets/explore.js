// The attention explorer: all maps arrive once as half-precision bytes, every picture is drawn here.

const STYLE = `
.vd-explore { color: var(--jp-ui-font-color1, inherit); font: 13px/1.5 var(--jp-ui-font-family, system-ui, sans-serif);
  padding: 8px; border-radius: 4px; max-width: 1000px; }
.vd-explore:focus-visible, .vd-explore :focus-visible { outline: 2px solid var(--jp-brand-color1, #2196f3); outline-offset: 2px; }
.vd-explore .row { display: flex; flex-wrap: wrap; gap: 6px 10px; align-items: center; margin: 4px 0; }
.vd-explore .words { gap: 4px; }
.vd-explore button, .vd-explore select { font: inherit; color: inherit; padding: 1px 8px; border-radius: 3px; max-width: 25em;
  background: var(--jp-layout-color2, transparent); border: 1px solid var(--jp-border-color1, #8888); }
.vd-explore option { background: var(--jp-layout-color1, Canvas); color: var(--jp-ui-font-color1, CanvasText); }
.vd-explore button[aria-pressed=true] { background: var(--jp-brand-color1, #1976d2); color: var(--jp-ui-inverse-font-color1, white); }
.vd-explore button:disabled { opacity: .4; cursor: not-allowed; }
.vd-explore figure { margin: 0; flex: 1 1 150px; max-width: 240px; }
.vd-explore figcaption { min-height: 3em; }
.vd-explore canvas { width: 100%; display: block; cursor: crosshair; }
.vd-explore .matrix { margin: 0 auto; max-width: 160px; }
.vd-explore .axes { font-size: 11px; text-align: center; }
.vd-explore .bar { height: 8px; cursor: default; }
.vd-explore .ends { display: flex; justify-content: space-between; font-size: 11px; }
.vd-explore input[type=range] { width: 140px; }
.vd-explore .value { min-width: 7em; }
.vd-explore .help { opacity: .75; font-size: 12px; }
.vd-explore [hidden] { display: none; }`;

const MISSING = {
  cross: "Not in this recording: record(model, kinds=('cross',)) keeps what pixels look at in the prompt",
  spatial: "Not in this recording: record(model, kinds=('spatial',)) keeps what pixels look at in their frame",
  temporal: "Not in this recording: record(model, kinds=('temporal',)) keeps which frames a pixel looks at",
};

const HALF = Float32Array.from({ length: 65536 }, (_, i) => {  // what each half-precision number stands for
  const sign = i >> 15 ? -1 : 1, e = (i >> 10) & 31, m = (i & 1023) / 1024;
  return sign * (e === 31 ? (m ? NaN : Infinity) : e ? 2 ** (e - 15) * (1 + m) : 2 ** -14 * m);
});

function bytesOf(view) { return new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)); }

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// ---- reading maps ----

class Maps {
  constructor(model) {
    this.facts = model.get("facts");
    this.values = new Uint16Array(bytesOf(model.get("maps")).buffer);
    this.pixels = bytesOf(model.get("pixels"));
    this.palettes = bytesOf(model.get("palettes"));
    this.entries = new Map(this.facts.entries.map((e) => [[e.kind, e.site, e.branch, e.side, e.step].join("|"), e]));
    this.scales = new Map();
  }

  all(s, side) { return this.facts.entries.filter((e) => e.kind === s.kind && e.site === s.site && e.branch === s.branch && e.side === side); }
  entry(s, side, step = s.step) { return this.entries.get([s.kind, s.site, s.branch, side, step].join("|")); }
  sites(kind) { return [...new Set(this.facts.entries.filter((e) => e.kind === kind).map((e) => e.site))]; }
  branches(s) { return [...new Set(this.facts.entries.filter((e) => e.kind === s.kind && e.site === s.site).map((e) => e.branch))]; }
  steps(s) {
    const here = this.facts.entries.filter((e) => e.kind === s.kind && e.site === s.site && e.branch === s.branch);
    return [...new Set(here.map((e) => e.step))].sort((a, b) => a - b);
  }
  words(s) { return this.facts.words[s.branch] ?? []; }
  some(s) { return this.facts.entries.find((e) => e.kind === s.kind && e.site === s.site && e.branch === s.branch); }

  cell(s, e) { return Math.min(e.h - 1, Math.floor(s.point[0] * e.h)) * e.w + Math.min(e.w - 1, Math.floor(s.point[1] * e.w)); }

  // Heads averaged, unless one is chosen; `start(head)` is the place of the first value, the others follow at `stride`.
  read(s, e, count, stride, start) {
    const heads = s.head < 0 ? [...Array(e.heads).keys()] : [s.head], out = new Float32Array(count);
    for (const head of heads) for (let i = 0, j = e.at + start(head); i < count; i++, j += stride) out[i] += HALF[this.values[j]];
    if (heads.length > 1) for (let i = 0; i < count; i++) out[i] /= heads.length;
    return out;
  }

  // The picture of one frame: h·w values, or null where the recording has none.
  picture(s, e, frame, half) {
    const F = this.facts.frames, N = e ? e.h * e.w : 0;
    if (!e) return null;
    if (s.kind === "temporal") return this.read(s, e, N, F * F, (head) => (head * N * F + frame) * F + s.key);
    if (s.kind === "spatial") {
      const share = half === "source" ? 0 : e.n - 1;
      if (half === "source" && e.n === 1) return null;
      return this.read(s, e, N, 1, (head) => (((head * F + frame) * N + this.cell(s, e)) * e.n + share) * N);
    }
    const word = this.words(s).find(([label]) => label === s.word)?.[1][e.side];
    return word === undefined ? null : this.read(s, e, N, 1, (head) => ((head * F + frame) * e.n + word) * N);
  }

  matrix(s, e) {
    const F = this.facts.frames;
    return e ? this.read(s, e, F * F, 1, (head) => (head * e.h * e.w + this.cell(s, e)) * F * F) : null;
  }

  panels(s) {
    const sides = ["source", "edit", ""].filter((side) => this.all(s, side).length);
    const made = sides.map((side) => ({ title: side || s.branch, side, over: side }));
    if (s.kind === "spatial" && this.all(s, "edit").some((e) => e.n === 2))
      made.push({ title: "edit looks at source", side: "edit", half: "source", over: "source" });
    if (sides.includes("source") && sides.includes("edit")) made.push({ title: "edit − source", side: "both", over: "edit" });
    return made;
  }

  shown(s, panel, what, step = s.step, frame = s.frame) {
    const one = (side) => {
      const e = this.entry(s, side, step);
      return what === "matrix" ? this.matrix(s, e) : this.picture(s, e, frame, panel.half);
    };
    if (panel.side !== "both") return one(panel.side);
    const source = one("source"), edit = one("edit");
    return source && edit ? edit.map((v, i) => v - source[i]) : null;
  }

  // One pair of limits for source and edit, a symmetric one for their difference: over all frames and steps.
  scale(s, panel) {
    const where = s.kind === "cross" ? s.word : [s.point, s.kind === "temporal" ? s.key : ""], both = panel.side === "both";
    const key = [s.kind, s.site, s.branch, s.head, where, both].join("|");
    if (this.scales.has(key)) return this.scales.get(key);
    const group = this.panels(s).filter((p) => (p.side === "both") === both), found = [];
    for (const p of group) for (const step of this.steps(s)) {
      for (let f = 0; f < this.facts.frames; f++) found.push(this.shown(s, p, "picture", step, f));
      if (s.kind === "temporal") found.push(this.shown(s, p, "matrix", step));
    }
    const size = found.reduce((n, v) => n + (v?.length ?? 0), 0), values = new Float32Array(size);
    let at = 0;
    for (const v of found) if (v) { values.set(v, at); at += v.length; }
    if (both) values.forEach((v, i) => { values[i] = Math.abs(v); });
    values.sort();
    const high = size ? Math.max(values[Math.max(1, Math.trunc(0.998 * size)) - 1], 1e-12) : 1;
    this.scales.set(key, [both ? -high : 0, high]);
    return this.scales.get(key);
  }

  // ---- painting ----

  colour(t, both, out, at) {
    const i = (both ? 768 : 0) + 3 * Math.min(255, Math.floor(256 * t));
    out[at] = this.palettes[i]; out[at + 1] = this.palettes[i + 1]; out[at + 2] = this.palettes[i + 2]; out[at + 3] = 255;
  }

  paint(canvas, s, panel, values, e) {
    const { width: W, height: H } = this.facts, both = panel.side === "both", [low, high] = this.scale(s, panel);
    const image = new ImageData(W, H), out = image.data, ground = this.facts.under[panel.over] ?? -1, size = 3 * W * H;
    const [ys, xs] = [places(e.h, H, ground >= 0), places(e.w, W, ground >= 0)];
    let under = (ground * this.facts.frames + s.frame) * size, at = 0;
    for (let y = 0; y < H; y++) for (let x = 0; x < W; x++, at += 4, under += 3) {
      const [y0, y1, v] = ys[y], [x0, x1, u] = xs[x], a = y0 * e.w, b = y1 * e.w;
      const value = (1 - v) * ((1 - u) * values[a + x0] + u * values[a + x1]) + v * ((1 - u) * values[b + x0] + u * values[b + x1]);
      const t = Math.min(1, Math.max(0, (value - low) / (high - low)));
      this.colour(t, both, out, at);
      if (ground < 0) continue;
      const see = s.opacity * Math.sqrt(both ? Math.abs(2 * t - 1) : t);
      const grey = (this.pixels[under] + this.pixels[under + 1] + this.pixels[under + 2]) / 3 * 255 / 400;
      for (let c = 0; c < 3; c++) out[at + c] = see * out[at + c] + (1 - see) * grey;
    }
    canvas.width = W; canvas.height = H;
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  paintMatrix(canvas, s, panel, values) {
    const F = this.facts.frames, cell = Math.max(4, Math.floor(192 / F)), [low, high] = this.scale(s, panel);
    const small = new OffscreenCanvas(F, F), image = new ImageData(F, F);
    values.forEach((v, i) => this.colour(Math.min(1, Math.max(0, (v - low) / (high - low))), panel.side === "both", image.data, 4 * i));
    small.getContext("2d").putImageData(image, 0, 0);
    canvas.width = canvas.height = F * cell;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, F * cell, F * cell);
    pen.lineWidth = 2; pen.strokeStyle = "cyan";
    pen.strokeRect(1, s.frame * cell + 1, F * cell - 2, cell - 2);
    pen.setLineDash([3, 3]);
    pen.strokeRect(s.key * cell + 1, 1, cell - 2, F * cell - 2);
  }

  mark(canvas, s, e) {
    const cell = this.cell(s, e), y = (Math.floor(cell / e.w) + .5) * canvas.height / e.h, x = (cell % e.w + .5) * canvas.width / e.w;
    const pen = canvas.getContext("2d"), r = canvas.width / 32;
    for (const [colour, width] of [["black", canvas.width / 40], ["cyan", canvas.width / 90]]) {
      pen.strokeStyle = colour; pen.lineWidth = width;
      pen.beginPath(); pen.moveTo(x - r, y); pen.lineTo(x + r, y); pen.moveTo(x, y - r); pen.lineTo(x, y + r); pen.stroke();
    }
  }

  paintBar(canvas, both) {
    const image = new ImageData(256, 1);
    for (let i = 0; i < 256; i++) this.colour(i / 256, both, image.data, 4 * i);
    canvas.width = 256; canvas.height = 1;
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
}

// For every pixel of a side: the two cells that it lies between and how far it is on the way to the second.
function places(cells, pixels, smooth) {
  return Array.from({ length: pixels }, (_, i) => {
    const at = Math.max(0, (i + .5) * cells / pixels - .5), first = Math.min(cells - 1, Math.floor(at));
    const nearest = Math.floor(i * cells / pixels);
    return smooth ? [first, Math.min(cells - 1, first + 1), at - first] : [nearest, nearest, 0];
  });
}

// ---- the widget ----

function render({ model, el }) {
  const maps = new Maps(model), { facts } = maps;
  let state = { ...model.get("state") }, playing = null, last = "frame", timer, later;

  const kinds = ["cross", "spatial", "temporal"].map((kind) => make("button", { type: "button" }, kind));
  const select = (name) => make("select", { "aria-label": name });
  const site = select("attention site"), head = select("head"), branch = select("branch");
  const slider = (name) => make("input", { type: "range", min: 0, step: 1, "aria-label": name });
  const frame = slider("frame"), step = slider("step"), opacity = slider("opacity of the colours");
  opacity.max = 1; opacity.step = .05;
  const play = { frame: make("button", { type: "button" }), step: make("button", { type: "button" }) };
  const said = { frame: make("span", { class: "value" }), step: make("span", { class: "value" }) };
  const words = make("div", { class: "row words", role: "group", "aria-label": "word" });
  const figures = [0, 1, 2, 3].map(() => {
    const canvas = make("canvas", { role: "img", class: "picture" }), matrix = make("canvas", { role: "img", class: "matrix" });
    const bar = make("canvas", { class: "bar", "aria-hidden": "true" }), ends = make("div", { class: "ends" }), caption = make("figcaption");
    const axes = make("div", { class: "axes" }, "+ in a frame (row) looks at frame (column)");
    return { canvas, matrix, bar, ends, axes, caption, node: make("figure", {}, caption, canvas, bar, ends, axes, matrix) };
  });
  const help = make("div", { class: "help" }, "← → frame · ↑ ↓ step · space plays · 1–9 word · click or shift + arrows: the asking pixel · " +
    ", and . (or a click on the matrix): the frame looked at");
  const root = make("div", { class: "vd-explore", tabindex: 0, role: "group", "aria-label": "attention explorer", "data-lm-suppress-shortcuts": "true" },
    make("style", {}, STYLE), make("div", { class: "row" }, ...kinds, site, head, branch), words,
    make("div", { class: "row", style: "align-items: flex-start" }, ...figures.map((f) => f.node)),
    make("div", { class: "row" }, play.frame, frame, said.frame, play.step, step, said.step, make("span", {}, "opacity"), opacity), help);
  root.dataset.redraws = 0;
  el.append(root);

  function change(some) {
    state = { ...state, ...some };
    settle();
    draw();
    clearTimeout(later);
    later = setTimeout(() => { model.set("state", { ...state }); model.save_changes(); }, 200);  // for Python; the picture is there already
  }

  // Where a choice ruled out another one, take the nearest that the recording holds.
  function settle() {
    const into = (options, value, other) => options.includes(value) ? value : other;
    state.site = into(maps.sites(state.kind), state.site, facts.site[state.kind]);
    state.branch = into(maps.branches(state), state.branch, maps.branches(state)[0]);
    const steps = maps.steps(state), labels = maps.words(state).map(([label]) => label);
    state.step = steps.reduce((best, i) => Math.abs(i - state.step) < Math.abs(best - state.step) ? i : best, steps[0]);
    if (maps.some(state).heads <= state.head) state.head = -1;
    state.word = into(labels, state.word, labels[0] ?? "");
  }

  function options(node, list, value, text) {
    const key = JSON.stringify(list);
    if (node.dataset.key !== key) node.replaceChildren(...list.map((x) => make("option", { value: x }, text(x))));
    node.dataset.key = key;
    node.value = value;
  }

  function controls() {
    for (const button of kinds) {
      const kind = button.textContent, here = facts.kinds.includes(kind);
      button.disabled = !here;
      button.title = here ? "" : MISSING[kind];
      button.setAttribute("aria-pressed", kind === state.kind);
    }
    const sizes = Object.fromEntries(facts.entries.map((e) => [e.site, `${e.h}×${e.w}`])), { heads } = maps.some(state);
    options(site, maps.sites(state.kind), state.site, (x) => `${sizes[x]} · ${x}`);
    options(head, [-1, ...(heads > 1 ? Array(heads).keys() : [])], state.head, (x) => x < 0 ? "mean of heads" : `head ${x}`);
    head.disabled = heads === 1;
    head.title = heads === 1 ? "There is one map for all heads: record with reduce=() to keep each head" : "";
    options(branch, maps.branches(state), state.branch, (x) => x);
    branch.hidden = maps.branches(state).length === 1;
    wordButtons();
    const steps = maps.steps(state);
    frame.max = facts.frames - 1; frame.value = state.frame; step.max = steps.length - 1; step.value = steps.indexOf(state.step);
    opacity.value = state.opacity;
    said.frame.textContent = `frame ${state.frame} of 0–${facts.frames - 1}`;
    said.step.textContent = `step ${state.step}${steps.length > 1 ? " (0 = noisiest)" : ""}`;
    frame.setAttribute("aria-valuetext", said.frame.textContent); step.setAttribute("aria-valuetext", said.step.textContent);
    frame.disabled = play.frame.disabled = facts.frames === 1; step.disabled = play.step.disabled = steps.length === 1;
    for (const name of ["frame", "step"]) {
      play[name].textContent = `${playing === name ? "❚❚" : "▶"} ${name}s`;
      play[name].setAttribute("aria-pressed", playing === name);
    }
  }

  function wordButtons() {
    const list = maps.words(state).map(([label]) => label), key = JSON.stringify(list);
    if (words.dataset.key !== key) words.replaceChildren(...list.map((label, i) => {
      const button = make("button", { type: "button", "data-word": label }, label);
      if (i < 9) button.title = `key ${i + 1}`;
      button.onclick = () => change({ word: label });
      return button;
    }));
    words.dataset.key = key;
    words.hidden = state.kind !== "cross";
    for (const button of words.children) button.setAttribute("aria-pressed", button.dataset.word === state.word);
  }

  function draw() {
    controls();
    const panels = maps.panels(state);
    figures.forEach((f, i) => {
      f.node.hidden = i >= panels.length;
      if (i < panels.length) drawPanel(f, panels[i]);
    });
    root.dataset.redraws = Number(root.dataset.redraws) + 1;
  }

  function drawPanel(f, panel) {
    const values = maps.shown(state, panel, "picture"), e = maps.some(state), what = { cross: state.word, spatial: "what + looks at",
      temporal: `how strongly frame ${state.frame} looks at frame ${state.key}` }[state.kind];
    f.bar.hidden = f.ends.hidden = !values;
    f.matrix.hidden = f.axes.hidden = !values || state.kind !== "temporal";
    const why = state.kind === "cross" && maps.entry(state, panel.side) ? `“${state.word}” is not in its prompt` : "not recorded at this step";
    const number = () => state.kind !== "spatial" ? `${values[maps.cell(state, e)].toFixed(3)} at +`
      : panel.side === "both" ? "" : `${(100 * values.reduce((a, b) => a + b)).toFixed(0)} % of what + looks at`;
    f.caption.replaceChildren(make("b", {}, panel.title), make("br"), values ? number() : panel.side === "both" ? "needs both" : why);
    maps.paint(f.canvas, state, panel, values ?? new Float32Array(e.h * e.w), e);
    maps.mark(f.canvas, state, e);
    f.canvas.setAttribute("aria-label", values ? `${panel.title}: ${what}, frame ${state.frame}, step ${state.step}` : `${panel.title}: nothing to show`);
    if (!values) return;
    if (!f.matrix.hidden) {
      maps.paintMatrix(f.matrix, state, panel, maps.shown(state, panel, "matrix"));
      f.matrix.setAttribute("aria-label", `${panel.title}: frames (rows) look at frames (columns) at +, step ${state.step}`);
    }
    maps.paintBar(f.bar, panel.side === "both");
    f.ends.replaceChildren(...maps.scale(state, panel).map((v) => make("span", {}, v === 0 ? "0" : v.toPrecision(2))));
  }

  function run(name) {
    clearInterval(timer);
    playing = playing === name ? null : name;
    last = name;
    if (playing) timer = setInterval(() => (name === "frame" ? moveFrame(1) : moveStep(1)), name === "frame" ? 125 : 250);
    controls();
  }

  const around = (i, n) => (i % n + n) % n;
  function moveFrame(by) { change({ frame: around(state.frame + by, facts.frames) }); }
  function moveStep(by) { const steps = maps.steps(state); change({ step: steps[around(steps.indexOf(state.step) + by, steps.length)] }); }
  function moveKey(by) { change({ key: around(state.key + by, facts.frames) }); }
  function movePoint(down, right) {
    const e = maps.some(state), cell = maps.cell(state, e);
    const y = Math.min(e.h - 1, Math.max(0, Math.floor(cell / e.w) + down)), x = Math.min(e.w - 1, Math.max(0, cell % e.w + right));
    change({ point: [(y + .5) / e.h, (x + .5) / e.w] });
  }

  const keys = {
    ArrowLeft: () => moveFrame(-1), ArrowRight: () => moveFrame(1), ArrowUp: () => moveStep(-1), ArrowDown: () => moveStep(1),
    ",": () => moveKey(-1), ".": () => moveKey(1), " ": () => run(playing ?? last),
    "shift ArrowLeft": () => movePoint(0, -1), "shift ArrowRight": () => movePoint(0, 1),
    "shift ArrowUp": () => movePoint(-1, 0), "shift ArrowDown": () => movePoint(1, 0),
  };
  root.addEventListener("keydown", (event) => {
    const { key, target } = event, word = maps.words(state)[Number(key) - 1]?.[0];
    const own = target.tagName === "SELECT" || target === opacity || (key === " " && target.tagName === "BUTTON");
    const act = keys[(event.shiftKey && key.startsWith("Arrow") ? "shift " : "") + key]
      ?? (state.kind === "cross" && word !== undefined && (() => change({ word })));
    if (own || !act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });

  const part = (canvas, event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width].map((v) => Math.min(1, Math.max(0, v)));
  };
  const onPress = (canvas, act) => {
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); root.focus({ preventScroll: true }); act(part(canvas, event)); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) act(part(canvas, event)); });
  };
  for (const f of figures) {
    const cell = (v) => Math.min(facts.frames - 1, Math.floor(v * facts.frames));
    onPress(f.canvas, (point) => change({ point }));
    onPress(f.matrix, ([y, x]) => change({ frame: cell(y), key: cell(x) }));
  }
  for (const button of kinds) button.onclick = () => change({ kind: button.textContent });
  site.onchange = () => change({ site: site.value });
  head.onchange = () => change({ head: Number(head.value) });
  branch.onchange = () => change({ branch: branch.value });
  frame.oninput = () => change({ frame: Number(frame.value) });
  step.oninput = () => change({ step: maps.steps(state)[Number(step.value)] });
  opacity.oninput = () => change({ opacity: Number(opacity.value) });
  play.frame.onclick = () => run("frame");
  play.step.onclick = () => run("step");

  const told = () => {  // by Python, or by another view of the same explorer
    if (JSON.stringify(model.get("state")) === JSON.stringify(state)) return;
    state = { ...model.get("state") };
    settle();
    draw();
  };
  model.on("change:state", told);
  settle();
  draw();
  return () => { clearInterval(timer); clearTimeout(later); model.off("change:state", told); };
}

export default { render };
