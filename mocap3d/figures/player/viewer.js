// The viewer of the player: bodies of capsules in motion, in WebGL 2 or, without it, on a 2D canvas.
// `mount(element, scene)` starts it in a page; the default export is the same viewer as an anywidget.
// World: metres, z up. Screen: right = up x back, so nothing is mirrored. raster.py draws the same picture in Python.

const { floor, min, max, ceil, round, hypot, cos, sin } = Math;
const FIELD = Math.tan((14 * Math.PI) / 180); // of half the field of view
const MARGIN = 0.13; // metres kept free around the joints
const MISSING = -32768;
const LIGHT = [0.16, -0.1]; // metres a shadow moves per metre of height

// Coordinates: base64 -> inflate -> high and low bytes -> zigzag -> two sums in time -> a function that gives a point of
// a body at a time, which may lie between two frames; NaN where missing.
async function decode({ data, low, step, points }, T) {
  const packed = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = bytes.length / 2, axes = low.length, values = new Float32Array(count);
  for (let start = 0, series = 0; start < count; start += T, series++) {
    let speed = 0, place = 0;
    for (let i = start; i < start + T; i++) {
      const z = (bytes[i] << 8) | bytes[count + i];
      speed = (speed + ((z >>> 1) ^ -(z & 1))) | 0;
      place = ((place + speed) << 16) >> 16;
      values[i] = place === MISSING ? NaN : low[series % axes] + (place + 32000) * step;
    }
  }
  return (body, point, t) => {
    const first = floor(t), next = min(first + 1, T - 1), share = t - first;
    return low.map((_, axis) => {
      const i = ((body * points + point) * axes + axis) * T;
      return share ? values[i + first] * (1 - share) + values[i + next] * share : values[i + first];
    });
  };
}

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
const mix = (a, b, share) => a.map((x, i) => x + (b[i] - x) * share);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const css = (c) => `rgb(${c.map((x) => round(255 * x)).join()})`;

// Rows: right, up, and back towards the eye.
function axes(azimuth, elevation) {
  const [c, s, ce, se] = [cos(azimuth), sin(azimuth), cos(elevation), sin(elevation)];
  return [[-s, c, 0], [-c * se, -s * se, ce], [c * ce, s * ce, se]];
}

// One panel as a list of what to paint, in order, in pixels of the canvas: a floor, then capsules from far to near.
// A capsule: x, y, radius at both ends, colour, kind (0 flat, 1 round), opacity at both ends, colour of the second end.
const STRIDE = 16, ROW = 16; // numbers of a capsule, capsules in a row of the texture

class Picture {
  constructor(most) {
    this.data = new Float32Array(ceil(most / ROW) * ROW * STRIDE);
  }
  start([x, y, w, h], rows, eye) {
    Object.assign(this, { box: [x, y, w, h], rows, eye, n: 0 });
  }
  project(p) { // -> x, y, pixels per metre
    const [x, y, w, h] = this.box, d = p.map((v, i) => v - this.eye[i]);
    const scale = h / 2 / FIELD / max(-dot(d, this.rows[2]), 0.05);
    return [x + w / 2 + dot(d, this.rows[0]) * scale, y + h / 2 - dot(d, this.rows[1]) * scale, scale];
  }
  add(a, ra, b, rb, colour, kind, alphaA = 1, alphaB = 1, other = colour) {
    if ((this.n + 1) * STRIDE > this.data.length) return;
    this.data.set([a[0], a[1], ra, b[0], b[1], rb, ...colour, kind, alphaA, alphaB, ...other], this.n++ * STRIDE);
  }
  // A round floor around what the camera follows; its grid stands still in the world.
  floor(aim, height, reach, hair) {
    this.near = (p) => min(1, (reach - hypot(p[0] - aim[0], p[1] - aim[1])) / (0.3 * reach)); // fades outwards
    this.ring = [...this.project([aim[0], aim[1], height]).slice(0, 2), 3];
    for (let k = 0; k <= 64; k++) {
      const turn = (k * Math.PI) / 32, edge = [aim[0] + reach * cos(turn), aim[1] + reach * sin(turn), height];
      this.ring.push(...this.project(edge).slice(0, 2), 0);
    }
    const step = reach < 4 ? 0.5 : ceil(reach / 10), thin = max(0.5, this.sharp * 0.5);
    for (const axis of [0, 1])
      for (let v = ceil((aim[axis] - reach) / step) * step; v < aim[axis] + reach; v += step) {
        const half = Math.sqrt(reach * reach - (v - aim[axis]) ** 2);
        for (const side of [-half, half])
          this.line([0, 0.6 * side, side].map((s) => (axis ? [aim[0] + s, v, height] : [v, aim[1] + s, height])), thin, hair, this.near);
      }
  }
  line(points, thin, colour, alpha) {
    points.map((p, k) => [this.project(p), alpha(p, k)]).reduce(([a, from], [b, to]) => {
      if (from > 0 || to > 0) this.add(a, thin, b, thin, colour, 0, max(from, 0), max(to, 0));
      return [b, to];
    });
  }
  bodies(capsules, height, shadow) {
    const down = (p) => this.project([p[0] + (p[2] - height) * LIGHT[0], p[1] + (p[2] - height) * LIGHT[1], height]);
    if (this.rows[2][2] > -0.02)
      for (const { a, ra, b, rb } of capsules) {
        const [sa, sb] = [down(a), down(b)];
        this.add(sa, ra * sa[2], sb, rb * sb[2], shadow, 0);
      }
    for (const one of capsules)
      one.far = hypot(...one.a.map((v, i) => (v + one.b[i]) / 2 - this.eye[i])) - (one.ra + one.rb) / 4;
    capsules.sort((one, two) => two.far - one.far);
    for (const { a, ra, b, rb, colour, other } of capsules) {
      const [pa, pb] = [this.project(a), this.project(b)];
      this.add(pa, ra * pa[2], pb, rb * pb[2], colour, 1, 1, 1, other);
    }
  }
}

// WebGL 2: each capsule is a rectangle facing the eye, shaded and smoothed where it is drawn. The list is a texture, as
// instances are slow where the processor draws.
const VERTEX = `#version 300 es
uniform highp sampler2D list; uniform vec2 size;
out vec2 at; flat out vec4 shape; flat out vec3 tint, last; flat out vec2 turn, fade;
void main() {
  int k = gl_VertexID / 6, n = int[6](0, 1, 2, 2, 1, 3)[gl_VertexID % 6];
  ivec2 place = ivec2(k % 16 * 4, k / 16);
  vec4 p0 = texelFetch(list, place, 0), p1 = texelFetch(list, place + ivec2(1, 0), 0);
  vec4 p2 = texelFetch(list, place + ivec2(2, 0), 0), p3 = texelFetch(list, place + ivec2(3, 0), 0);
  vec3 a = p0.xyz, b = vec3(p0.w, p1.xy), look = p2.yzw;
  vec2 d = b.xy - a.xy, corner = vec2(n & 1, n / 2 * 2 - 1);
  float far = length(d), wide = max(a.z, b.z) + 1.0;
  turn = far > 0.001 ? d / far : vec2(1, 0);
  at = vec2(mix(-a.z - 1.0, far + b.z + 1.0, corner.x), corner.y * wide);
  vec2 p = a.xy + turn * at.x + vec2(-turn.y, turn.x) * at.y;
  shape = vec4(far, a.z, b.z, look.x);
  tint = vec3(p1.zw, p2.x);
  last = p3.xyz;
  fade = look.yz;
  gl_Position = vec4(p / size * vec2(2, -2) + vec2(-1, 1), 0, 1);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec2 at; flat in vec4 shape; flat in vec3 tint, last; flat in vec2 turn, fade; uniform float sharp; out vec4 result;
void main() {
  float along = clamp(at.x / max(shape.x, 0.001), 0.0, 1.0), radius = mix(shape.y, shape.z, along);
  vec2 off = at - vec2(along * shape.x, 0);
  float inside = radius - length(off);
  float alpha = clamp(inside + 0.5, 0.0, 1.0) * mix(fade.x, fade.y, along);
  if (alpha <= 0.0) discard;
  vec3 colour = mix(tint, last, along);
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
  const ring = gl.createBuffer(), spot = gl.getAttribLocation(ground, "spot");
  gl.bindBuffer(gl.ARRAY_BUFFER, ring);
  gl.vertexAttribPointer(spot, 3, gl.FLOAT, false, 0, 0);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  gl.enable(gl.SCISSOR_TEST);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  const use = (of) => {
    gl.useProgram(of);
    gl.uniform2f(gl.getUniformLocation(of, "size"), canvas.width, canvas.height);
  };
  const paint = ({ box: [x, y, w, h], data, n, ring: spots, sharp }, colours) => {
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.scissor(x, canvas.height - y - h, w, h);
    gl.clearColor(...colours.page, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    use(ground);
    gl.enableVertexAttribArray(spot);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(spots), gl.STREAM_DRAW);
    gl.uniform3fv(gl.getUniformLocation(ground, "colour"), colours.floor);
    gl.drawArrays(gl.TRIANGLE_FAN, 0, 66);
    use(limbs);
    gl.disableVertexAttribArray(spot);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 4 * ROW, ceil(n / ROW), 0, gl.RGBA, gl.FLOAT, data);
    gl.uniform1f(gl.getUniformLocation(limbs, "sharp"), 1.3 * sharp);
    gl.drawArrays(gl.TRIANGLES, 0, 6 * n);
  };
  return { name: "webgl", paint, free: () => gl.getExtension("WEBGL_lose_context")?.loseContext() };
}

// Without WebGL, and for the 2D view: the same list as thick lines on a 2D canvas, over an image if there is one.
function flatPainter(canvas) {
  const pen = canvas.getContext("2d", { alpha: false });
  const line = (ax, ay, bx, by, width, colours) => {
    pen.strokeStyle = css(colours[0]);
    if ("" + colours[0] !== "" + colours[1]) {
      pen.strokeStyle = pen.createLinearGradient(ax, ay, bx, by);
      colours.forEach((colour, i) => pen.strokeStyle.addColorStop(i, css(colour)));
    }
    pen.lineWidth = max(width, 0.5);
    pen.beginPath();
    pen.moveTo(ax, ay);
    pen.lineTo(bx + 0.01, by);
    pen.stroke();
  };
  const paint = ({ box, data, n, ring, sharp }, colours, image) => {
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
    if (image?.complete) pen.drawImage(image, ring[3], ring[4], ring[9] - ring[3], ring[10] - ring[4]);
    for (let i = 0; i < n; i++) {
      const [ax, ay, ra, bx, by, rb, r, g, b, kind, fade, other, ...last] = data.subarray(i * STRIDE, i * STRIDE + 15);
      const shade = (to, share) => [[r, g, b], last].map((colour) => mix(colour, to, share));
      pen.globalAlpha = (fade + other) / 2;
      line(ax, ay, bx, by, ra + rb, shade([0, 0, 0], kind * 0.38));
      if (!kind) continue;
      const up = (ra + rb) * 0.14;
      line(ax, ay, bx, by, ra + rb - 2.4 * sharp, shade([0, 0, 0], 0));
      line(ax - up, ay - up, bx - up, by - up, (ra + rb) * 0.4, shade([1, 1, 1], 0.28));
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

const div = (className, ...children) => element("div", { className }, ...children);

export async function mount(el, scene, told = () => {}) {
  const decoded = async (next) => [await decode(next, next.frames), next.flat && (await decode(next.flat, next.frames))];
  let [place, spot] = await decoded(scene); // metres; pixels of the 2D view
  const state = { t: scene.still, playing: false, speed: 1, loop: true, zoom: 1, theme: scene.theme, follow: scene.follow };
  Object.assign(state, { errors: scene.colour === "error", cameras: true, trails: false });
  [state.azimuth, state.elevation] = scene.view;
  const last = () => scene.names.length - 1, mains = () => last() + (scene.truth ? 0 : 1);
  state.apart = mains() > 1;
  const sharp = min(window.devicePixelRatio || 1, 2);
  let fit, painter, canvas, colours, picture, sheet, images, middles, paths, hover, stopped, loads = 0;

  // Which bodies stand in which panel, the last in front; the camera follows `lead`.
  const panels = () => {
    const all = scene.names.map((_, body) => ({ body, ghost: body > 0 }));
    if (!state.apart) return [{ bodies: all.reverse(), lead: scene.truth ? last() : 0, name: "" }];
    const ghosts = scene.truth && mains() > 1 ? all.splice(last()) : [];
    return all.map(({ body }) => ({ bodies: [...ghosts, { body, ghost: false }], lead: body, name: scene.names[body] }));
  };
  const follows = (lead, t) => (state.follow ? place(lead, scene.points - 1, t) : middles[lead]);
  const frusta = () => state.cameras ? scene.cameras : [];

  // A point's distance to the truth in millimetres, its mean over the joints, and its colour.
  const error = (body, point, t) => {
    const true_ = place(last(), point, t);
    return 1000 * hypot(...place(body, point, t).map((v, axis) => v - true_[axis]));
  };
  const meanError = (body, t) => {
    const known = scene.labels.map((_, joint) => error(body, joint, t)).filter((v) => !isNaN(v));
    return known.reduce((a, b) => a + b, 0) / known.length;
  };
  const heat = (mm) => {
    const steps = colours.heat.length - 1, x = min(mm / scene.most, 1) * steps, i = min(floor(x), steps - 1);
    return isNaN(mm) ? colours.centre : mix(colours.heat[i], colours.heat[i + 1], x - i);
  };
  const limbs = (bodies, t) => {
    const found = [];
    for (const { body, ghost } of bodies)
      for (const [from, to, ra, rb, side] of scene.parts) {
        const a = place(body, from, t), b = place(body, to, t), thick = scene.sizes[body] * (ghost ? 0.8 : 1);
        if (isNaN(a[0] + b[0])) continue;
        const tint = (point) => {
          if (!state.errors || !scene.truth) return (ghost ? colours.pale : colours)[side];
          return ghost || body === last() ? colours.pale.centre : heat(error(body, point, t));
        };
        found.push({ a, b, ra: ra * thick, rb: rb * thick, colour: tint(from), other: tint(to) });
      }
    return found;
  };

  // Distance and aim such that every frame just fills its panel, seen from here.
  const refit = () => {
    const rows = axes(state.azimuth, state.elevation), shown = panels();
    const aspect = stage.clientWidth / shown.length / max(stage.clientHeight, 1);
    const reach = [[-1e9, -1e9], [-1e9, -1e9]], stride = ceil(scene.frames / 200);
    for (const { bodies, lead } of shown)
      for (let t = 0; t < scene.frames; t += stride) {
        const aim = follows(lead, t);
        const hold = (point) => {
          const p = point.map((v, axis) => v - aim[axis]), back = dot(p, rows[2]);
          if (!isNaN(back))
            [FIELD * aspect, FIELD].forEach((field, i) => {
              const side = dot(p, rows[i]), more = back * field + MARGIN;
              reach[i] = [max(reach[i][0], side + more), max(reach[i][1], more - side)];
            });
        };
        for (const { body } of bodies) for (let point = 0; point < scene.points - 1; point++) hold(place(body, point, t));
        frusta().forEach(({ lines }) => lines.flat().forEach(hold));
      }
    const shift = reach.map(([high, low]) => (high - low) / 2);
    fit = {
      aside: [0, 1, 2].map((axis) => shift[0] * rows[0][axis] + shift[1] * rows[1][axis]),
      distance: max((reach[0][0] + reach[0][1]) / 2 / (FIELD * aspect), (reach[1][0] + reach[1][1]) / 2 / FIELD),
    };
  };

  // Controls
  const button = (text, act, title = "") => element("button", { type: "button", textContent: text, title, onclick: act });
  const refresh = () => (refit(), wake());
  const pressed = (name, text, title) => {
    const made = button(text, () => { made.ariaPressed = state[name] = !state[name]; dress(); refresh(); }, title);
    made.ariaPressed = state[name];
    return made;
  };
  const view = (text, azimuth, elevation, title) =>
    button(text, () => { Object.assign(state, { azimuth: scene.front + azimuth, elevation, zoom: 1 }); refresh(); }, title);
  const root = element("div", { className: "m3d", tabIndex: 0, role: "group", ariaLabel: scene.alt });
  root.style.height = `${scene.height}px`;
  const stage = div("stage");
  const play = Object.assign(button("", () => setPlaying(!state.playing), "space"), { className: "play" });
  const slider = element("input", { type: "range", min: 0, step: 1, ariaLabel: "time" });
  const track = div("track", slider), output = element("output");
  const speed = element("select", { title: "speed" });
  [0.1, 0.25, 0.5, 1, 2].forEach((v) => speed.append(element("option", { value: v, textContent: `${v}× speed`, selected: v === 1 })));
  const loop = pressed("loop", "Loop"), follow = pressed("follow", "Follow", "the camera goes along with the body");
  const apart = pressed("apart", "Side by side", "or overlaid");
  const errors = pressed("errors", "Errors", "colour by the distance to the truth");
  const trails = pressed("trails", "Trails", "the way of hands, feet and head"), cameras = pressed("cameras", "Cameras");
  const theme = button("", () => { state.theme = state.theme === "dark" ? "light" : "dark"; dress(); wake(); }, "colours");
  const views = div("", view("Front", 0, 0.07), view("Side", Math.PI / 2, 0.07, "from the body's left"),
    view("Top", 0, 1.55), button("Fit", () => { state.zoom = 1; refresh(); }, "fill the panel"));
  const names = div("names"), legend = element("ul"), words = element("div"), time = div("time", play, track, output);
  const page = element("canvas"), caption = element("span"), tip = element("small", { hidden: true });
  const flat = div("flat", div("names", caption), div("sheet", page));
  const main = element("main", {}, div("", names, stage), flat, tip), flatPaint = flatPainter(page).paint;
  root.append(element("header", {}, words, legend), main,
    element("footer", {}, time, views, div("", speed, loop), div("end", errors, trails, cameras, follow, apart, theme)));
  el.replaceChildren(root);

  const dress = () => {
    const hex = scene.themes[state.theme];
    for (const [name, colour] of Object.entries(hex)) root.style.setProperty(`--${name}`, colour);
    colours = Object.fromEntries(Object.entries(hex).map(([name, colour]) => [name, rgb(colour)]));
    const sides = Object.keys(scene.sides);
    colours.pale = Object.fromEntries(sides.map((side) => [side, mix(colours[side], colours.page, 0.55)]));
    theme.textContent = state.theme === "dark" ? "Light" : "Dark";
    colours.heat = scene.heat.map(rgb);
    const heated = state.errors && scene.truth, entries = heated && !spot ? [] : sides.map((side) => [scene.sides[side], hex[side]]);
    if (scene.truth) entries.push(["truth (pale)", css(colours.pale.centre)]);
    if (heated) entries.push([`error, 0 to ${scene.most} mm`, `linear-gradient(90deg,${scene.heat})`, "bar"]);
    legend.replaceChildren(...entries.map(([textContent, colour, className = ""]) => {
      const item = element("li", { textContent, className });
      item.style.setProperty("--c", colour);
      return item;
    }));
  };
  const prepare = () => { // after the poses have changed
    dress();
    words.replaceChildren(element("h3", { textContent: scene.lines[0] }), element("p", { textContent: scene.lines.slice(1).join("  ·  ") }));
    [picture, sheet] = [3000 + 2 * scene.names.length * scene.parts.length, 500].map((most) => Object.assign(new Picture(most), { sharp }));
    middles = scene.names.map((_, body) => {
      const sum = [0, 0, 0];
      for (let t = 0; t < scene.frames; t++) place(body, scene.points - 1, t).forEach((v, axis) => { sum[axis] += v / scene.frames; });
      return sum;
    });
    paths = scene.names.map((_, body) => Array.from({ length: 61 }, (_, k) =>
      [...place(body, scene.path ?? 0, (k / 60) * (scene.frames - 1)).slice(0, 2), scene.floor]));
    flat.hidden = !spot;
    if (spot) {
      const { crop, title } = scene.flat;
      images = scene.flat.images.map((data) => element("img", { src: `data:image/jpeg;base64,${data}`, onload: () => wake() }));
      flat.style.flexBasis = `${min(12 + 24 * (crop[2] - crop[0]) / (crop[3] - crop[1]), 45)}%`;
      write(caption, title);
    }
    errors.hidden = !scene.truth;
    cameras.hidden = !scene.cameras.length;
    slider.max = scene.frames - 1;
    apart.hidden = scene.names.length < 2;
    time.hidden = speed.hidden = loop.hidden = trails.hidden = scene.frames < 2;
    const marks = [], span = max(scene.frames - 1, 1), rate = scene.fps / scene.stride;
    const mark = (name, from, width, textContent = "") => {
      const made = element(name, { textContent });
      made.style.cssText = `left:${(100 * from) / span}%;width:${(100 * width) / span}%`;
      marks.push(made);
    };
    mark("i", 0, span);
    const empty = (t) => scene.names.some((_, body) => scene.labels.every((_, joint) => isNaN(place(body, joint, t)[0])));
    for (let t = 0, start = -1; t <= scene.frames; t++) {
      const gap = t < scene.frames && empty(t);
      if (gap && start < 0) start = t;
      if (!gap && start >= 0) (mark("s", start, min(t, span) - start), (start = -1));
    }
    const seconds = span / rate, tick = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300, 1200, 6000].find((v) => seconds / v <= 6) || seconds;
    for (let s = 0; s <= seconds + 1e-6; s += tick) mark("b", s * rate, 0, `${+s.toFixed(2)} s`);
    track.querySelectorAll("i, s, b").forEach((old) => old.remove());
    track.prepend(...marks); // the slider stays: it may be under the pointer
  };

  // Drawing: only while visible, and only when something has changed. Browsers allow few WebGL contexts in a page.
  let titles = [], asked = 0, visible = true, before = 0, clock = 0, drawn = 0;
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
  const resized = (sheet, w, h) => {
    const [width, height] = [round(w * sharp), round(h * sharp)];
    return (sheet.width !== width || sheet.height !== height) && Object.assign(sheet, { width, height });
  };
  // The joint nearest to the pointer, among points drawn in a part of the player.
  let nearest;
  const offer = (where, [x, y], ...text) => {
    const far = hover && hypot(where.offsetLeft + x / sharp - hover[0], where.offsetTop + y / sharp - hover[1]);
    if (far < nearest.far) nearest = { far, text: text.filter(Boolean).join("  ·  ") };
  };
  const drawFlat = () => {
    resized(page, page.clientWidth, page.clientHeight);
    const { size: [W, H], crop: [left, top, right, bottom], parts, labels, every } = scene.flat, { width, height } = page;
    const scale = min(width / (right - left), height / (bottom - top));
    const to = ([x, y]) => [width / 2 + (x - (left + right) / 2) * scale, height / 2 + (y - (top + bottom) / 2) * scale];
    const edge = [[0, 0], [W, 0], [W, H], [0, H]].map(to), thin = 0.6 * sharp;
    Object.assign(sheet, { box: [0, 0, width, height], ring: [0, 0, 0, ...edge.flatMap((p) => [...p, 0])], n: 0 });
    edge.forEach((p, i) => sheet.add(p, thin, edge[(i + 1) % 4], thin, colours.faint, 0));
    for (const [from, to_, ra, rb, side] of parts) {
      const [a, b] = [from, to_].map((point) => to(spot(0, point, state.t)));
      if (!isNaN(a[0] + b[0])) sheet.add(a, ra * scale, b, rb * scale, colours[side], 1);
    }
    flatPaint(sheet, colours, images[floor(state.t / every)]);
    labels.forEach((label, joint) => {
      const p = spot(0, joint, state.t);
      offer(page, to(p), label, `${p.map((v) => v.toFixed(0)).join(", ")} px`);
    });
  };
  const draw = () => {
    const [w, h] = [stage.clientWidth, stage.clientHeight];
    if (!w || !h || !colours) return;
    open();
    if (resized(canvas, w, h)) refit();
    const shown = panels(), wide = w / shown.length, whole = floor(state.t), rate = scene.fps / scene.stride;
    const rows = axes(state.azimuth, state.elevation), distance = fit.distance / state.zoom;
    if (titles.length !== shown.length || names.hidden !== (shown.length < 2 && !spot)) {
      titles = shown.map(() => element("span"));
      names.replaceChildren(...titles);
      names.hidden = shown.length < 2 && !spot;
      return wake(); // the stage has changed its size
    }
    nearest = { far: hover ? 14 : 0 }; // pixels
    let missing = false;
    shown.forEach(({ bodies, lead, name }, i) => {
      const aim = follows(lead, state.t);
      const eye = aim.map((v, axis) => v + fit.aside[axis] + rows[2][axis] * distance);
      const parts = limbs(bodies, state.t);
      const left = round(i * wide * sharp), right = round((i + 1) * wide * sharp);
      picture.start([left, 0, right - left, canvas.height], rows, eye);
      picture.floor(aim, scene.floor, min(max(1.3, 0.42 * fit.distance), 0.8 * distance), colours.hair);
      for (const { body, ghost } of bodies) {
        const now = (60 * state.t) / (scene.frames - 1);
        if (scene.path !== null) picture.line(paths[body], sharp, colours[ghost ? "shadow" : "faint"], (p, k) => picture.near(p) * (k > now ? 0.4 : 1));
        if (state.trails && !ghost) for (const [joint, side] of scene.tips) {
          const way = Array.from({ length: 25 }, (_, k) => place(body, joint, max(state.t - (1 - k / 24) * rate, 0)));
          picture.line(way, 1.5 * sharp, colours[state.errors && !spot ? "faint" : side], (_, k) => k / 24);
        }
        if (hover) scene.labels.forEach((label, joint) => {
          const far = scene.truth && body !== last() ? error(body, joint, whole) : NaN;
          offer(stage, picture.project(place(body, joint, state.t)), label, last() && scene.names[body], far >= 0 && `${far.toFixed(0)} mm`);
        });
      }
      for (const { name, lines, colour } of frusta()) {
        offer(stage, picture.project(lines[0][0]), name);
        for (const line of lines) picture.line(line, 1.2 * sharp, rgb(colour), () => 1);
      }
      picture.bodies(parts, scene.floor, colours.shadow);
      painter.paint(picture, colours);
      const far = scene.truth && name !== "truth" ? meanError(bodies.at(-1).body, whole) : NaN;
      if (!parts.length) missing = true;
      const note = !parts.length ? "no joint" : far >= 0 ? `${far.toFixed(0)} mm` : "";
      write(titles[i], [name || "3D", note].filter(Boolean).join("  ·  "));
    });
    if (spot) drawFlat();
    tip.hidden = !nearest.text;
    if (nearest.text) {
      write(tip, nearest.text);
      tip.style.cssText = `left:${max(0, min(hover[0], main.clientWidth - tip.offsetWidth))}px;top:${hover[1] - 40}px`;
    }
    const single = scene.truth && mains() === 1 ? meanError(0, whole) : NaN, number = whole * scene.stride;
    const total = (scene.frames - 1) * scene.stride;
    write(output, `${(number / scene.fps).toFixed(2)} s  ·  frame ${number} of ${total}` + (single >= 0 ? `  ·  ${single.toFixed(0)} mm` : missing ? "  ·  no joint" : ""));
    if (+slider.value !== whole) slider.value = whole;
    write(play, state.playing ? "Pause" : "Play");
    root.dataset.frame = number;
    root.dataset.drawn = ++drawn;
    root.dataset.first ??= performance.now().toFixed(1);
  };
  const tell = () => told({ frame: floor(state.t), playing: state.playing });
  const step = (now) => {
    asked = 0;
    if (stopped) return;
    if (!visible) return close();
    if (now - before < 7) return wake(); // sandboxed frames are called once for every visible one
    before = now;
    if (state.playing) {
      const end = scene.frames - 1;
      state.t += (min(max(now - clock, 0), 250) / 1000) * (scene.fps / scene.stride) * state.speed;
      clock = now;
      if (state.t > end) state.t = state.loop ? (state.t - end) % max(end, 1) : end;
      if (state.t >= end && !state.loop) state.playing = false;
      tell();
      wake();
    }
    draw();
  };
  const wake = () => { asked ||= requestAnimationFrame(step); };
  const seek = (t, quiet) => {
    state.t = min(max(floor(t), 0), scene.frames - 1);
    if (!quiet) tell();
    wake();
  };
  const setPlaying = (on, quiet) => {
    if (on === state.playing || scene.frames < 2) return;
    state.playing = on;
    clock = performance.now();
    if (on && state.t >= scene.frames - 1) state.t = 0;
    if (!on) state.t = floor(state.t);
    if (!quiet) tell();
    wake();
  };

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
  // One finger, or the mouse, turns; two fingers zoom.
  const fingers = new Map();
  const apartness = () => {
    const [a, b] = [...fingers.values()];
    return hypot(a[0] - b[0], a[1] - b[1]);
  };
  const zoom = (factor) => { state.zoom = min(max(state.zoom * factor, 0.3), 8); wake(); };
  stage.onpointerdown = (event) => {
    root.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  };
  stage.onpointermove = ({ pointerId, clientX, clientY }) => {
    const old = fingers.get(pointerId), wide = fingers.size === 2 && apartness();
    if (!old) return;
    fingers.set(pointerId, [clientX, clientY]);
    if (wide) return zoom(apartness() / wide);
    state.azimuth -= (clientX - old[0]) * 0.008;
    state.elevation = min(max(state.elevation + (clientY - old[1]) * 0.008, -0.3), 1.55);
  };
  stage.onlostpointercapture = (event) => fingers.delete(event.pointerId);
  main.onpointermove = main.onpointerdown = (event) => {
    const box = main.getBoundingClientRect();
    hover = fingers.size && event.pointerType === "mouse" ? null : [event.clientX - box.left, event.clientY - box.top];
    wake();
  };
  main.onpointerleave = () => { hover = null; wake(); };
  const wheel = (event) => {
    if (!root.matches(":focus-within")) return; // else the page scrolls
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.0015));
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
      const mine = ++loads, found = await decoded(next);
      if (mine < loads) return; // newer ones are on their way
      const alike = "" + next.names === "" + scene.names && next.truth === scene.truth, old = fit;
      [scene, [place, spot]] = [next, found];
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
      el.replaceChildren();
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
  let viewer = await mount(el, model.get("scene"), told);
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
    viewer = null; // who holds this function holds nothing
  };
}

export default { render };
