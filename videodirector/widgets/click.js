// The page's side of ClickMask. The frames come once, the masks after every change; drawing and scrubbing happen here.
// Python is asked only about clicks, boxes, undo, clear and accept: `model.send({do: …})`; its answer is a change of the traits
// `prompts`, `bits`, `note`, `busy` and `accepted`.

const MASK = "255, 51, 179";
const ON = "#12b347";
const OFF = "#e53935";
const GAP = 4; // between the small frames, CSS pixels
const DRAG = 5; // CSS pixels from which on a click is a box
const KEYS = "← → Home End: frame · Shift+arrows: cursor, Space: click there, B: corner of a box · N: on the thing or not · Z: undo · X: clear · Enter: accept";

// JupyterLab leaves keys pressed on an element with this attribute to us, and the right button within one with the other.
const KEYS_ARE_OURS = { "data-lm-suppress-shortcuts": "true" };
const MENU_IS_OURS = { "data-jp-suppress-context-menu": "true" };

/** An element with properties, attributes (names with a dash, or role) and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const few = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** One bit for each pixel, all frames in a row → for each frame { area, tint, edge }; none if there are no bits. */
function readMasks(bits, [frames, height, width]) {
  if (!bits.byteLength) return [];
  const bytes = new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength);
  const size = height * width;
  return Array.from({ length: frames }, (_, frame) => {
    const inside = new Uint8Array(size);
    for (let i = 0, bit = frame * size; i < size; i++, bit++) inside[i] = (bytes[bit >> 3] >> (7 - (bit & 7))) & 1;
    const area = inside.reduce((sum, value) => sum + value, 0) / size;
    return { area, tint: tint(inside, height, width), edge: outline(inside, height, width) };
  });
}

/** A picture to lay over a frame: what is inside tinted, the rest darkened. */
function tint(inside, height, width) {
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer); // alpha, blue, green, red
  inside.forEach((value, i) => { words[i] = value ? 0x40b333ff : 0x78000000; });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** The border between inside and outside, along the edges of the pixels. */
function outline(inside, height, width) {
  const path = new Path2D();
  const at = (x, y) => (x >= 0 && y >= 0 && x < width && y < height ? inside[y * width + x] : 0);
  const trace = (rows, columns, differs, line) => {
    for (let row = 0; row <= rows; row++) {
      for (let start = 0, end; start < columns; start = end + 1) {
        for (end = start; end < columns && differs(end, row); ) end++;
        if (end > start) line(start, end, row);
      }
    }
  };
  trace(height, width, (x, y) => at(x, y) !== at(x, y - 1), (from, to, y) => { path.moveTo(from, y); path.lineTo(to, y); });
  trace(width, height, (y, x) => at(x, y) !== at(x - 1, y), (from, to, x) => { path.moveTo(x, from); path.lineTo(x, to); });
  return path;
}

/** Give a canvas one pixel for each pixel of the screen; returns its context, measured in CSS pixels, and its size. */
function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.imageSmoothingQuality = "high";
  return { context, width, height };
}

class View {
  constructor(model, el) {
    this.model = model;
    this.shape = model.get("shape");
    this.pictures = [];
    this.at = 0; // the frame in view
    this.known = 0; // how many clicks and boxes there were
    this.label = 1; // what a left click means: 1 on the thing, 0 not on it
    this.cursor = null; // { x, y } of the keyboard
    this.corner = null; // where a box of the keyboard starts
    this.press = null; // the pointer, while it is down
    this.asked = null; // the click or box that is under way
    this.build(el);
    this.readMasks();
    this.listen();
    this.loadPictures();
    this.follow();
  }

  // ---- the page ----

  build(el) {
    const [frames, height, width] = this.shape;
    const button = (text, title, onclick) => make("button", { type: "button", title, onclick, ...KEYS_ARE_OURS }, text);
    const large = Math.min(width >= height ? 400 : (400 * width) / height, 520);
    this.stage = make("canvas", { className: "stage", tabIndex: 0, role: "application", ...KEYS_ARE_OURS });
    this.stage.style.aspectRatio = `${width} / ${height}`;
    this.stage.style.flexBasis = `${large}px`;
    this.strip = make("canvas", { className: "strip", role: "img", "aria-label": "All frames with their masks; a click goes to that frame" });
    this.slider = make("input", { type: "range", min: 0, max: frames - 1, step: 1, "aria-label": "frame", oninput: () => this.go(+this.slider.value), ...KEYS_ARE_OURS });
    this.number = make("span", { className: "number" });
    this.on = button("+ on it", "a left click says: this is the thing (N)", () => this.mean(1));
    this.off = button("− not it", "a left click says: this is not the thing (N); a right click always does", () => this.mean(0));
    this.undo = button("Undo", "take the last change back (Z)", () => this.ask("undo"));
    this.clear = button("Clear", "start again (X)", () => this.ask("clear"));
    this.accept = button("Accept", "keep this mask (Enter)", () => this.decide());
    this.accept.classList.add("accept");
    this.status = make("p", { className: "status", role: "status", "aria-live": "polite" });
    const side = make("div", { className: "side" }, this.strip, make("label", { className: "scrub" }, this.slider, this.number));
    const signs = make("span", { className: "signs", role: "group", "aria-label": "what a left click means" }, this.on, this.off);
    const bar = make("div", { className: "bar" }, signs, this.undo, this.clear, this.accept);
    this.root = make("div", { className: "videodirector-click", role: "group", "aria-label": "Click on the thing to mask it", ...MENU_IS_OURS },
      make("div", { className: "pictures" }, this.stage, side), bar, this.status, make("p", { className: "keys" }, KEYS));
    el.append(this.root);
  }

  listen() {
    this.heard = {
      "change:bits": () => { this.readMasks(); this.refresh(); },
      "change:prompts": () => this.follow(),
      "change:busy": () => this.settle(),
      "change:note": () => this.refresh(),
      "change:accepted": () => this.refresh(),
    };
    for (const [event, react] of Object.entries(this.heard)) this.model.on(event, react);
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.stage.addEventListener("pointerdown", (event) => this.down(event));
    this.stage.addEventListener("pointermove", (event) => this.move(event));
    this.stage.addEventListener("pointerup", (event) => this.up(event));
    this.stage.addEventListener("pointercancel", () => { this.press = null; this.refresh(); });
    this.stage.addEventListener("contextmenu", (event) => { event.preventDefault(); event.stopPropagation(); });
    const scrub = (event) => { if (event.buttons & 1) this.go(this.frameUnder(event)); };
    this.strip.addEventListener("pointerdown", (event) => { this.strip.setPointerCapture(event.pointerId); scrub(event); });
    this.strip.addEventListener("pointermove", scrub);
    this.observer = new ResizeObserver(() => this.refresh());
    this.observer.observe(this.root);
  }

  close() {
    this.observer.disconnect();
    for (const [event, react] of Object.entries(this.heard)) this.model.off(event, react);
    cancelAnimationFrame(this.waiting);
  }

  // ---- what Python says ----

  async loadPictures() {
    const decode = (bytes) => createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    this.pictures = await Promise.all(this.model.get("pictures").map(decode));
    this.refresh();
  }

  readMasks() { this.masks = readMasks(this.model.get("bits"), this.shape); }

  /** Go where a new click is. */
  follow() {
    const prompts = this.model.get("prompts");
    if (prompts.length > this.known) this.at = prompts.at(-1).frame;
    this.known = prompts.length;
    this.refresh();
  }

  settle() {
    if (!this.model.get("busy")) this.asked = null;
    this.refresh();
  }

  // ---- what the person does ----

  ask(what, more = {}) { this.model.send({ do: what, ...more }); }

  go(frame) {
    this.at = clamp(frame, 0, this.shape[0] - 1);
    this.corner = null;
    this.refresh();
  }

  mean(label) { this.label = label; this.refresh(); }

  decide() { this.ask("accept", { done: !this.model.get("accepted") }); }

  click(x, y, label) {
    if (this.model.get("accepted")) return;
    this.asked = { frame: this.at, x, y, label };
    this.ask("click", this.asked);
    this.refresh();
  }

  box(from, to) {
    if (this.model.get("accepted")) return;
    const [, height, width] = this.shape;
    const [left, right] = [Math.min(from.x, to.x), Math.max(from.x, to.x)].map((x) => clamp(Math.round(x), 0, width));
    const [top, bottom] = [Math.min(from.y, to.y), Math.max(from.y, to.y)].map((y) => clamp(Math.round(y), 0, height));
    this.asked = { frame: this.at, box: [left, top, right, bottom] };
    this.ask("box", { left, top, right, bottom, frame: this.at });
    this.refresh();
  }

  /** Where a pointer is, in pixels of the clip. */
  place(event) {
    const [, height, width] = this.shape;
    const area = this.stage.getBoundingClientRect();
    return { x: ((event.clientX - area.left) / area.width) * width, y: ((event.clientY - area.top) / area.height) * height };
  }

  pixel({ x, y }) {
    const [, height, width] = this.shape;
    return [clamp(Math.floor(x), 0, width - 1), clamp(Math.floor(y), 0, height - 1)];
  }

  down(event) {
    if (event.button !== 0 && event.button !== 2) return;
    event.preventDefault();
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    const negative = event.button === 2 || event.ctrlKey; // with one button, Ctrl makes it the right one
    this.press = { from: this.place(event), to: null, clientX: event.clientX, clientY: event.clientY, negative };
    this.cursor = this.corner = null;
  }

  move(event) {
    if (!this.press || this.press.negative) return;
    const far = Math.hypot(event.clientX - this.press.clientX, event.clientY - this.press.clientY);
    if (far >= DRAG) this.press.to = this.place(event);
    this.refresh();
  }

  up() {
    if (!this.press) return;
    const { from, to, negative } = this.press;
    this.press = null;
    if (to) this.box(from, to);
    else this.click(...this.pixel(from), negative ? 0 : this.label);
  }

  frameUnder(event) {
    const { columns, width, height } = this.grid;
    const area = this.strip.getBoundingClientRect();
    const column = clamp(Math.floor((event.clientX - area.left) / (width + GAP)), 0, columns - 1);
    return Math.max(Math.floor((event.clientY - area.top) / (height + GAP)), 0) * columns + column;
  }

  key(event) {
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const command = event.ctrlKey || event.metaKey;
    if (event.altKey || (command && name !== "z")) return;
    if (event.target.tagName === "BUTTON" && (name === "Enter" || name === " ")) return;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[name];
    const actions = {
      ArrowLeft: () => this.go(this.at - 1), ArrowRight: () => this.go(this.at + 1), Home: () => this.go(0), End: () => this.go(Infinity),
      z: () => this.ask("undo"), x: () => this.ask("clear"), Delete: () => this.ask("clear"), Enter: () => this.decide(),
      n: () => this.mean(1 - this.label), b: () => this.startBox(), " ": () => this.clickAtCursor(),
      Escape: () => { this.press = this.cursor = this.corner = null; this.refresh(); },
    };
    const action = event.shiftKey && arrow ? () => this.steer(...arrow) : actions[name];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  /** Move the cursor of the keyboard; it starts in the middle. */
  steer(dx, dy) {
    const [, height, width] = this.shape;
    const step = Math.max(1, Math.round(width / 64));
    const { x, y } = this.cursor ?? { x: Math.floor(width / 2), y: Math.floor(height / 2) };
    this.cursor = { x: clamp(x + dx * step, 0, width - 1), y: clamp(y + dy * step, 0, height - 1) };
    this.refresh();
  }

  startBox() {
    if (!this.cursor) this.steer(0, 0);
    this.corner = this.cursor;
    this.refresh();
  }

  clickAtCursor() {
    if (!this.cursor) return this.steer(0, 0);
    if (this.corner) this.box(this.corner, this.cursor);
    else this.click(this.cursor.x, this.cursor.y, this.label);
    this.corner = null;
  }

  // ---- drawing ----

  /** Draw everything again, once, before the next frame of the screen. */
  refresh() {
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => { this.drawStage(); this.drawStrip(); this.describe(); });
  }

  /** A frame with its mask, in a rectangle of the page. */
  paint(context, frame, left, top, scale) {
    const [, height, width] = this.shape;
    const mask = this.masks[frame];
    context.save();
    context.translate(left, top);
    context.scale(scale, scale);
    if (this.pictures[frame]) context.drawImage(this.pictures[frame], 0, 0, width, height);
    if (mask) {
      context.imageSmoothingEnabled = scale < 1;
      context.drawImage(mask.tint, 0, 0);
      context.strokeStyle = `rgb(${MASK})`;
      context.lineWidth = (scale > 1 ? 2 : 1.2) / scale;
      context.stroke(mask.edge);
    }
    context.restore();
  }

  drawStage() {
    const { context, width } = prepare(this.stage);
    const scale = width / this.shape[2];
    this.paint(context, this.at, 0, 0, scale);
    for (const prompt of this.model.get("prompts")) if (prompt.frame === this.at) this.drawPrompt(context, prompt, scale, 6);
    if (this.asked?.frame === this.at) this.drawPrompt(context, this.asked, scale, 6, true);
    const from = this.press?.to ? this.press.from : this.corner;
    const to = this.press?.to ?? this.cursor;
    if (from && to) this.drawBox(context, [from.x, from.y, to.x, to.y], scale, 2, true);
    if (this.cursor) this.drawCursor(context, scale);
  }

  drawPrompt(context, prompt, scale, radius, pending = false) {
    if (prompt.box) return this.drawBox(context, prompt.box, scale, radius / 3, pending);
    const [x, y] = [(prompt.x + 0.5) * scale, (prompt.y + 0.5) * scale];
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.globalAlpha = pending ? 0.5 : 1;
    context.fillStyle = prompt.label ? ON : OFF;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = "white";
    context.lineWidth = Math.max(1, radius / 4);
    context.stroke();
    if (radius < 5) return;
    context.beginPath(); // plus or minus, for those who cannot tell green from red
    context.moveTo(x - 3, y);
    context.lineTo(x + 3, y);
    if (prompt.label) { context.moveTo(x, y - 3); context.lineTo(x, y + 3); }
    context.stroke();
  }

  drawBox(context, [left, top, right, bottom], scale, thickness, pending) {
    const sides = [left * scale, top * scale, (right - left) * scale, (bottom - top) * scale];
    for (const [colour, lineWidth] of [["white", 2 * thickness], [ON, thickness]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth });
      context.setLineDash(pending ? [6, 4] : []);
      context.strokeRect(...sides);
    }
    context.setLineDash([]);
  }

  drawCursor(context, scale) {
    const [x, y] = [(this.cursor.x + 0.5) * scale, (this.cursor.y + 0.5) * scale];
    for (const [colour, lineWidth] of [["white", 4], [this.label ? ON : OFF, 2]]) {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 4 * dx, y + 4 * dy);
        context.lineTo(x + 13 * dx, y + 13 * dy);
      }
      Object.assign(context, { strokeStyle: colour, lineWidth });
      context.stroke();
    }
  }

  /** As few columns as fit beside the large frame. */
  layOut() {
    const [frames, height, width] = this.shape;
    const room = this.strip.clientWidth;
    const high = this.stage.clientHeight - this.slider.parentElement.offsetHeight - 6;
    for (let columns = 1; ; columns++) {
      const small = (room - GAP * (columns - 1)) / columns;
      const rows = Math.ceil(frames / columns);
      const tall = (small * height) / width;
      if (rows * (tall + GAP) - GAP <= high || small < 24 || columns === frames) return { columns, rows, width: small, height: tall };
    }
  }

  drawStrip() {
    const { columns, rows, width, height } = (this.grid = this.layOut());
    this.strip.style.height = `${rows * (height + GAP) - GAP}px`;
    const { context } = prepare(this.strip);
    const scale = width / this.shape[2];
    const prompts = this.model.get("prompts");
    for (let frame = 0; frame < this.shape[0]; frame++) {
      context.save();
      context.translate((frame % columns) * (width + GAP), Math.floor(frame / columns) * (height + GAP));
      this.paint(context, frame, 0, 0, scale);
      for (const prompt of prompts) if (prompt.frame === frame) this.drawPrompt(context, prompt, scale, 3);
      this.drawNumber(context, frame, width);
      if (frame === this.at) this.drawHere(context, width, height);
      context.restore();
    }
  }

  drawNumber(context, frame, width) {
    if (width < 30) return;
    Object.assign(context, { font: "10px sans-serif", textBaseline: "top", lineWidth: 3, strokeStyle: "rgba(0, 0, 0, 0.7)", fillStyle: "white", lineJoin: "round" });
    context.strokeText(frame, 4, 4);
    context.fillText(frame, 4, 4);
  }

  drawHere(context, width, height) {
    for (const [colour, lineWidth, inset] of [["white", 4, 2], ["#1976d2", 3, 1.5]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth });
      context.strokeRect(inset, inset, width - 2 * inset, height - 2 * inset);
    }
  }

  /** Everything that is words. */
  describe() {
    const [frames] = this.shape;
    const accepted = this.model.get("accepted");
    const prompts = this.model.get("prompts");
    this.root.classList.toggle("accepted", accepted);
    this.root.classList.toggle("busy", this.model.get("busy") || !!this.asked);
    this.root.classList.toggle("wrong", !!this.model.get("note"));
    this.slider.value = this.at;
    this.number.textContent = `frame ${this.at} of 0–${frames - 1}`;
    this.on.setAttribute("aria-pressed", this.label === 1);
    this.off.setAttribute("aria-pressed", this.label === 0);
    this.accept.textContent = accepted ? "Change" : "Accept";
    this.accept.disabled = !this.masks.length;
    for (const button of [this.on, this.off, this.undo, this.clear]) button.disabled = accepted;
    const here = prompts.filter((prompt) => prompt.frame === this.at).length;
    const cursor = this.cursor ? `, cursor at ${this.cursor.x}, ${this.cursor.y}` : "";
    this.stage.setAttribute("aria-label", `Frame ${this.at} of ${frames}, ${here} of the clicks here${cursor}. ${KEYS}`);
    const words = this.words(prompts, accepted);
    if (this.status.textContent !== words) this.status.textContent = words;
  }

  words(prompts, accepted) {
    if (this.model.get("note")) return this.model.get("note");
    if (this.model.get("busy") || this.asked) return "Following the thing through the clip …";
    if (accepted) return "Accepted. “Change” opens it again.";
    if (!this.masks.length) return "Click on the thing. A right click says what is not the thing, dragging draws a box around it.";
    const frames = new Set(prompts.map((prompt) => prompt.frame)).size;
    const lost = this.masks.flatMap((mask, frame) => (mask.area ? [] : [frame]));
    const share = `${(100 * this.masks[this.at].area).toFixed(1)} % of this frame`;
    const empty = lost.length ? `; nothing in frame${lost.length > 1 ? "s" : ""} ${lost.join(", ")}` : "";
    const clicks = prompts.filter((prompt) => !prompt.box).length;
    const given = [clicks && few(clicks, "click"), clicks < prompts.length && "a box"].filter(Boolean).join(" and ");
    const from = given ? `${given} in ${few(frames, "frame")}` : "The mask to start from";
    return `${from}: ${share}${empty}. Where it slips, click again.`;
  }
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.close();
  },
};
