// A slice of the model: an output over one component of an input, with the tangent that the derivative gives.

const CURVE_POINTS = 161;
const FEWER_POINTS = 41; // where rows cannot be computed together
const MOST_CHOICES = 64;
const MOST_NUMBERS = 400000; // of the input in one scan

/** What can be drawn: a first derivative of components of an output, with respect to components of a float input. */
function curveChoices(spec, inputs) {
  return spec.outputs.filter(({ derivative }) => {
    if (!derivative || !["gradient", "jacobian", "derivative"].includes(derivative.kind)) return false;
    const [wrt] = derivative.wrt;
    const of = spec.outputs.find((item) => item.name === derivative.of.name);
    const input = inputs[wrt.name];
    return of && derivative.of.components && input && wrt.components && wrt.components.length <= MOST_CHOICES && isFloat(input.dtype);
  });
}

class Curve {
  constructor(page, choices) {
    Object.assign(this, { page, choices, key: "", scan: null, busy: false });
    this.drawing = element("div", { class: "drawing", onpointerdown: (event) => this.drag(event) });
    this.caption = element("p", { class: "caption" });
    this.derivative = this.select("Derivative", choices.map((item) => item.derivative.request), () => this.choose());
    this.ofSelect = this.select("of", [], () => this.redraw());
    this.wrtSelect = this.select("along", [], () => this.redraw());
    this.node = element("article", { class: "card wide curve" },
      element("div", { class: "bar" }, element("h2", {}, "Curve and tangent"),
        element("div", { class: "choices" }, this.derivative.label, this.ofSelect.label, this.wrtSelect.label)),
      this.drawing, this.caption);
    this.choose();
    new ResizeObserver(() => this.draw()).observe(this.drawing);
  }

  select(title, options, changed) {
    const node = element("select", { onchange: changed });
    const label = element("label", {}, element("span", {}, title), node);
    const fill = (names) => {
      node.replaceChildren(...names.map((name, i) => element("option", { value: i }, name)));
      label.hidden = names.length < 2;
    };
    fill(options);
    return { node, label, fill };
  }

  /** Draws along the component that an editor shows. */
  attend(input, flat) {
    const [wrt] = this.choices[this.derivative.node.value].derivative.wrt;
    const at = wrt.name === input ? wrt.components.indexOf(flat) : -1;
    if (at < 0 || Number(this.wrtSelect.node.value) === at) return;
    this.wrtSelect.node.value = at;
    this.redraw();
  }

  choose() {
    const { derivative } = this.choices[this.derivative.node.value];
    const { of, wrt } = derivative;
    this.ofShape = this.page.shapes[of.name];
    this.wrtShape = this.page.shapes[wrt[0].name];
    const names = of.summed ? [`sum of ${of.name}`]
      : of.components.slice(0, MOST_CHOICES).map((flat) => labelOf(of.name, flat, this.ofShape));
    this.ofSelect.fill(names);
    this.wrtSelect.fill(wrt[0].components.map((flat) => labelOf(wrt[0].name, flat, this.wrtShape)));
    this.redraw();
  }

  /** What is drawn: names, and where the numbers stand in arrays. */
  get chosen() {
    const output = this.choices[this.derivative.node.value];
    const { of, wrt, scale } = output.derivative;
    const row = Number(this.ofSelect.node.value);
    const column = Number(this.wrtSelect.node.value);
    return {
      input: wrt[0].name, component: wrt[0].components[column], of: of.name,
      parts: of.summed ? of.components : [of.components[row]],
      result: output.name, entry: (of.summed ? 0 : row) * wrt[0].components.length + column, scale,
      x: this.wrtSelect.node.options[column].text, y: this.ofSelect.node.options[row].text,
    };
  }

  redraw() {
    this.key = "";
    if (this.results) this.update(this.results);
  }

  /** New results at the current inputs. */
  update(results) {
    this.results = results;
    const { input, component } = this.chosen;
    const others = { ...this.page.values };
    const own = Array.from(others[input]);
    own[component] = 0;
    const key = JSON.stringify([this.chosen.result, input, component, own,
      ...Object.keys(others).filter((name) => name !== input).map((name) => Array.from(others[name], String))]);
    if (key !== this.key) {
      this.key = key;
      this.refresh();
    }
    this.draw();
  }

  async refresh() {
    if (this.busy) return;
    this.busy = true;
    const key = this.key;
    try {
      this.scan = await this.scanned();
    } finally {
      this.busy = false;
    }
    if (key !== this.key) this.refresh();
    else this.draw();
  }

  async scanned() {
    const { input, component, of, parts, result, entry } = this.chosen;
    const [low, high] = this.span(input, component);
    const fitting = Math.floor(MOST_NUMBERS / Math.max(1, this.page.values[input].length));
    const points = this.page.spec.rowwise ? Math.max(FEWER_POINTS, Math.min(CURVE_POINTS, fitting)) : FEWER_POINTS;
    const x = Array.from({ length: points }, (_, i) => low + ((high - low) * i) / (points - 1));
    const rows = await this.page.scan(input, component, x);
    const y = rows.map((row) => parts.reduce((sum, part) => sum + Number(row[of][part]), 0));
    return { x, y, slope: rows.map((row) => Number(row[result][entry])) };
  }

  span(input, component) {
    const [low, high] = this.page.inputs[input].range;
    const now = Number(this.page.values[input][component]);
    return [Math.min(low, now), Math.max(high, now)];
  }

  draw() {
    if (!this.scan || !this.results || !this.drawing.clientWidth) return;
    const { input, component, of, parts, result, entry, scale, x, y } = this.chosen;
    const now = {
      x: Number(this.page.values[input][component]),
      y: parts.reduce((sum, part) => sum + Number(this.results[of][part]), 0),
      slope: Number(this.results[result][entry]),
    };
    const name = this.choices[this.derivative.node.value].name;
    const panels = curvePanels(this.drawing.clientWidth, this.scan, now, scale, { x, y, slope: name });
    this.axis = panels.axis;
    this.drawing.replaceChildren(panels.picture);
    this.caption.replaceChildren(`At ${x} = `, element("b", {}, shown(now.x)), `: ${y} = `, element("b", {}, shown(now.y)),
      `, ${name} = `, element("b", {}, shown(now.slope)), scale === 1 ? "" : ` (${shown(scale)} times the slope)`);
  }

  /** The pointer moves the input. */
  drag(event) {
    if (!this.axis || event.button !== 0) return;
    const move = ({ clientX }) => {
      const { left } = this.drawing.getBoundingClientRect();
      const { input, component } = this.chosen;
      this.page.set(input, component, this.axis.valueAt(clientX - left));
    };
    move(event);
    event.preventDefault();
    this.drawing.setPointerCapture(event.pointerId);
    this.drawing.onpointermove = move;
    this.drawing.onpointerup = this.drawing.onpointercancel = () => { this.drawing.onpointermove = null; };
  }
}

/** Round numbers between low and high, about so many. */
function ticks(low, high, about) {
  const raw = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

function extent(numbers) {
  const finite = numbers.filter(Number.isFinite);
  const low = finite.length ? Math.min(...finite) : -1;
  const high = finite.length ? Math.max(...finite) : 1;
  const margin = 0.08 * (high - low) || Math.abs(low) / 10 || 1;
  return [low - margin, high + margin];
}

/** The value with its tangent above, the derivative below, over one axis. */
function curvePanels(width, scan, now, scale, names) {
  const left = 58, right = 14;
  const upper = { top: 26, height: width < 520 ? 190 : 230 };
  const lower = { top: upper.top + upper.height + 38, height: 96 };
  const height = lower.top + lower.height + 40;
  const [low, high] = [scan.x[0], scan.x[scan.x.length - 1]];
  const axis = {
    at: (value) => left + ((value - low) / (high - low)) * (width - left - right),
    valueAt: (pixel) => low + Math.min(1, Math.max(0, (pixel - left) / (width - left - right))) * (high - low),
  };
  const tangent = now.slope / scale;
  const label = `${names.y} over ${names.x} from ${shown(low)} to ${shown(high)}. At ${shown(now.x)} it is ${shown(now.y)} with the slope ${shown(tangent)}.`;
  const picture = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  for (const value of ticks(low, high, Math.max(4, width / 110))) {
    picture.append(shape("line", { class: "grid", x1: axis.at(value), x2: axis.at(value), y1: upper.top, y2: lower.top + lower.height }),
      shape("text", { class: "tick", x: axis.at(value), y: lower.top + lower.height + 18, "text-anchor": "middle" }, shown(value)));
  }
  const clip = shape("clipPath", { id: "upper-panel" },
    shape("rect", { x: left, y: upper.top, width: width - left - right, height: upper.height }));
  picture.append(shape("defs", {}, clip));
  const above = panel(picture, upper, extent([...scan.y, now.y]), scan.x, scan.y, axis, { left, end: width - right }, names.y, "value");
  const below = panel(picture, lower, extent([...scan.slope, now.slope, 0]), scan.x, scan.slope, axis, { left, end: width - right }, names.slope, "slope");
  if (Number.isFinite(tangent) && Number.isFinite(now.y)) {
    const line = (value) => above(now.y + tangent * (value - now.x));
    picture.append(shape("line", { class: "tangent", x1: axis.at(low), y1: line(low), x2: axis.at(high), y2: line(high), "clip-path": "url(#upper-panel)" }));
  }
  picture.append(shape("line", { class: "now", x1: axis.at(now.x), x2: axis.at(now.x), y1: upper.top, y2: lower.top + lower.height }));
  for (const [at, value, kind] of [[above, now.y, "value"], [below, now.slope, "slope"]]) {
    if (Number.isFinite(value)) picture.append(shape("circle", { class: `point ${kind}`, cx: axis.at(now.x), cy: at(value), r: 6 }));
  }
  picture.append(shape("text", { class: "name", x: width - right, y: height - 4, "text-anchor": "end" }, names.x));
  return { picture, axis };
}

/** One curve with its own vertical axis; gives where a value lies. */
function panel(picture, { top, height }, [low, high], x, y, axis, { left, end }, name, kind) {
  const at = (value) => top + height - ((value - low) / (high - low)) * height;
  for (const value of ticks(low, high, height / 48)) {
    const zero = Math.abs(value) < 1e-12 * (high - low);
    picture.append(shape("line", { class: zero ? "grid zero" : "grid", x1: left, x2: end, y1: at(value), y2: at(value) }),
      shape("text", { class: "tick", x: left - 8, y: at(value) + 4, "text-anchor": "end" }, shown(value)));
  }
  let pen = "M";
  let path = "";
  y.forEach((value, i) => {
    if (Number.isFinite(value)) path += `${pen}${axis.at(x[i]).toFixed(2)} ${at(value).toFixed(2)}`;
    pen = Number.isFinite(value) ? "L" : "M"; // a gap where it is not finite
  });
  picture.append(shape("path", { class: `line ${kind}`, d: path }),
    shape("text", { class: `name ${kind}`, x: left, y: top - 9 }, name));
  return at;
}
