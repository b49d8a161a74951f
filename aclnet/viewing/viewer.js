"use strict";
// Draws every .skeleton-view of the page from the JSON inside it, and others that a page asks for:
// `skeletonView(root, data)` fills an element, `skeletonStrip(form, layout, turn)` draws
// poses side by side. `Camera.project` of camera.py computes the same places.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];
  const LINE = 13; // pixels between two names
  const POSES = 6; // poses of a strip
  const CELL = 100; // height of a pose of a strip
  const KEYS =
    "Drag or Shift+arrows: turn. + and -: zoom. Space: play. Left and right arrow, Home, End: " +
    "frames. N: names. R: first view.";

  function element(parent, tag, values = {}) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(values)) {
      if (name === "text") made.textContent = value;
      else made.setAttribute(name, value);
    }
    parent.append(made);
    return made;
  }

  // Coordinates from base64: float32, or int16 in steps.
  function coordinates(text, step) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return step
      ? Float32Array.from({ length: bytes.length / 2 }, (_, i) => step * view.getInt16(2 * i, true))
      : Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  class Form {
    constructor(data, layout) {
      Object.assign(this, layout, data);
      this.values = coordinates(data.values, data.step);
      this.row = new Map(data.frame.map((number, row) => [number, row]));
      this.flat = this.coordinates === 2;
    }

    // Position of a joint in its own space, null if it is not there.
    joint(person, row, joint) {
      const C = this.coordinates;
      const at = ((person * this.frame.length + row) * this.joints.length + joint) * C;
      const place = this.values.subarray(at, at + C);
      return place.some((value) => value !== 0) ? place : null;
    }

    // The row of a frame; with `wait`, the last row up to it. Undefined if there is none.
    rowOf(number, wait) {
      if (!wait || this.row.has(number)) return this.row.get(number);
      const row = this.frame.findLastIndex((own) => own < number);
      return row < 0 ? undefined : row;
    }

    // Positions of a person's joints in the space of a camera, null where one is not there.
    places(person, row, camera, turn) {
      return this.joints.map((_, j) => {
        const joint = this.joint(person, row, j);
        return joint && project(camera, joint, turn);
      });
    }
  }

  // [right, up, near] in units of the camera's radius.
  function project(camera, place, turn) {
    const from = Array.from(place, (value, c) => (value - camera.centre[c]) / camera.radius);
    const [x, y, z] = camera.base.map((row) => row.reduce((sum, b, c) => sum + b * from[c], 0));
    return turned(x, y, z, place.length === 2 ? { azimuth: 0, elevation: 0 } : turn);
  }

  function turned(x, y, z, { azimuth, elevation }) {
    const right = x * Math.cos(azimuth) - z * Math.sin(azimuth);
    const near = x * Math.sin(azimuth) + z * Math.cos(azimuth);
    const up = y * Math.cos(elevation) - near * Math.sin(elevation);
    return [right, up, near * Math.cos(elevation) + y * Math.sin(elevation)];
  }

  class Viewer {
    constructor(root, data) {
      this.root = root;
      this.data = data;
      this.forms = data.forms.map((form) => new Form(form, data.layouts[form.layout]));
      this.frames = [...new Set(this.forms.flatMap((form) => form.frame))].sort((a, b) => a - b);
      this.first = { azimuth: data.azimuth, elevation: data.elevation };
      this.turn = { ...this.first };
      this.zoom = 1;
      this.at = 0;
      this.speed = 1;
      this.playing = false;
      this.names = false;
      this.pointed = null;
      this.build();
      this.watch();
    }

    // Draws again when the size or the colours change, and the strips for a printer.
    watch() {
      const again = () => this.draw();
      this.sizes = new ResizeObserver(again);
      this.sizes.observe(this.root);
      this.themes = new MutationObserver(again);
      this.themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
      this.closing = new AbortController();
      const { signal } = this.closing;
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again, { signal });
      window.addEventListener("beforeprint", () => this.drawStrips(), { signal });
    }

    // Stops everything that would outlive the element.
    close() {
      this.playing = false;
      this.sizes.disconnect();
      this.themes.disconnect();
      this.closing.abort();
    }

    build() {
      const { root, data } = this;
      if (data.title) element(root, "h2", { text: data.title });
      const facts = Object.entries(data.facts).map(([name, value]) => `${name}: ${value}`);
      if (facts.length) element(root, "p", { class: "facts", text: facts.join(" · ") });
      const forms = element(root, "div", { class: "forms" });
      this.canvases = this.forms.map((form) => this.panel(forms, form));
      this.controls(element(root, "div", { class: "controls" }));
      const legend = element(root, "div", { class: "legend" });
      const groups = new Map(this.forms.flatMap((form) => form.groups.map((g) => [g.name, g])));
      for (const { name, colour } of groups.values()) {
        element(legend, "span", { text: name, style: `--colour: var(--joint-${colour})` });
      }
      if (this.forms.some((form) => form.behind !== null)) {
        element(legend, "span", { text: "before the change", style: "--colour: var(--behind)" });
      }
      for (const remark of data.remarks) element(root, "p", { class: "remark", text: remark });
      element(root, "p", { class: "keys", text: KEYS });
      root.addEventListener("keydown", (event) => this.key(event));
    }

    panel(parent, form) {
      const figure = element(parent, "figure", { class: "form" });
      const caption = element(figure, "figcaption", { text: form.title });
      element(caption, "small", { text: form.note });
      const label = [this.data.title, form.title].filter(Boolean).join(": ");
      const canvas = element(figure, "canvas", { tabindex: 0, role: "img", "aria-label": label });
      let last = null;
      canvas.addEventListener("pointerdown", (event) => {
        last = event;
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointerup", () => { last = null; });
      canvas.addEventListener("pointercancel", () => { last = null; });
      canvas.addEventListener("pointerleave", () => this.point(null));
      canvas.addEventListener("pointermove", (event) => {
        if (last) this.rotate(0.01 * (last.clientX - event.clientX), 0.01 * (event.clientY - last.clientY));
        else this.point({ form, x: event.offsetX, y: event.offsetY });
        if (last) last = event;
      });
      canvas.addEventListener("wheel", (event) => {
        if (!event.ctrlKey) return; // the page scrolls; a pinch on a touchpad has ctrlKey
        event.preventDefault();
        this.scale(Math.exp(-0.01 * event.deltaY));
      }, { passive: false });
      element(figure, "div", { class: "strip" });
      return canvas;
    }

    controls(bar) {
      this.playButton = element(bar, "button", { type: "button", class: "play", text: "Play" });
      this.playButton.addEventListener("click", () => this.play(!this.playing));
      this.slider = element(bar, "input", {
        type: "range", min: 0, max: this.frames.length - 1, value: 0, "aria-label": "Frame",
      });
      this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
      this.place = element(bar, "span", { class: "place" });
      const speed = element(bar, "select", { "aria-label": "Speed" });
      for (const value of SPEEDS) {
        const option = element(speed, "option", { value, text: `speed ${value}` });
        option.selected = value === 1;
      }
      speed.addEventListener("change", () => { this.speed = Number(speed.value); });
      this.namesButton = element(bar, "button", {
        type: "button", text: "Joint names", "aria-pressed": "false",
      });
      this.namesButton.addEventListener("click", () => this.showNames(!this.names));
      for (const [text, factor] of [["-", 0.8], ["+", 1.25]]) {
        const label = factor < 1 ? "Zoom out" : "Zoom in";
        const button = element(bar, "button", { type: "button", text, "aria-label": label });
        button.addEventListener("click", () => this.scale(factor));
      }
      const reset = element(bar, "button", { type: "button", text: "First view" });
      reset.addEventListener("click", () => this.reset());
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const typed = event.key;
      const inControl = ["BUTTON", "SELECT", "INPUT"].includes(event.target.tagName);
      if (inControl && (typed === " " || typed === "Enter" || typed.startsWith("Arrow"))) return;
      const step = 0.1;
      const turns = {
        ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step],
      };
      const actions = {
        " ": () => this.play(!this.playing),
        ArrowLeft: () => this.go(this.at - 1),
        ArrowRight: () => this.go(this.at + 1),
        Home: () => this.go(0),
        End: () => this.go(this.frames.length - 1),
        "+": () => this.scale(1.25),
        "=": () => this.scale(1.25),
        "-": () => this.scale(0.8),
        n: () => this.showNames(!this.names),
        r: () => this.reset(),
      };
      const action = event.shiftKey && turns[typed]
        ? () => this.rotate(...turns[typed])
        : actions[typed.length === 1 ? typed.toLowerCase() : typed];
      if (!action) return;
      event.preventDefault();
      action();
    }

    rotate(azimuth, elevation) {
      const most = Math.PI / 2;
      this.turn.azimuth += azimuth;
      this.turn.elevation = Math.max(-most, Math.min(most, this.turn.elevation + elevation));
      this.draw();
    }

    scale(factor) {
      this.zoom = Math.max(0.2, Math.min(20, this.zoom * factor));
      this.draw();
    }

    reset() {
      this.turn = { ...this.first };
      this.zoom = 1;
      this.draw();
    }

    showNames(names) {
      this.names = names;
      this.namesButton.setAttribute("aria-pressed", String(names));
      this.draw();
    }

    point(pointed) {
      if (pointed === this.pointed) return;
      this.pointed = pointed;
      this.draw();
    }

    go(at) {
      this.at = Math.max(0, Math.min(this.frames.length - 1, at));
      this.draw();
    }

    play(playing) {
      this.playing = playing;
      this.playButton.textContent = playing ? "Pause" : "Play";
      let last = null;
      let passed = 0;
      const tick = (now) => {
        if (!this.playing || !this.root.isConnected) return;
        passed += last === null ? 0 : ((now - last) / 1000) * this.data.fps * this.speed;
        last = now;
        const steps = Math.floor(passed);
        passed -= steps;
        if (steps) this.go((this.at + steps) % this.frames.length);
        requestAnimationFrame(tick);
      };
      if (playing) requestAnimationFrame(tick);
    }

    draw() {
      const number = this.frames[this.at];
      this.slider.value = this.at;
      const seconds = this.data.timed ? `, ${(number / this.data.fps).toFixed(2)} s` : "";
      const last = this.frames[this.frames.length - 1];
      this.place.textContent = `frame ${number} of ${this.frames[0]}-${last}${seconds}`;
      this.slider.setAttribute("aria-valuetext", this.place.textContent);
      const style = getComputedStyle(this.root);
      const colour = (name) => style.getPropertyValue(`--${name}`).trim();
      this.forms.forEach((form, n) => this.drawForm(form, this.canvases[n], number, colour));
    }

    drawForm(form, canvas, number, colour) {
      const size = canvas.clientWidth;
      const ratio = window.devicePixelRatio || 1;
      if (!size) return;
      canvas.width = canvas.height = Math.round(size * ratio);
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      pen.clearRect(0, 0, size, size);
      pen.lineCap = "round";
      pen.font = "11px system-ui, sans-serif";
      const widths = form.joints.map((name) => pen.measureText(short(name)).width);
      const beside = this.names ? Math.min(Math.max(...widths) + 8, 0.3 * size) : 4;
      const scale = (size / 2 - 0.6 * beside) * this.zoom;
      const place = ([x, y, z]) => [size / 2 + x * scale, size / 2 - y * scale, z];
      if (form.floor !== null) this.drawFloor(form, pen, place, colour("floor"));
      const row = form.rowOf(number, this.data.separate);
      const put = (joints) => joints.map((joint) => joint && place(joint));
      const behind = form.behind === null ? null : this.forms[form.behind];
      const before = behind?.row.get(number);
      if (before !== undefined) {
        for (let m = 0; m < behind.persons; m++) {
          const joints = put(behind.places(m, before, form, this.turn));
          this.drawBones(behind, joints, pen, () => colour("behind"), 2);
        }
      }
      const over = number > form.frame[form.frame.length - 1];
      if (row === undefined || over) {
        pen.fillStyle = colour("soft");
        pen.textAlign = "center";
        pen.fillText(row === undefined ? "not in this form" : "at its end", size / 2, 16);
      }
      if (row === undefined) return;
      let main = null;
      for (let m = 0; m < form.persons; m++) {
        const joints = put(form.places(m, row, form, this.turn));
        if (joints.every((joint) => joint === null)) continue;
        main ??= joints;
        const hue = (joint) => colour(`joint-${form.colour[joint]}`);
        this.drawBones(form, joints, pen, hue, m ? 1.6 : 2.6);
        this.drawJoints(joints, pen, hue, m > 0, colour("ground"));
        if (form.persons > 1) drawNumber(joints, m + 1, pen, colour("text"));
        this.drawPointed(form, joints, pen, colour);
      }
      if (this.names && main) drawNames(form, main, pen, size, colour, beside);
    }

    drawStrips() {
      this.root.querySelectorAll(".strip").forEach((holder, n) => {
        holder.replaceChildren(drawStrip(this.forms[n], this.turn));
      });
    }

    drawBones(form, joints, pen, hue, width) {
      pen.lineWidth = width;
      const bones = form.bones.filter(([a, b]) => joints[a] && joints[b]);
      bones.sort((one, other) => joints[one[0]][2] - joints[other[0]][2]);
      for (const [child, parent] of bones) {
        pen.strokeStyle = hue(child);
        pen.beginPath();
        pen.moveTo(joints[child][0], joints[child][1]);
        pen.lineTo(joints[parent][0], joints[parent][1]);
        pen.stroke();
      }
    }

    drawJoints(joints, pen, hue, hollow, ground) {
      const radius = joints.length > 60 ? 1.2 : 2.8;
      joints.forEach((joint, j) => {
        if (!joint) return;
        pen.beginPath();
        pen.arc(joint[0], joint[1], radius, 0, 2 * Math.PI);
        pen.fillStyle = hollow ? ground : hue(j);
        pen.fill();
        pen.lineWidth = 1.2;
        pen.strokeStyle = hue(j);
        pen.stroke();
      });
    }

    drawPointed(form, joints, pen, colour) {
      if (!this.pointed || this.pointed.form !== form) return;
      const distance = (joint) =>
        joint ? Math.hypot(joint[0] - this.pointed.x, joint[1] - this.pointed.y) : Infinity;
      const nearest = joints.reduce((best, joint, j) =>
        distance(joint) < distance(joints[best]) ? j : best, 0);
      if (distance(joints[nearest]) > 12) return;
      const [x, y] = joints[nearest];
      const text = form.joints[nearest];
      const width = pen.measureText(text).width;
      const left = Math.max(2, Math.min(x + 8, pen.canvas.clientWidth - width - 8));
      pen.fillStyle = colour("ground");
      pen.fillRect(left - 3, y - 22, width + 6, 16);
      pen.fillStyle = colour("text");
      pen.textAlign = "left";
      pen.textBaseline = "alphabetic";
      pen.fillText(text, left, y - 10);
    }

    drawFloor(form, pen, place, colour) {
      pen.strokeStyle = colour;
      pen.lineWidth = 1;
      const half = 0.8;
      const y = form.floor / form.radius;
      for (let n = -4; n <= 4; n++) {
        for (const flip of [false, true]) {
          const ends = [-half, half].map((end) => {
            const [x, z] = flip ? [(n * half) / 4, end] : [end, (n * half) / 4];
            return place(turned(x, y, z, this.turn));
          });
          pen.beginPath();
          pen.moveTo(ends[0][0], ends[0][1]);
          pen.lineTo(ends[1][0], ends[1][1]);
          pen.stroke();
        }
      }
    }
  }

  // Poses at equal distances side by side, among the frames with somebody. Colours follow the theme.
  function drawStrip(form, turn) {
    const rows = [...form.frame.keys()].filter((row) =>
      peopleOf(form).some((m) => form.joints.some((_, j) => form.joint(m, row, j))));
    const poses = Math.min(POSES, rows.length);
    const chosen = Array.from({ length: poses }, (_, n) =>
      rows[Math.round((n * (rows.length - 1)) / Math.max(1, poses - 1))]);
    const shown = chosen.map((row) => peopleOf(form).map((m) => form.places(m, row, form, turn)));
    const far = Math.max(0.3, ...shown.flat(2).map((joint) => Math.abs(joint?.[0] ?? 0)));
    const width = CELL * Math.min(1, far + 0.08);
    const viewBox = `0 0 ${(POSES * width).toFixed(1)} ${CELL + 8}`;
    const picture = svg("svg", { viewBox, "aria-hidden": "true" });
    shown.forEach((people, n) => {
      const middle = (n + 0.5) * width;
      people.forEach((joints, m) => picture.append(...drawPose(form, joints, m, middle)));
      const number = svg("text", { x: middle, y: CELL + 6, "text-anchor": "middle" });
      number.textContent = form.frame[chosen[n]];
      picture.append(number);
    });
    return picture;
  }

  const peopleOf = (form) => [...Array(form.persons).keys()];

  function svg(tag, values) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(values)) made.setAttribute(name, value);
    return made;
  }

  // A path for the bones of each colour.
  function drawPose(form, joints, person, middle) {
    const half = CELL / 2;
    const place = ([x, y]) => `${(middle + x * half).toFixed(1)} ${(half - y * half).toFixed(1)}`;
    const lines = new Map();
    for (const [child, parent] of form.bones) {
      if (!joints[child] || !joints[parent]) continue;
      const colour = form.colour[child];
      const line = `M${place(joints[child])}L${place(joints[parent])}`;
      lines.set(colour, (lines.get(colour) ?? "") + line);
    }
    return [...lines].map(([colour, d]) => svg("path", {
      d, fill: "none", stroke: `var(--joint-${colour})`, "stroke-width": person ? 1.1 : 1.8,
      "stroke-linecap": "round",
    }));
  }

  function short(name) {
    return name.length > 18 ? `${name.slice(0, 17)}…` : name;
  }

  // The number of a person, above the highest joint.
  function drawNumber(joints, number, pen, colour) {
    const top = joints.filter((joint) => joint).reduce((a, b) => (b[1] < a[1] ? b : a));
    pen.fillStyle = colour;
    pen.textAlign = "center";
    pen.textBaseline = "bottom";
    pen.fillText(number, top[0] + 9 * (number - 1), top[1] - 5);
  }

  // Names at both edges, from top to bottom, each with a line to its joint: none covers another.
  function drawNames(form, joints, pen, size, colour, beside) {
    const there = joints.flatMap((joint, j) => (joint ? [{ j, x: joint[0], y: joint[1] }] : []));
    there.sort((a, b) => a.x - b.x);
    const room = Math.floor((size - 8) / LINE);
    const half = Math.ceil(there.length / 2);
    pen.textBaseline = "middle";
    for (const [side, names] of [["left", there.slice(0, half)], ["right", there.slice(half)]]) {
      const shown = names.slice(0, room).sort((a, b) => a.y - b.y);
      const heights = spread(shown.map(({ y }) => y), size);
      shown.forEach(({ j, x, y }, n) => {
        const edge = side === "left" ? beside - 4 : size - beside + 4;
        pen.strokeStyle = colour("line");
        pen.lineWidth = 0.7;
        pen.beginPath();
        pen.moveTo(edge, heights[n]);
        pen.lineTo(x, y);
        pen.stroke();
        pen.fillStyle = colour("text");
        pen.textAlign = side === "left" ? "right" : "left";
        const text = short(form.joints[j]);
        const at = edge + (side === "left" ? -2 : 2);
        pen.strokeStyle = colour("ground");
        pen.lineWidth = 3;
        pen.strokeText(text, at, heights[n]);
        pen.fillText(text, at, heights[n]);
      });
    }
  }

  // Ascending heights, moved apart to a line each, about their middle and inside the picture.
  function spread(heights, size) {
    const moved = [];
    heights.forEach((y, n) => moved.push(n ? Math.max(y, moved[n - 1] + LINE) : y));
    const shift = heights.reduce((sum, y, n) => sum + moved[n] - y, 0) / (heights.length || 1);
    const [first, last] = [moved[0] - shift, moved[moved.length - 1] - shift];
    const inside = Math.max(8 - first, Math.min(0, size - 8 - last));
    return moved.map((y) => y - shift + inside);
  }

  globalThis.skeletonView = (root, data) => {
    const viewer = new Viewer(root, data);
    viewer.draw();
    return viewer;
  };
  globalThis.skeletonStrip = (form, layout, turn) => drawStrip(new Form(form, layout), turn);
  const start = () => document.querySelectorAll(".skeleton-view > script").forEach((script) => {
    const root = script.parentElement;
    if (root.dataset.drawn) return;
    root.dataset.drawn = "yes";
    skeletonView(root, JSON.parse(script.textContent));
  });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
