// The viewer of the player: bodies of capsules in motion, in WebGL 2 or, without it, on a 2D canvas.
// `mount(element, scene)` starts it in a page; the default export is the same viewer as an anywidget.
// World: metres, z up. Screen: right = up x back, so nothing is mirrored. raster.py draws the same picture in Python.

const FIELD = Math.tan((14 * Math.PI) / 180); // of half the field of view
const MARGIN = 0.13; // metres kept free around the joints
const MISSING = -32768;
const LIGHT = [0.16, -0.1]; // metres a shadow moves per metre of height

// Coordinates: base64 -> inflate -> high and low bytes -> zigzag -> two sums in time -> metres, NaN where missing.
async function decode(scene) {
  const packed = Uint8Array.from(atob(scene.data), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = bytes.length / 2, T = scene.frames;
  const values = new Float32Array(count);
  for (let start = 0, series = 0; start < count; start += T, series++) {
    const low = scene.low[series % 3];
    let speed = 0, place = 0;
    for (let i = start; i < start + T; i++) {
      const z = (bytes[i] << 8) | bytes[count + i];
      speed = (speed + ((z >>> 1) ^ -(z & 1))) | 0;
      place = ((place + speed) << 16) >> 16;
      values[i] = place === MISSING ? NaN : low + (place + 32000) * scene.step;
    }
  }
  return values;
}

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
const mix = (a, b, share) => a.map((x, i) => x + (b[i] - x) * share);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const css = (c) => `rgb(${c.map((x) => Math.round(255 * x)).join()})`;

// Rows: right, up, and back towards the eye.
function axes(azimuth, elevation) {
  const [c, s, ce, se] = [Math.cos(azimuth), Math.sin(azimuth), Math.cos(elevation), Math.sin(elevation)];
  return [[-s, c, 0], [-c * se, -s * se, ce], [c * ce, s * ce, se]];
}

// One panel as a list of what to paint, in order, in pixels of the canvas: a floor, then capsules from far to near.
// A capsule: x, y, radius at both ends, colour, kind (0 flat, 1 round), opacity at both ends.
const STRIDE = 12;

class Picture {
  constructor(most) {
    this.data = new Float32Array(most * STRIDE);
  }
  start([x, y, w, h], rows, eye) {
    Object.assign(this, { box: [x, y, w, h], rows, eye, n: 0 });
  }
  project(p) { // -> x, y, pixels per metre
    const [x, y, w, h] = this.box, d = p.map((v, i) => v - this.eye[i]);
    const scale = h / 2 / FIELD / Math.max(-dot(d, this.rows[2]), 0.05);
    return [x + w / 2 + dot(d, this.rows[0]) * scale, y + h / 2 - dot(d, this.rows[1]) * scale, scale];
  }
  add(a, ra, b, rb, colour, kind, alphaA = 1, alphaB = 1) {
    if ((this.n + 1) * STRIDE > this.data.length) return;
    this.data.set([a[0], a[1], ra, b[0], b[1], rb, ...colour, kind, alphaA, alphaB], this.n++ * STRIDE);
  }
  // A round floor around what the camera follows; its grid stands still in the world.
  floor(aim, height, reach, hair) {
    this.ring = [...this.project([aim[0], aim[1], height]).slice(0, 2), 3];
    for (let k = 0; k <= 64; k++) {
      const turn = (k * Math.PI) / 32, edge = [aim[0] + reach * Math.cos(turn), aim[1] + reach * Math.sin(turn), height];
      this.ring.push(...this.project(edge).slice(0, 2), 0);
    }
    const step = reach < 4 ? 0.5 : Math.ceil(reach / 10), thin = Math.max(0.5, this.sharp * 0.5);
    for (const axis of [0, 1])
      for (let v = Math.ceil((aim[axis] - reach) / step) * step; v < aim[axis] + reach; v += step) {
        const half = Math.sqrt(reach * reach - (v - aim[axis]) ** 2);
        const shown = (s) => Math.min(1, (reach - Math.hypot(s, v - aim[axis])) / (0.3 * reach));
        for (const side of [-half, half]) {
          const [a, b, c] = [0, 0.6 * side, side].map((s) => this.project(axis ? [aim[0] + s, v, height] : [v, aim[1] + s, height]));
          this.add(a, thin, b, thin, hair, 0, shown(0), shown(0.6 * side));
          this.add(b, thin, c, thin, hair, 0, shown(0.6 * side), 0);
        }
      }
  }
  bodies(capsules, height, shadow) {
    const down = (p) => this.project([p[0] + (p[2] - height) * LIGHT[0], p[1] + (p[2] - height) * LIGHT[1], height]);
    if (this.rows[2][2] > -0.02)
      for (const { a, ra, b, rb } of capsules) {
        const [sa, sb] = [down(a), down(b)];
        this.add(sa, ra * sa[2], sb, rb * sb[2], shadow, 0);
      }
    for (const one of capsules)
      one.far = Math.hypot(...one.a.map((v, i) => (v + one.b[i]) / 2 - this.eye[i])) - (one.ra + one.rb) / 4;
    capsules.sort((one, two) => two.far - one.far);
    for (const { a, ra, b, rb, colour } of capsules) {
      const [pa, pb] = [this.project(a), this.project(b)];
      this.add(pa, ra * pa[2], pb, rb * pb[2], colour, 1);
    }
  }
}

// The capsules of some bodies at time t, a fraction between two frames while playing.
function capsules(scene, values, bodies, t, colours) {
  const T = scene.frames, first = Math.floor(t), next = Math.min(first + 1, T - 1), share = t - first;
  const at = (body, point) => [0, 1, 2].map((axis) => {
    const i = ((body * scene.points + point) * 3 + axis) * T;
    return share ? values[i + first] * (1 - share) + values[i + next] * share : values[i + first];
  });
  const found = [];
  for (const { body, ghost } of bodies)
    for (const [from, to, ra, rb, side] of scene.parts) {
      const a = at(body, from), b = at(body, to), thick = scene.sizes[body] * (ghost ? 0.8 : 1);
      if (!Number.isNaN(a[0] + b[0])) found.push({ a, b, ra: ra * thick, rb: rb * thick, colour: colours[ghost ? "pale" : "solid"][side] });
    }
  return found;
}

// WebGL 2: each capsule is a rectangle facing the eye, shaded and smoothed where it is drawn.
const VERTEX = `#version 300 es
in vec2 corner; in vec3 a, b, colour; in vec3 look; uniform vec2 size;
out vec2 at; flat out vec4 shape; flat out vec3 tint; flat out vec2 turn, fade;
void main() {
  vec2 d = b.xy - a.xy;
  float far = length(d), wide = max(a.z, b.z) + 1.0;
  turn = far > 0.001 ? d / far : vec2(1, 0);
  at = vec2(mix(-a.z - 1.0, far + b.z + 1.0, corner.x), corner.y * wide);
  vec2 p = a.xy + turn * at.x + vec2(-turn.y, turn.x) * at.y;
  shape = vec4(far, a.z, b.z, look.x);
  tint = colour;
  fade = look.yz;
  gl_Position = vec4(p / size * vec2(2, -2) + vec2(-1, 1), 0, 1);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec2 at; flat in vec4 shape; flat in vec3 tint; flat in vec2 turn, fade; uniform float sharp; out vec4 result;
void main() {
  float along = clamp(at.x / max(shape.x, 0.001), 0.0, 1.0), radius = mix(shape.y, shape.z, along);
  vec2 off = at - vec2(along * shape.x, 0);
  float inside = radius - length(off);
  float alpha = clamp(inside + 0.5, 0.0, 1.0) * mix(fade.x, fade.y, along);
  if (alpha <= 0.0) discard;
  vec3 colour = tint;
  if (shape.w > 0.5) {
    vec2 q = vec2(turn.x * off.x - turn.y * off.y, -turn.y * off.x - turn.x * off.y) / radius;
    vec3 n = vec3(q, sqrt(max(1.0 - dot(q, q), 0.0)));
    colour *= 0.74 + 0.32 * max(dot(n, vec3(-0.42, 0.6, 0.68)), 0.0);
    colour += 0.15 * pow(max(dot(n, vec3(-0.3, 0.45, 0.84)), 0.0), 10.0);
    colour *= 0.6 + 0.4 * clamp(inside / sharp - 0.4, 0.0, 1.0);
  }
  result = vec4(colour, alpha);
}`;
const FLOOR_VERTEX = `#version 300 es
in vec3 spot; uniform vec2 size; out float shown;
void main() { shown = spot.z; gl_Position = vec4(spot.xy / size * vec2(2, -2) + vec2(-1, 1), 0, 1); }`;
const FLOOR_FRAGMENT = `#version 300 es
precision highp float;
in float shown; uniform vec3 colour; out vec4 result;
void main() { result = vec4(colour, min(shown, 1.0)); }`;

function webglPainter(canvas) {
  const gl = canvas.getContext("webgl2", { antialias: false, depth: false, alpha: false });
  if (!gl) return null;
  const program = (...sources) => {
    const made = gl.createProgram();
    sources.forEach((source, i) => {
      const shader = gl.createShader(i ? gl.FRAGMENT_SHADER : gl.VERTEX_SHADER);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(made, shader);
    });
    gl.linkProgram(made);
    return made;
  };
  const limbs = program(VERTEX, FRAGMENT), ground = program(FLOOR_VERTEX, FLOOR_FRAGMENT);
  const array = (of, buffer, fields, stride, each) => {
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    for (const [name, size, offset] of fields) {
      const i = gl.getAttribLocation(of, name);
      gl.enableVertexAttribArray(i);
      gl.vertexAttribPointer(i, size, gl.FLOAT, false, stride * 4, offset * 4);
      gl.vertexAttribDivisor(i, each);
    }
  };
  const [corners, list, ring] = [0, 0, 0].map(() => gl.createBuffer());
  const limbArray = gl.createVertexArray(), groundArray = gl.createVertexArray();
  gl.bindVertexArray(limbArray);
  array(limbs, corners, [["corner", 2, 0]], 2, 0);
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, -1, 1, -1, 0, 1, 1, 1]), gl.STATIC_DRAW);
  array(limbs, list, [["a", 3, 0], ["b", 3, 3], ["colour", 3, 6], ["look", 3, 9]], STRIDE, 1);
  gl.bindVertexArray(groundArray);
  array(ground, ring, [["spot", 3, 0]], 3, 0);
  gl.enable(gl.SCISSOR_TEST);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  const use = (of, buffer, vertices, data) => {
    gl.useProgram(of);
    gl.bindVertexArray(vertices);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STREAM_DRAW);
    gl.uniform2f(gl.getUniformLocation(of, "size"), canvas.width, canvas.height);
  };
  const paint = ({ box: [x, y, w, h], data, n, ring: spots, sharp }, colours) => {
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.scissor(x, canvas.height - y - h, w, h);
    gl.clearColor(...colours.page, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    use(ground, ring, groundArray, new Float32Array(spots));
    gl.uniform3fv(gl.getUniformLocation(ground, "colour"), colours.floor);
    gl.drawArrays(gl.TRIANGLE_FAN, 0, 66);
    use(limbs, list, limbArray, data.subarray(0, n * STRIDE));
    gl.uniform1f(gl.getUniformLocation(limbs, "sharp"), 1.3 * sharp);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, n);
  };
  return { name: "webgl", paint, free: () => gl.getExtension("WEBGL_lose_context")?.loseContext() };
}

// Without WebGL: the same list as thick lines on a 2D canvas.
function flatPainter(canvas) {
  const pen = canvas.getContext("2d", { alpha: false });
  const line = (ax, ay, bx, by, width, colour) => {
    pen.strokeStyle = css(colour);
    pen.lineWidth = Math.max(width, 0.5);
    pen.beginPath();
    pen.moveTo(ax, ay);
    pen.lineTo(bx + 0.01, by);
    pen.stroke();
  };
  const paint = ({ box, data, n, ring, sharp }, colours) => {
    pen.save();
    pen.lineCap = "round";
    pen.beginPath();
    pen.rect(...box);
    pen.clip();
    pen.fillStyle = css(colours.page);
    pen.fillRect(...box);
    pen.beginPath();
    for (let i = 3; i < ring.length; i += 3) pen.lineTo(ring[i], ring[i + 1]);
    pen.fillStyle = css(colours.floor);
    pen.fill();
    for (let i = 0; i < n; i++) {
      const [ax, ay, ra, bx, by, rb, r, g, b, kind] = data.subarray(i * STRIDE, (i + 1) * STRIDE), colour = [r, g, b];
      line(ax, ay, bx, by, ra + rb, kind ? mix(colour, [0, 0, 0], 0.38) : colour);
      if (!kind) continue;
      const up = (ra + rb) * 0.14;
      line(ax, ay, bx, by, ra + rb - 2.4 * sharp, colour);
      line(ax - up, ay - up, bx - up, by - up, (ra + rb) * 0.4, mix(colour, [1, 1, 1], 0.28));
    }
    pen.restore();
  };
  return { name: "canvas", paint, free: () => {} };
}

// The page around the drawing

const write = (where, text) => { if (where.textContent !== text) where.textContent = text; }; // layout costs time
const element = (name, more = {}, ...children) => {
  const made = Object.assign(document.createElement(name), more);
  made.append(...children);
  return made;
};

export async function mount(el, scene, told = () => {}) {
  let values = await decode(scene);
  const state = { t: scene.still, playing: false, speed: 1, loop: true, zoom: 1, theme: scene.theme, follow: scene.follow };
  [state.azimuth, state.elevation] = scene.view;
  const mains = () => scene.names.length - (scene.truth ? 1 : 0);
  state.apart = mains() > 1;
  const sharp = Math.min(window.devicePixelRatio || 1, 2);
  let fit, painter, canvas, colours, picture, middles, stopped, loads = 0;

  // Which bodies stand in which panel, the last in front; the camera follows `lead`.
  const panels = () => {
    const last = scene.names.length - 1, all = scene.names.map((_, body) => ({ body, ghost: body > 0 }));
    if (!state.apart) return [{ bodies: all.reverse(), lead: scene.truth ? last : 0, name: "" }];
    const ghosts = scene.truth && mains() > 1 ? all.splice(last) : [];
    return all.map(({ body }) => ({ bodies: [...ghosts, { body, ghost: false }], lead: body, name: scene.names[body] }));
  };
  const value = (body, point, axis, t) => values[((body * scene.points + point) * 3 + axis) * scene.frames + t];
  const place = (body, point, t) => [0, 1, 2].map((axis) => value(body, point, axis, t));
  const follows = (lead, t) => {
    if (!state.follow) return middles[lead];
    const first = Math.floor(t), next = Math.min(first + 1, scene.frames - 1);
    return mix(place(lead, scene.points - 1, first), place(lead, scene.points - 1, next), t - first);
  };

  // Distance and aim such that every frame just fills its panel, seen from here.
  const refit = () => {
    const rows = axes(state.azimuth, state.elevation), shown = panels();
    const aspect = stage.clientWidth / shown.length / Math.max(stage.clientHeight, 1);
    const reach = [[-1e9, -1e9], [-1e9, -1e9]], stride = Math.ceil(scene.frames / 200);
    for (const { bodies, lead } of shown)
      for (let t = 0; t < scene.frames; t += stride) {
        const aim = follows(lead, t);
        for (const { body } of bodies)
          for (let point = 0; point < scene.points - 1; point++) {
            const p = place(body, point, t).map((v, axis) => v - aim[axis]);
            if (Number.isNaN(p[0])) continue;
            const back = dot(p, rows[2]);
            [FIELD * aspect, FIELD].forEach((field, i) => {
              const side = dot(p, rows[i]), more = back * field + MARGIN;
              reach[i] = [Math.max(reach[i][0], side + more), Math.max(reach[i][1], more - side)];
            });
          }
      }
    const shift = reach.map(([high, low]) => (high - low) / 2);
    fit = {
      aside: [0, 1, 2].map((axis) => shift[0] * rows[0][axis] + shift[1] * rows[1][axis]),
      distance: Math.max((reach[0][0] + reach[0][1]) / 2 / (FIELD * aspect), (reach[1][0] + reach[1][1]) / 2 / FIELD),
    };
  };

  // Controls
  const button = (text, act, title = "") => element("button", { type: "button", textContent: text, title, onclick: act });
  const refresh = () => (refit(), wake());
  const pressed = (name, text, title) => {
    const made = button(text, () => { made.ariaPressed = state[name] = !state[name]; refresh(); }, title);
    made.ariaPressed = state[name];
    return made;
  };
  const view = (text, azimuth, elevation, title) =>
    button(text, () => { Object.assign(state, { azimuth: scene.front + azimuth, elevation, zoom: 1 }); refresh(); }, title);
  const root = element("div", { className: "m3d", tabIndex: 0, role: "group" });
  root.setAttribute("aria-label", scene.alt);
  root.style.height = `${scene.height}px`;
  const stage = element("div", { className: "stage" });
  const play = element("button", { type: "button", className: "play", title: "space" });
  const slider = element("input", { type: "range", min: 0, step: 1 });
  slider.setAttribute("aria-label", "time");
  const track = element("div", { className: "track" }, slider), output = element("output");
  const speed = element("select", { title: "speed" });
  [0.1, 0.25, 0.5, 1, 2].forEach((v) => speed.append(element("option", { value: v, textContent: `${v}× speed`, selected: v === 1 })));
  const loop = pressed("loop", "Loop"), follow = pressed("follow", "Follow", "the camera goes along with the body");
  const apart = pressed("apart", "Side by side", "or overlaid");
  const theme = button("", () => { state.theme = state.theme === "dark" ? "light" : "dark"; dress(); wake(); }, "colours");
  const views = element("div", {}, view("Front", 0, 0.07), view("Side", Math.PI / 2, 0.07, "from the body's left"),
    view("Top", 0, 1.55), button("Fit", () => { state.zoom = 1; refresh(); }, "fill the panel"));
  const names = element("div", { className: "names" }), legend = element("ul"), words = element("div"), time = element("div", { className: "time" }, play, track, output);
  root.append(element("header", {}, words, legend), names, stage,
    element("footer", {}, time, views, element("div", {}, speed, loop), element("div", { className: "end" }, follow, apart, theme)));
  el.replaceChildren(root);

  const dress = () => {
    const hex = scene.themes[state.theme];
    for (const [name, colour] of Object.entries(hex)) root.style.setProperty(`--${name}`, colour);
    colours = Object.fromEntries(Object.entries(hex).map(([name, colour]) => [name, rgb(colour)]));
    const sides = Object.keys(scene.sides);
    colours.solid = Object.fromEntries(sides.map((side) => [side, colours[side]]));
    colours.pale = Object.fromEntries(sides.map((side) => [side, mix(colours[side], colours.page, 0.55)]));
    theme.textContent = state.theme === "dark" ? "Light" : "Dark";
    const entries = sides.map((side) => [scene.sides[side], hex[side]]);
    if (scene.truth) entries.push(["truth (pale)", css(colours.pale.centre)]);
    legend.replaceChildren(...entries.map(([text, colour]) => {
      const item = element("li", { textContent: text });
      item.style.setProperty("--c", colour);
      return item;
    }));
  };
  const prepare = () => { // after the poses have changed
    dress();
    words.replaceChildren(element("h3", { textContent: scene.lines[0] }), element("p", { textContent: scene.lines.slice(1).join("  ·  ") }));
    picture = new Picture(600 + 2 * scene.names.length * scene.parts.length);
    picture.sharp = sharp;
    middles = scene.names.map((_, body) => {
      const sum = [0, 0, 0];
      for (let t = 0; t < scene.frames; t++) place(body, scene.points - 1, t).forEach((v, axis) => { sum[axis] += v / scene.frames; });
      return sum;
    });
    slider.max = scene.frames - 1;
    apart.hidden = scene.names.length < 2;
    time.hidden = speed.hidden = loop.hidden = scene.frames < 2;
    const marks = [], span = Math.max(scene.frames - 1, 1), rate = scene.fps / scene.stride;
    const mark = (name, from, width, textContent = "") => {
      const made = element(name, { textContent });
      made.style.cssText = `left:${(100 * from) / span}%;width:${(100 * width) / span}%`;
      marks.push(made);
    };
    mark("i", 0, span);
    const empty = (t) => scene.names.some((_, body) => {
      for (let j = 0; j < scene.joints; j++) if (!Number.isNaN(value(body, j, 0, t))) return false;
      return true;
    });
    for (let t = 0, start = -1; t <= scene.frames; t++) {
      const gap = t < scene.frames && empty(t);
      if (gap && start < 0) start = t;
      if (!gap && start >= 0) (mark("s", start, Math.min(t, span) - start), (start = -1));
    }
    const seconds = span / rate, tick = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300, 1200, 6000].find((v) => seconds / v <= 10) || seconds;
    for (let s = 0; s <= seconds + 1e-6; s += tick) mark("b", s * rate, 0, `${+s.toFixed(2)} s`);
    track.querySelectorAll("i, s, b").forEach((old) => old.remove());
    track.prepend(...marks); // the slider stays: it may be under the pointer
  };

  // Mean joint distance to the truth in millimetres, or NaN.
  const error = (body, t) => {
    const last = scene.names.length - 1;
    let sum = 0, count = 0;
    for (let j = 0; j < scene.joints; j++) {
      const true_ = place(last, j, t), off = Math.hypot(...place(body, j, t).map((v, axis) => v - true_[axis]));
      if (!Number.isNaN(off)) (sum += off), count++;
    }
    return (1000 * sum) / count;
  };

  // Drawing: only while visible, and only when something has changed. Browsers allow few WebGL contexts in a page.
  let labels = [], asked = 0, visible = true, last = 0, clock = 0, drawn = 0;
  const open = () => {
    if (painter) return;
    canvas = element("canvas");
    stage.prepend(canvas);
    painter = webglPainter(canvas);
    if (!painter) {
      canvas.replaceWith((canvas = element("canvas")));
      painter = flatPainter(canvas);
    }
    root.dataset.painter = painter.name;
  };
  const close = () => {
    if (!painter) return;
    draw();
    stage.style.backgroundImage = `url(${canvas.toDataURL()})`;
    painter.free();
    canvas.remove();
    painter = null;
  };
  const draw = () => {
    const [w, h] = [stage.clientWidth, stage.clientHeight];
    if (!w || !h || !colours) return;
    open();
    if (canvas.width !== Math.round(w * sharp) || canvas.height !== Math.round(h * sharp)) {
      [canvas.width, canvas.height] = [Math.round(w * sharp), Math.round(h * sharp)];
      refit();
    }
    const shown = panels(), wide = w / shown.length, whole = Math.floor(state.t);
    const rows = axes(state.azimuth, state.elevation), distance = fit.distance / state.zoom;
    if (labels.length !== shown.length) {
      labels = shown.map(() => element("span"));
      names.replaceChildren(...labels);
      names.hidden = shown.length < 2;
      return wake(); // the stage has changed its size
    }
    let missing = false;
    shown.forEach(({ bodies, lead, name }, i) => {
      const aim = follows(lead, state.t);
      const eye = aim.map((v, axis) => v + fit.aside[axis] + rows[2][axis] * distance);
      const parts = capsules(scene, values, bodies, state.t, colours);
      const left = Math.round(i * wide * sharp), right = Math.round((i + 1) * wide * sharp);
      picture.start([left, 0, right - left, canvas.height], rows, eye);
      picture.floor(aim, scene.floor, Math.min(Math.max(1.3, 0.42 * fit.distance), 0.8 * distance), colours.hair);
      picture.bodies(parts, scene.floor, colours.shadow);
      painter.paint(picture, colours);
      const far = scene.truth && name !== "truth" ? error(bodies.at(-1).body, whole) : NaN;
      if (!parts.length) missing = true;
      const note = !parts.length ? "no joint" : far >= 0 ? `${far.toFixed(0)} mm` : "";
      write(labels[i], [name, note].filter(Boolean).join("  ·  "));
    });
    const single = scene.truth && mains() === 1 ? error(0, whole) : NaN, number = whole * scene.stride;
    const total = (scene.frames - 1) * scene.stride;
    write(output, `${(number / scene.fps).toFixed(2)} s  ·  frame ${number} of ${total}` + (single >= 0 ? `  ·  ${single.toFixed(0)} mm` : missing ? "  ·  no joint" : ""));
    if (+slider.value !== whole) slider.value = whole;
    write(play, state.playing ? "Pause" : "Play");
    root.dataset.frame = number;
    root.dataset.drawn = ++drawn;
    root.dataset.first ??= performance.now().toFixed(1);
  };
  const step = (now) => {
    asked = 0;
    if (stopped) return;
    if (!visible) return close();
    if (now - last < 7) return wake(); // sandboxed frames are called once for every visible one
    last = now;
    if (state.playing) {
      const end = scene.frames - 1;
      state.t += (Math.min(Math.max(now - clock, 0), 250) / 1000) * (scene.fps / scene.stride) * state.speed;
      clock = now;
      if (state.t > end) state.t = state.loop ? (state.t - end) % Math.max(end, 1) : end;
      if (state.t >= end && !state.loop) state.playing = false;
      told({ frame: Math.floor(state.t), playing: state.playing });
      wake();
    }
    draw();
  };
  const wake = () => { asked ||= requestAnimationFrame(step); };
  const seek = (t, quiet) => {
    state.t = Math.min(Math.max(Math.floor(t), 0), scene.frames - 1);
    if (!quiet) told({ frame: state.t, playing: state.playing });
    wake();
  };
  const setPlaying = (on, quiet) => {
    if (on === state.playing || scene.frames < 2) return;
    state.playing = on;
    clock = performance.now();
    if (on && state.t >= scene.frames - 1) state.t = 0;
    if (!on) state.t = Math.floor(state.t);
    if (!quiet) told({ frame: Math.floor(state.t), playing: on });
    wake();
  };

  play.onclick = () => setPlaying(!state.playing);
  slider.oninput = () => (setPlaying(false), seek(+slider.value));
  speed.onchange = () => { state.speed = +speed.value; };
  root.onkeydown = (event) => {
    const big = event.shiftKey ? 10 : 1, end = scene.frames - 1;
    const act = {
      " ": () => setPlaying(!state.playing),
      ArrowRight: () => (setPlaying(false), seek(state.t + big)),
      ArrowLeft: () => (setPlaying(false), seek(state.t - big)),
      Home: () => seek(0),
      End: () => seek(end),
    }[event.key];
    if (!act || (event.key === " " && event.target.tagName === "BUTTON" && event.target !== play) || event.target === speed) return;
    event.preventDefault();
    act();
  };
  stage.onpointerdown = (event) => {
    root.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
  };
  stage.onpointermove = (event) => {
    if (!stage.hasPointerCapture(event.pointerId)) return;
    state.azimuth -= event.movementX * 0.008;
    state.elevation = Math.min(Math.max(state.elevation + event.movementY * 0.008, -0.3), 1.55);
    wake();
  };
  const wheel = (event) => {
    if (!root.matches(":focus-within")) return; // else the page scrolls
    event.preventDefault();
    state.zoom = Math.min(Math.max(state.zoom * Math.exp(-event.deltaY * 0.0015), 0.3), 8);
    wake();
  };
  stage.addEventListener("wheel", wheel, { passive: false });
  const seen = new IntersectionObserver((entries) => { visible = entries.at(-1).isIntersecting; wake(); });
  const sized = new ResizeObserver(() => wake());
  prepare();
  seen.observe(root);
  sized.observe(stage);
  wake();

  return {
    seek: (t) => seek(t, true),
    setPlaying: (on) => setPlaying(on, true),
    async load(next) { // other poses, same viewpoint
      const mine = ++loads, decoded = await decode(next);
      if (mine < loads) return; // newer ones are on their way
      const alike = "" + next.names === "" + scene.names && next.truth === scene.truth, old = fit;
      [scene, values] = [next, decoded];
      if (scene.frames <= state.t) state.t = 0;
      if (!alike) apart.ariaPressed = state.apart = mains() > 1;
      prepare();
      refresh();
      if (alike && old && Math.abs(fit.distance / old.distance - 1) < 0.15) fit = old; // no jitter
    },
    free() {
      stopped = true;
      seen.disconnect();
      sized.disconnect();
      painter?.free();
    },
  };
}

async function render({ model, el }) {
  let sent = 0;
  const told = ({ frame, playing }) => {
    const now = performance.now();
    if (playing && now - sent < 100) return;
    sent = now;
    model.set("frame", frame);
    model.set("playing", playing);
    model.save_changes();
  };
  const viewer = await mount(el, model.get("scene"), told);
  const heard = {
    "change:scene": () => viewer.load(model.get("scene")),
    "change:frame": () => model.get("playing") || viewer.seek(model.get("frame")),
    "change:playing": () => viewer.setPlaying(model.get("playing")),
  };
  for (const [name, act] of Object.entries(heard)) model.on(name, act);
  viewer.setPlaying(model.get("playing"));
  return () => {
    for (const [name, act] of Object.entries(heard)) model.off(name, act);
    viewer.free();
  };
}

export default { render };
