"use strict";
// Draws the charts of a report from the JSON in the page. All text is set as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const COLOURS = 10;

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }
  const el = (tag, attributes, ...children) =>
    fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    fill(document.createElementNS(SVG, tag), attributes, children);
  const text = (x, y, anchor, words, more) =>
    svg("text", { x, y, "text-anchor": anchor, ...more }, words);
  const colour = (number) => (number ? `var(--c${((number - 1) % COLOURS) + 1})` : "var(--grey)");
  // Math.max(...values) fails for about 125,000 values.
  const largest = (values, least) => values.reduce((a, b) => Math.max(a, b), least);
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const cut = (words, longest) =>
    words.length > longest ? `${words.slice(0, longest - 1).trimEnd()}…` : words;
  const number = (value) => {
    if (value === null || value === undefined) return "–";
    if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
    return String(Number(value.toPrecision(4)));
  };

  // Draws again when the width of the container changes.
  function responsive(container, draw) {
    let width = 0;
    const again = () => {
      const now = Math.floor(container.clientWidth);
      if (now > 0 && now !== width) draw((width = now));
    };
    new ResizeObserver(again).observe(container);
    again();
  }

  function choice(label, options, change) {
    const list = el("select", { onchange: () => change(list.value) });
    for (const [value, words] of options) list.append(el("option", { value }, words));
    return el("label", {}, label, list);
  }

  function ticks(low, high, count) {
    const raw = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
    const found = [];
    for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + step * 1e-6; t += step)
      found.push(Number(t.toPrecision(12)));
    return found;
  }

  // ---- skeletons --------------------------------------------------------------------------------
  const { layouts, forms } = data.sequences;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // The examples of a run. A sequence that is on the page beside others is an example by itself.
  function examplesOf(run) {
    const found = run.skeletons.examples || [];
    const own = new Map(found.map((one) => [one.id, one]));
    return {
      all: found,
      pair: (a, b) => found.filter((one) => one.true !== one.predicted
        && [one.true, one.predicted].sort().join() === [a, b].sort().join()),
      // one row of the confusion matrix's samples
      of: ([id, true_, predicted, score]) => own.get(id)
        || (forms[run.skeletons.prefix + id] && { id, true: true_, predicted, score,
          forms: [["sample", id]] }),
    };
  }

  function caption({ labels: { names } }, { true: own, predicted }) {
    return own === predicted ? `${names[own]}, recognised`
      : `${names[own]}, taken for ${names[predicted]}`;
  }

  function roleOf(run, example, role) {
    const [own, answer] = [example.true, example.predicted].map((c) => run.labels.names[c]);
    if (role === "recognised") return `${answer}, recognised`;
    if (role === "wrong") return `nearest: ${answer}`;
    if (role === "right") return `nearest of ${own}`;
    return caption(run, example);
  }

  // Data for the viewer. The sequences are different ones, so each starts at frame 0.
  function viewOf(run, example) {
    const found = example.forms.map(([role, id]) => [role, id, forms[run.skeletons.prefix + id]]);
    const cut = found.filter(([, , form]) => form.frame.length < form.length);
    return {
      title: "", facts: {}, ...data.turn, separate: true, layouts,
      fps: found[0][2].fps, timed: found[0][2].timed,
      remarks: cut.map(([, id, form]) =>
        `${id}: the first ${form.frame.length} of ${form.length} frames.`),
      forms: found.map(([role, id, form]) => ({ ...form, title: roleOf(run, example, role),
        note: id, frame: form.frame.map((number_) => number_ - form.frame[0]) })),
    };
  }

  // Shows examples one at a time in a holder, beginning with one of them; nothing without one.
  function look(holder, run, examples, first, { play = false, focus = false } = {}) {
    holder.viewer?.close();
    holder.replaceChildren();
    if (!first) return;
    const root = el("div", { class: "skeleton-view" });
    const step = (by) => {
      const next = examples[(examples.indexOf(first) + by + examples.length) % examples.length];
      look(holder, run, examples, next, { play });
      holder.querySelector(by < 0 ? ".previous" : ".next").focus();
    };
    const button = (name, by) =>
      el("button", { type: "button", class: name, onclick: () => step(by) }, name);
    const choice_ = examples.length < 2 ? [] : [button("previous", -1),
      el("span", { "aria-live": "polite" },
        `${examples.indexOf(first) + 1} of ${examples.length}`), button("next", 1)];
    holder.append(el("div", { class: "frame", tabindex: -1, role: "region",
      "aria-label": `Skeletons of ${first.id}` },
    el("div", { class: "controls" }, el("code", {}, first.id),
      el("span", {}, `${run.confusion.score} ${first.score.toFixed(2)}`), ...choice_), root));
    holder.viewer = skeletonView(root, viewOf(run, first));
    if (play && !calm.matches) holder.viewer.play(true);
    if (!focus) return;
    holder.firstElementChild.focus({ preventScroll: true });
    holder.scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" });
  }

  function skeletons(container) {
    const run = data.runs[container.dataset.of], { names } = run.labels;
    const { all } = examplesOf(run);
    const holder = el("div", { class: "looks" });
    const list = el("ol", { class: "strips" });
    const scroll = el("div", { class: "scroll tall", tabindex: 0, role: "region",
      "aria-label": "Sequences with skeletons" }, list);
    const pairs = new Map();
    for (const one of all) {
      const pair = [one.true, one.predicted].sort((a, b) => a - b);
      if (pair[0] !== pair[1]) pairs.set(pair.join(), pair);
    }
    const cards = all.map((one) => {
      const form = forms[run.skeletons.prefix + one.id];
      return el("li", {}, el("button", { type: "button", class: "skeleton-view",
        onclick: () => choose(one) },
      skeletonStrip(form, layouts[form.layout], data.turn),
      el("span", {}, caption(run, one)),
      el("small", {}, `${one.id}, ${one.score.toFixed(2)}`)));
    });
    let shown = all;
    const choose = (one) => look(holder, run, shown, one, { play: true, focus: true });
    const select = (value) => {
      const pair = pairs.get(value);
      shown = pair ? examplesOf(run).pair(...pair) : all;
      list.replaceChildren(...cards.filter((_, i) => shown.includes(all[i])));
      look(holder, run, shown, shown[0]);
    };
    container.append(el("div", { class: "controls" }, choice("Pair", [["", "all"],
      ...[...pairs].map(([value, pair]) => [value, pair.map((c) => names[c]).join(" and ")])],
    select)), holder, scroll);
    select("");
  }

  // Buttons of tables that open skeletons below the table.
  function lookButtons() {
    for (const button of document.querySelectorAll("button.look[data-id], button.look[data-pair]")) {
      const holder = button.closest(".scroll").nextElementSibling;
      const run = data.runs[holder.dataset.of];
      const { all, pair } = examplesOf(run);
      const { id, pair: classes } = button.dataset;
      button.addEventListener("click", () => {
        const shown = classes ? pair(...classes.split(",").map(Number)) : all;
        const first = classes ? shown[0] : all.find((one) => one.id === id);
        look(holder, run, shown, first, { play: true, focus: true });
      });
    }
  }

  // ---- lines ------------------------------------------------------------------------------------
  // spec: title, x, xLabel, yLabel, series [{name, values, colour}], marks [{x, words}], share
  function lines(container, spec) {
    const figure = el("figure", {}, el("figcaption", {}, spec.title));
    const legend = el("div", { class: "legend" });
    const holder = el("div");
    figure.append(legend, holder);
    container.append(figure);
    const shown = spec.share ? percent : number;
    let at = spec.x.length - 1;

    function tell() {
      legend.replaceChildren(
        el("span", {}, `${spec.xLabel} ${number(spec.x[at])}`),
        ...spec.series.map((one) =>
          el("span", {},
            el("span", { class: "swatch", style: `background:${one.colour}` }),
            `${one.name} ${one.values[at] === null ? "–" : shown(one.values[at])}`)),
      );
    }

    responsive(holder, (width) => {
      const height = 220, left = 46, right = 12, top = 32, bottom = 40;
      const values = spec.series.flatMap((one) => one.values).filter((v) => v !== null);
      let low = -largest(values.map((v) => -v), 0), high = largest(values, 0);
      if (high === low) high = low + 1;
      high += 0.04 * (high - low);
      if (spec.share) [low, high] = [0, 1];
      const [first, last] = [spec.x[0], spec.x[spec.x.length - 1]];
      const X = (v) => first === last ? (left + width - right) / 2
        : left + ((v - first) / (last - first)) * (width - left - right);
      const Y = (v) => height - bottom - ((v - low) / (high - low)) * (height - top - bottom);
      const grid = svg("g", { class: "grid" });
      const chart = svg("svg", {
        width, height, viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img",
        "aria-label": `${spec.title} by ${spec.xLabel}. Arrow keys read the values.`,
      }, grid);
      for (const t of ticks(low, high, 4)) {
        grid.append(svg("line", { x1: left, x2: width - right, y1: Y(t), y2: Y(t) }),
          text(left - 6, Y(t) + 4, "end", spec.share ? `${Math.round(100 * t)}` : number(t)));
      }
      const steps = spec.integers ? ticks(first, last, Math.min(8, (width - left) / 45))
        .filter(Number.isInteger) : spec.x;
      for (const t of steps) grid.append(text(X(t), height - bottom + 16, "middle", number(t)));
      grid.append(text((left + width - right) / 2, height - 6, "middle", spec.xLabel),
        text(left - 40, 10, "start", spec.yLabel));
      const marks = new Map();
      for (const mark of spec.marks || [])
        marks.set(mark.x, [...(marks.get(mark.x) || []), mark.words]);
      for (const [x, words] of marks) {
        const right_half = X(x) > width * 0.6;
        chart.append(
          svg("line", { x1: X(x), x2: X(x), y1: top, y2: height - bottom, stroke: "var(--muted)",
            "stroke-dasharray": "4 3" }),
          text(X(x) + (right_half ? 4 : -4), top - 5, right_half ? "end" : "start",
            words.join(", ")));
      }
      for (const one of spec.series) {
        let path = "";
        one.values.forEach((v, i) => {
          if (v === null) return;
          const joined = i > 0 && one.values[i - 1] !== null;
          path += `${joined ? "L" : "M"}${X(spec.x[i]).toFixed(1)} ${Y(v).toFixed(1)}`;
          if (one.values.length <= 30)
            chart.append(svg("circle", { cx: X(spec.x[i]), cy: Y(v), r: 2.2, fill: one.colour }));
        });
        chart.append(svg("path", { d: path, fill: "none", stroke: one.colour, "stroke-width": 1.8,
          "stroke-linejoin": "round" }));
      }
      const cursor = svg("line", { y1: top, y2: height - bottom, stroke: "var(--grey)", x1: -9,
        x2: -9 });
      chart.append(cursor);
      const move = (to, seen = true) => {
        at = Math.max(0, Math.min(spec.x.length - 1, to));
        const x = seen ? X(spec.x[at]) : -9;
        cursor.setAttribute("x1", x);
        cursor.setAttribute("x2", x);
        tell();
      };
      chart.addEventListener("pointermove", (event) => {
        const x = event.clientX - chart.getBoundingClientRect().left;
        const far = spec.x.map((v) => Math.abs(X(v) - x));
        move(far.indexOf(-largest(far.map((v) => -v), -Infinity)));
      });
      chart.addEventListener("pointerleave", () => move(spec.x.length - 1, false));
      chart.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
        if (by === undefined) return;
        event.preventDefault();
        move(at + by);
      });
      holder.replaceChildren(chart);
    });
    tell();
  }

  const NAMES = {
    loss: "loss", cross_entropy: "cross-entropy", inter: "inter-class term",
    intra: "intra-class term", triplet: "triplet term", accuracy: "training",
    eval_accuracy: "validation", eval_rank1: "validation rank-1", eval_mAP: "validation mAP",
    in_family: "samples with a family", lr: "learning rate",
  };

  function curves(container) {
    const found = data.runs[container.dataset.of].curves;
    const marks = Object.entries(found.starts).filter(([, epoch]) => epoch > found.epochs[0])
      .map(([term, epoch]) => ({ x: epoch, words: `${NAMES[term]} starts` }));
    const panel = (title, columns, share, yLabel) => {
      const there = columns.filter((c) => (found.figures[c] || []).some((v) => v !== null));
      const used = there.filter((c) => c !== "triplet" || found.starts.triplet);
      if (!used.length) return;
      lines(container, {
        title, share, yLabel, marks, x: found.epochs, xLabel: "epoch", integers: true,
        series: used.map((c, i) =>
          ({ name: NAMES[c], values: found.figures[c], colour: colour(i + 1) })),
      });
    };
    panel("Loss", ["loss", "cross_entropy"], false, "mean over samples");
    panel("Contrastive terms, without their weights", ["inter", "intra", "triplet"], false,
      "mean over samples");
    panel("Accuracy", ["accuracy", "eval_accuracy", "eval_rank1", "eval_mAP"], true,
      "share of samples, %");
    panel("Samples whose class has a family", ["in_family"], true, "share of samples, %");
    panel("Learning rate", ["lr"], false, "at the end of the epoch");
  }

  function comparedCurves(container) {
    const runs = data.runs.map((run, i) => [run, i]).filter(([run]) => run.curves.epochs);
    if (!runs.length) {
      container.append(el("p", { class: "missing" }, "No run has curves of a training."));
      return;
    }
    const longest = largest(runs.map(([run]) => run.curves.epochs.length), 0);
    const x = Array.from({ length: longest }, (_, i) => i + 1);
    for (const [key, title] of [["accuracy", "Accuracy on training samples"],
      ["eval_accuracy", "Accuracy on validation samples"]]) {
      const series = runs.filter(([run]) => run.curves.figures[key]).map(([run, i]) => ({
        name: run.name, colour: colour(i + 1),
        values: x.map((epoch) => {
          const value = run.curves.figures[key][run.curves.epochs.indexOf(epoch)];
          return value === undefined ? null : value;
        }),
      }));
      if (series.length)
        lines(container, { title, x, xLabel: "epoch", yLabel: "share of samples, %", share: true,
          integers: true, series });
    }
  }

  // ---- severities -------------------------------------------------------------------------------
  function severities(container, benches) {
    const kinds = new Map();
    for (const { name, colour: own, rows } of benches) {
      const complete = rows.find((row) => row.severity === 0);
      for (const row of rows) {
        if (!row.curve) continue;
        if (!kinds.has(row.curve)) kinds.set(row.curve, new Map());
        const kind = kinds.get(row.curve);
        if (!kind.has(name)) kind.set(name, { colour: own, points: new Map([[0, complete]]) });
        kind.get(name).points.set(row.severity, row);
      }
    }
    let drawn = 0;
    for (const [curve, of_runs] of kinds) {
      const x = [...new Set([...of_runs.values()].flatMap((r) => [...r.points.keys()]))]
        .sort((a, b) => a - b);
      if (x.length < 3) continue;
      drawn += 1;
      lines(container, {
        title: curve, x, xLabel: "severity", yLabel: "accuracy, %", share: true,
        series: [...of_runs].map(([name, run]) => ({
          name, colour: run.colour,
          values: x.map((s) => (run.points.get(s) ? run.points.get(s).accuracy : null)),
        })),
      });
    }
    return drawn;
  }

  function occlusion(container) {
    const run = data.runs[container.dataset.of];
    const { rows } = run.occlusion[container.dataset.bench];
    severities(container, [{ name: "accuracy", colour: colour(1), rows }]);
  }

  function comparedOcclusion(container) {
    const titles = data.runs.map((run) => (Array.isArray(run.occlusion) ? run.occlusion : [])
      .map((bench) => bench.title));
    const shared = titles[0].find((title) => titles.every((of_run) => of_run.includes(title)));
    if (shared === undefined) {
      container.append(el("p", { class: "missing" },
        "The runs have no bench in common. Make the data with ",
        el("code", {}, `aclnet occlusion-bench ${data.runs.map((r) => r.path).join(" ")} `
          + "--suite quick"
          + (data.runs.find((r) => r.store_option)?.store_option || "")), ", then make the report again."));
      return;
    }
    const benches = data.runs.map((run, i) => ({ name: run.name, colour: colour(i + 1),
      rows: run.occlusion.find((bench) => bench.title === shared).rows }));
    const names = benches[0].rows.map((row) => row.protocol)
      .filter((p) => benches.every((b) => b.rows.some((row) => row.protocol === p)));
    dots(container, `Accuracy by protocol: ${shared}`, names, benches);
    severities(container, benches);
  }

  // A line for each protocol, a dot with its interval for each run.
  function dots(container, title, names, benches) {
    const figure = el("figure", { style: "grid-column:1/-1" }, el("figcaption", {}, title));
    const holder = el("div");
    figure.append(el("div", { class: "legend" }, ...benches.map((bench) => el("span", {},
      el("span", { class: "swatch", style: `background:${bench.colour}` }), bench.name))), holder);
    container.append(figure);
    responsive(holder, (width) => {
      const narrow = width < 520, step = 12 * benches.length + (narrow ? 26 : 10);
      const left = narrow ? 6 : 210, right = 14, top = 6, bottom = 38;
      const height = top + step * names.length + bottom;
      const X = (v) => left + v * (width - left - right);
      const grid = svg("g", { class: "grid" });
      const chart = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
        "aria-label": title }, grid);
      for (const t of [0, 0.2, 0.4, 0.6, 0.8, 1])
        grid.append(svg("line", { x1: X(t), x2: X(t), y1: top, y2: height - bottom }),
          text(X(t), height - bottom + 15, t === 1 ? "end" : "middle", `${Math.round(100 * t)}`));
      grid.append(text((left + width - right) / 2, height - 5, "middle",
        "accuracy, % (95 % interval)"));
      names.forEach((name, line) => {
        const y = top + step * line;
        const words = benches[0].rows.find((row) => row.protocol === name).short;
        chart.append(narrow ? text(left, y + 14, "start", words)
          : text(left - 10, y + step / 2 + 4, "end", cut(words, 34)));
        benches.forEach((bench, i) => {
          const row = bench.rows.find((one) => one.protocol === name);
          const at = y + (narrow ? 24 : 11) + 12 * i;
          if (row.accuracy === null) return;
          const spread = { x1: X(row.accuracy_low), x2: X(row.accuracy_high), y1: at, y2: at };
          chart.append(
            svg("g", {}, svg("title", {}, `${bench.name}, ${words}: ${percent(row.accuracy)}`),
              svg("line", { ...spread, stroke: bench.colour, "stroke-width": 1.5 }),
              svg("circle", { cx: X(row.accuracy), cy: at, r: 4, fill: bench.colour })));
        });
      });
      holder.replaceChildren(chart);
    });
  }

  // ---- matrices ---------------------------------------------------------------------------------
  // spec: label, names, groups, rowTitle, columnTitle, values() -> Map(row * C + column -> {shade,
  // words, text}), order(), grouped(), pick(row, column)
  function matrix(container, spec) {
    const holder = el("div", { class: "scroll", tabindex: 0, role: "application",
      "aria-label": `${spec.label}. Arrow keys move between cells, Enter chooses a cell.` });
    const told = el("p", { class: "detail", "aria-live": "polite" });
    const C = spec.names.length;
    let cell = null, cursor = [0, 0], drawn = null;

    function tell() {
      const order = spec.order();
      const [row, column] = cursor.map((place) => order[place]);
      const value = drawn.values.get(row * C + column);
      told.replaceChildren(el("b", {}, spec.names[row]), ` ${spec.joint} `,
        el("b", {}, spec.names[column]), `: ${value ? value.words : spec.empty}`);
    }

    function mark(pick) {
      const { left, top, size } = drawn;
      drawn.cursor.setAttribute("x", left + cursor[1] * size);
      drawn.cursor.setAttribute("y", top + cursor[0] * size);
      drawn.cursor.setAttribute("stroke", "var(--text)");
      tell();
      if (pick) spec.pick(...cursor.map((place) => spec.order()[place]));
    }

    function draw() {
      const width = Math.floor(holder.clientWidth);
      if (!width) return;
      const order = spec.order(), values = spec.values(), n = order.length;
      const narrow = width < 560, longest = narrow ? 16 : 28;
      const words = order.map((c) => cut(spec.names[c], longest));
      const chars = largest(words.map((w) => w.length), 1);
      const margin = (font) => Math.ceil(chars * font * 0.56) + 14;
      const fit = (width - margin(11) - 22) / n;
      const size = cell || Math.max(narrow ? 10 : 7, Math.min(32, fit));
      const font = Math.max(6, Math.min(11, size - 1));
      const left = margin(font) + 14, top = margin(font) + 14;
      const total = size * n;
      const right = Math.max(6, 50 - total / 2); // room for the title of few columns
      const chart = svg("svg", { width: left + total + right, height: top + total + 6,
        viewBox: `0 0 ${left + total + right} ${top + total + 6}`, style: "margin:0 auto" });
      chart.append(svg("rect", { x: left, y: top, width: total, height: total, fill: "none",
        stroke: "var(--line)" }));
      chart.append(text(left + total / 2, 11, "middle", spec.columnTitle),
        text(11, top + total / 2, "middle", spec.rowTitle,
          { transform: `rotate(-90 11 ${top + total / 2})` }));
      const style = `font-size:${font}px`;
      words.forEach((word, i) => {
        const middle = (i + 0.5) * size;
        chart.append(text(left - 4, top + middle + font * 0.35, "end", word, { style }),
          text(0, 0, "start", word, { style,
            transform: `translate(${left + middle + font * 0.35} ${top - 4}) rotate(-90)` }));
      });
      order.forEach((row, y) => order.forEach((column, x) => {
        const value = values.get(row * C + column);
        if (!value) return;
        chart.append(svg("rect", { x: left + x * size, y: top + y * size, width: size - 0.6,
          height: size - 0.6, fill: value.colour || "var(--accent)",
          "fill-opacity": (0.1 + 0.9 * value.shade).toFixed(3) }));
        if (size >= 17 && value.text)
          chart.append(text(left + (x + 0.5) * size, top + (y + 0.5) * size + 3.5, "middle",
            value.text, { style: `font-size:${Math.min(11, size * 0.5)}px;fill:${
              value.shade > 0.5 ? "var(--page)" : "var(--text)"}` }));
      }));
      if (spec.grouped()) {
        let start = 0;
        for (let i = 1; i <= n; i += 1) {
          const group = spec.groups[order[start]];
          if (i < n && spec.groups[order[i]] === group && group) continue;
          if (group && i - start > 1)
            chart.append(svg("rect", { x: left + start * size, y: top + start * size,
              width: (i - start) * size, height: (i - start) * size, fill: "none",
              stroke: colour(group), "stroke-width": 1.4 }));
          start = i;
        }
      }
      const outline = svg("rect", { width: size, height: size, fill: "none", stroke: "none",
        "stroke-width": 2 });
      chart.append(outline);
      drawn = { left, top, size, values, cursor: outline };
      const place = (event) => {
        const box = chart.getBoundingClientRect();
        const at = [event.clientY - box.top - top, event.clientX - box.left - left]
          .map((p) => Math.floor(p / size));
        return at.every((p) => p >= 0 && p < n) ? at : null;
      };
      const follow = (pick) => (event) => {
        const at = place(event);
        if (at) {
          cursor = at;
          mark(pick);
        }
      };
      chart.addEventListener("pointermove", follow(false));
      chart.addEventListener("click", follow(true));
      holder.replaceChildren(chart);
    }

    holder.addEventListener("keydown", (event) => {
      const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
        Enter: [0, 0], " ": [0, 0] }[event.key];
      if (!by || !drawn) return;
      event.preventDefault();
      const most = spec.order().length - 1;
      cursor = cursor.map((p, i) => Math.max(0, Math.min(most, p + by[i])));
      mark(event.key === "Enter" || event.key === " ");
    });
    const zoom = (by) => {
      cell = by ? Math.max(5, Math.min(44, drawn.size * by)) : null;
      draw();
    };
    const buttons = [["−", "Zoom out", 1 / 1.3], ["+", "Zoom in", 1.3], ["Fit", "Fit the width", 0]]
      .map(([words, label, by]) =>
        el("button", { type: "button", "aria-label": label, onclick: () => zoom(by) }, words));
    container.append(holder, told);
    responsive(holder, draw);
    return { draw: () => { cursor = [0, 0]; told.replaceChildren(); draw(); }, buttons, redraw: draw };
  }

  function confusion(container) {
    const run = data.runs[container.dataset.of];
    const { names, order, groups } = run.labels;
    const C = names.length, found = run.confusion;
    const sizes = new Map(), right = new Map(), occurs = new Set();
    for (const [t, p, n] of found.cells) {
      sizes.set(t, (sizes.get(t) || 0) + n);
      if (t === p) right.set(t, n);
      occurs.add(t).add(p);
    }
    const related = [...order, ...[...occurs].filter((c) => !order.includes(c))]
      .filter((c) => occurs.has(c));
    const share = (c) => (right.get(c) || 0) / (sizes.get(c) || Infinity);
    const orders = {
      family: related,
      list: [...occurs].sort((a, b) => a - b),
      worst: [...occurs].sort((a, b) => share(a) - share(b) || a - b),
    };
    let chosen = "family", diagonal = false, power = 0.5;
    const ramp = el("span", { class: "ramp" });
    const detail = el("div", { class: "detail", "aria-live": "polite" });
    const holder = el("div", { class: "looks" });
    const { of } = examplesOf(run);

    function values() {
      const cells = found.cells.filter(([t, p]) => diagonal || t !== p);
      const most = largest(cells.map(([t, , n]) => n / sizes.get(t)), 0);
      ramp.replaceChildren("0 %", el("i", { style: "background:linear-gradient(90deg,"
        + "transparent,color-mix(in srgb,var(--down),transparent 40%),var(--down))" }),
        `${percent(most)} of the true class`);
      return new Map(cells.map(([t, p, n]) => [t * C + p, {
        shade: (n / sizes.get(t) / most) ** power,
        colour: t === p ? "var(--accent)" : "var(--down)",
        text: String(n),
        words: `${n} of ${sizes.get(t)} sequences (${percent(n / sizes.get(t))})`,
      }]));
    }

    function pick(t, p) {
      const listed = found.samples.filter((one) => one[1] === t && one[2] === p);
      const cell = found.cells.find((one) => one[0] === t && one[1] === p);
      const count = cell ? cell[2] : 0;
      const told = [el("b", {}, names[t]), t === p ? " recognised" : " predicted as ",
        t === p ? "" : el("b", {}, names[p]),
        `: ${count} of ${sizes.get(t) || 0} sequences. `];
      if (listed.length < count)
        told.push(`The page lists ${listed.length} of them: it leaves out `
          + "sequences of large test splits. ");
      if (listed.length) told.push(`The number is the ${found.score}.`);
      const examples = listed.map(of).filter(Boolean);
      if (examples.length) told.push(" ▶ shows the skeletons.");
      const most = 300;
      detail.replaceChildren(el("p", { style: "margin:.4rem 0" }, ...told),
        el("ul", { tabindex: 0, "aria-label": "Sequences" }, ...listed.slice(0, most).map((one) =>
          el("li", {}, ...(of(one) ? [el("button", { type: "button", class: "look",
            "aria-label": `Skeletons of ${one[0]}`, onclick: () => look(holder, run, examples,
              examples.find(({ id }) => id === one[0]), { play: true, focus: true }) }, "▶"), " "]
            : []), el("code", {}, one[0]), ` ${one[3].toFixed(2)}`)),
        ...(listed.length > most ? [el("li", {}, `and ${listed.length - most} more`)] : [])));
      look(holder, run, examples, examples[0], { play: true });
    }

    const controls = el("div", { class: "controls" });
    container.append(controls);
    const frame = el("div", { class: "frame" });
    container.append(frame);
    const shown = matrix(frame, {
      label: "Confusion matrix", names, groups, values, pick, joint: "predicted as",
      empty: "no sequence", rowTitle: "true class", columnTitle: "predicted class",
      order: () => orders[chosen], grouped: () => chosen === "family",
    });
    frame.append(detail);
    container.append(holder);
    const box = el("input", { type: "checkbox", onchange: () => {
      diagonal = box.checked;
      shown.draw();
    } });
    controls.append(
      choice("Order", [["family", "by family"], ["list", "as in the class list"],
        ["worst", "lowest accuracy first"]], (value) => { chosen = value; shown.draw(); }),
      choice("Scale", [["0.5", "square root"], ["1", "linear"]],
        (value) => { power = Number(value); shown.draw(); }),
      el("label", {}, box, "correct answers"), el("span", {}, ...shown.buttons.flatMap((b) =>
        [b, " "])), ramp);
  }

  // ---- families ---------------------------------------------------------------------------------
  function families(container) {
    const found = data.runs[container.dataset.of].families;
    const { names, order, groups } = found.labels;
    const C = names.length;
    const top = largest(found.affinity.flat().map((pair) => pair[2]), 1e-9);
    let at = found.affinity.length - 1, chosen = -1;
    const controls = el("div", { class: "controls" });
    const detail = el("p", { class: "detail", "aria-live": "polite" });
    const graphFrame = el("div", { class: "frame" }, el("figcaption", {}, "Families as a graph"));
    const graphHolder = el("div", { class: "scroll", tabindex: 0, role: "region",
      "aria-label": "Families as a graph" });
    graphFrame.append(graphHolder, detail);
    const matrixFrame = el("div", { class: "frame" }, el("figcaption", {}, "Affinity matrix"));
    const pair = order.length > 48 ? "pair many" : "pair";
    container.append(controls, el("div", { class: pair }, graphFrame, matrixFrame));

    const shown = matrix(matrixFrame, {
      label: "Affinity matrix", names, groups, order: () => order, joint: "and",
      empty: "no affinity", rowTitle: "class", columnTitle: "class", grouped: () => true,
      pick: (row) => choose(row),
      values: () => new Map(found.affinity[at].flatMap(([a, b, v]) => {
        const value = { shade: v / top, text: v.toFixed(1), words: `affinity ${v.toFixed(2)}` };
        return [[a * C + b, value], [b * C + a, value]];
      })),
    });

    function choose(c) {
      chosen = c;
      select.value = String(c);
      graph();
    }

    function tell() {
      if (chosen < 0) {
        const pairs = found.affinity[at].filter((pair) => pair[2] > found.threshold).length;
        detail.replaceChildren(`${pairs} pairs of classes are related. Choose a class to see its `
          + "family.");
        return;
      }
      const near = found.affinity[at].filter(([a, b, v]) => (a === chosen || b === chosen)
        && v > found.threshold).sort((one, two) => two[2] - one[2])
        .map(([a, b, v]) => `${names[a === chosen ? b : a]} ${v.toFixed(2)}`);
      detail.replaceChildren(el("b", {}, names[chosen]),
        near.length ? ` with affinity: ${near.join(", ")}` : " has no family.");
    }

    function graph() {
      const n = order.length, font = n <= 40 ? 12 : n <= 70 ? 10.5 : 8;
      const words = order.map((c) => cut(names[c], graphHolder.clientWidth < 480 ? 14 : 22));
      const space = largest(words.map((w) => w.length), 1) * font * 0.56 + 14;
      // the circle leaves room for a line of text for each class
      const radius = Math.max(110, (n * font * 1.12) / (2 * Math.PI));
      const size = 2 * (radius + space), middle = size / 2;
      const chart = svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img",
        style: `width:100%;min-width:${(size * 8) / font}px;max-width:${size * 1.2}px;margin:auto`,
        "aria-label": "Classes on a circle. Lines join classes of one family." });
      const angle = new Map(order.map((c, i) => [c, (2 * Math.PI * i) / n - Math.PI / 2]));
      const point = (c, r) =>
        [middle + r * Math.cos(angle.get(c)), middle + r * Math.sin(angle.get(c))];
      for (const [a, b, v] of found.affinity[at]) {
        if (v <= found.threshold || !angle.has(a) || !angle.has(b)) continue;
        const [x1, y1] = point(a, radius), [x2, y2] = point(b, radius);
        let between = Math.abs(angle.get(a) - angle.get(b));
        between = Math.min(between, 2 * Math.PI - between);
        const pull = between / Math.PI; // neighbours bend little, opposite classes to the middle
        const bend = (p, q) => middle + ((p + q) / 2 - middle) * (1 - pull * 0.8);
        const seen = chosen < 0 || a === chosen || b === chosen;
        const same = groups[a] && groups[a] === groups[b];
        chart.append(svg("path", {
          d: `M${x1} ${y1}Q${bend(x1, x2)} ${bend(y1, y2)} ${x2} ${y2}`, fill: "none",
          stroke: same ? colour(groups[a]) : "var(--grey)",
          "stroke-width": (0.6 + 3 * v / top).toFixed(2),
          "stroke-opacity": seen ? (0.35 + 0.6 * v / top).toFixed(2) : 0.05 },
        svg("title", {}, `${names[a]} and ${names[b]}: ${v.toFixed(2)}`)));
      }
      order.forEach((c, i) => {
        const [x, y] = point(c, radius), [tx, ty] = point(c, radius + 9);
        const degrees = (angle.get(c) * 180) / Math.PI, flip = degrees > 90;
        chart.append(svg("g", { style: "cursor:pointer", onclick: () => choose(
          c === chosen ? -1 : c) },
        svg("circle", { cx: x, cy: y, r: c === chosen ? 6 : 4, fill: colour(groups[c]) }),
        text(0, 0, flip ? "end" : "start", words[i], {
          style: `font-size:${font}px${c === chosen ? ";fill:var(--text);font-weight:700" : ""}`,
          transform: `translate(${tx} ${ty}) rotate(${flip ? degrees - 180 : degrees})`
            + ` translate(0 ${font * 0.35})` })));
      });
      graphHolder.replaceChildren(chart);
      tell();
    }

    const select = el("select", { onchange: () => choose(Number(select.value)) },
      el("option", { value: -1 }, "all"),
      ...order.map((c) => el("option", { value: c }, names[c])));
    controls.append(el("label", {}, "Class", select));
    if (found.epochs.length > 1) {
      const output = el("output", {}, `epoch ${found.epochs[at]}`);
      const slider = el("input", { type: "range", min: 0, max: found.epochs.length - 1, value: at,
        "aria-label": "Epoch of the families", oninput: () => {
          at = Number(slider.value);
          output.textContent = `epoch ${found.epochs[at]}`;
          slider.setAttribute("aria-valuetext", output.textContent);
          graph();
          shown.redraw();
        } });
      controls.append(el("label", {}, "Families after", slider, output));
    }
    controls.append(el("span", {}, ...shown.buttons.flatMap((b) => [b, " "])));
    graph();
  }

  // ---- embeddings -------------------------------------------------------------------------------
  function embedding(container) {
    const run = data.runs[container.dataset.of], found = run.embedding;
    const { names, order, groups } = run.labels;
    const predicted = new Map((run.confusion.samples || []).map((one) => [one[0], one]));
    const place = new Map(order.map((c, i) => [c, i]));
    const numbered = (values) => {
      const kinds = [...new Set(values)].sort();
      return { of: (i) => kinds.indexOf(values[i]) + 1, legend: kinds.map((k, i) => [i + 1, k]) };
    };
    const modes = {
      family: { words: "family", of: (i) => groups[found.points[i][3]], legend: [] },
      class: { words: "class", of: (i) => 1 + (place.get(found.points[i][3]) || 0), legend: [] },
    };
    for (const group of [...new Set(found.points.map((p) => groups[p[3]]))].sort((a, b) => a - b)) {
      const members = order.filter((c) => groups[c] === group);
      modes.family.legend.push([group, group ? cut(members.map((c) => names[c]).join(", "), 60)
        : "classes without relatives"]);
    }
    if (predicted.size && run.confusion.whole)
      modes.right = { words: "right or wrong", of: (i) => {
        const one = predicted.get(found.points[i][0]);
        return !one ? 0 : one[1] === one[2] ? 1 : 2;
      }, legend: [[1, "right"], [2, "wrong"]] };
    for (const [name, values] of Object.entries(found.columns))
      modes[name] = { words: name, ...numbered(values) };
    let mode = "family", chosen = -1;
    const frame = el("div", { class: "frame" });
    const legend = el("div", { class: "legend" });
    const holder = el("div");
    const detail = el("p", { class: "detail", "aria-live": "polite" },
      "Choose a point to see its sequence.");
    const looks = el("div", { class: "looks" });
    const { of } = examplesOf(run);
    frame.append(legend, holder, detail);
    let width = 0;

    function draw() {
      if (!width) return;
      const size = Math.min(width, 820), edge = 10;
      const wide = largest(found.points.map((p) => p[1]), 1e-9);
      const high = largest(found.points.map((p) => p[2]), 1e-9);
      const scale = Math.min((size - 2 * edge) / wide, 640 / high);
      const height = Math.ceil(high * scale + 2 * edge);
      const chart = svg("svg", { width: size, height, viewBox: `0 0 ${size} ${height}`, role: "img",
        style: "margin:1rem auto", "aria-label": "Map of embeddings" });
      const x0 = (size - wide * scale) / 2, y0 = edge;
      const radius = found.points.length > 600 || size < 500 ? 3 : 4;
      found.points.forEach(([id, x, y, label], i) => {
        const seen = chosen < 0 || label === chosen;
        chart.append(svg("circle", {
          cx: (x0 + x * scale).toFixed(1), cy: (y0 + y * scale).toFixed(1),
          r: seen ? radius : radius - 1, fill: colour(modes[mode].of(i)),
          "fill-opacity": seen ? 0.85 : 0.12, style: "cursor:pointer",
          onclick: () => {
            const one = predicted.get(id);
            const answer = !one ? "" : one[1] === one[2] ? ", recognised"
              : `, predicted as ${names[one[2]]}`;
            detail.replaceChildren(el("code", {}, id), " ", el("b", {}, names[label]), answer);
            const example = one && of(one);
            look(looks, run, [example], example, { play: true });
          },
        }, svg("title", {}, `${names[label]}: ${id}`)));
      });
      legend.replaceChildren(...modes[mode].legend.slice(0, 24).map(([number_, words]) =>
        el("span", {}, el("span", { class: "swatch", style: `background:${colour(number_)}` }),
          words)));
      holder.replaceChildren(chart);
    }

    const present = order.filter((c) => found.points.some((p) => p[3] === c));
    container.append(el("div", { class: "controls" },
      choice("Colour", Object.entries(modes).map(([key, one]) => [key, one.words]),
        (value) => { mode = value; draw(); }),
      choice("Highlight", [["-1", "all"], ...present.map((c) => [String(c), names[c]])],
        (value) => { chosen = Number(value); draw(); })), frame, looks);
    responsive(holder, (now) => { width = now; draw(); });
  }

  // ---- the page ---------------------------------------------------------------------------------
  const DRAW = { curves, comparedCurves, occlusion, comparedOcclusion, confusion, families,
    embedding, skeletons };
  document.documentElement.classList.add("js");
  for (const container of document.querySelectorAll("[data-chart]"))
    DRAW[container.dataset.chart](container);
  lookButtons();

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      const body = table.tBodies[0];
      const value = (row) => row.cells[column].textContent.trim();
      const numeric = head.classList.contains("n");
      const key = (row) => {
        const found = parseFloat(value(row).replace("−", "-").replace(/^[<]\s*/, ""));
        return Number.isNaN(found) ? -Infinity : found;
      };
      const rows = [...body.rows].sort((a, b) =>
        numeric ? key(a) - key(b) : value(a).localeCompare(value(b)));
      body.append(...(up ? rows : rows.reverse()));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
    }));
  }

  const theme = document.getElementById("theme");
  theme.addEventListener("change", () => {
    if (theme.value) document.documentElement.dataset.theme = theme.value;
    else delete document.documentElement.dataset.theme;
  });

  const tabs = [...document.querySelectorAll(".tabs button")];
  const show = (run) => {
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset.show === run));
    for (const article of document.querySelectorAll("article"))
      article.classList.toggle("hidden", article.dataset.run !== run);
  };
  for (const tab of tabs) tab.addEventListener("click", () => show(tab.dataset.show));
  if (tabs.length) show("0");
  // All runs are printed, with everything that can be unfolded.
  window.addEventListener("beforeprint", () => {
    for (const article of document.querySelectorAll("article")) article.classList.remove("hidden");
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    const shown = tabs.find((tab) => tab.getAttribute("aria-pressed") === "true");
    if (shown) show(shown.dataset.show);
  });
})();
