// One card for each result: the drawing that suits its shape, made from what the manifest says of it.

const MOST_BARS = 24;
const KIND_NAMES = {
  gradient: "Gradient", jacobian: "Jacobian", derivative: "Derivative", hessian: "Hessian", laplacian: "Laplacian",
  vjp: "Adjoint times Jacobian", jvp: "Derivative along a direction", hvp: "Hessian times a direction",
  weighted_hessian: "Weighted Hessian",
};

/** The derivative as it is written: ∂y/∂x. */
function formula({ kind, of, wrt, scale, request }) {
  const inside = /^\s*\w+\((.*)\)\s*$/s.exec(request)?.[1].split(/,\s*(?![^[]*\])/) ?? [of.name];
  const [y, ...x] = [inside[0], ...(inside.length > 1 ? inside.slice(1) : wrt.map((item) => item.name))];
  const factor = scale === 1 ? "" : scale === -1 ? "−" : `${shown(scale)} · `;
  const second = x.length > 1 && x[1] !== x[0] ? `∂²${y}\u202f/\u202f∂${x[0]}\u202f∂${x[1]}` : `∂²${y}\u202f/\u202f∂${x[0]}²`;
  const seed = { vjp: `adjoint · ∂${y}\u202f/\u202f∂${x[0]}`, jvp: `∂${y}\u202f/\u202f∂${x[0]} · direction`, hvp: `${second} · direction` };
  if (kind === "laplacian") return `${factor}∇²${y}`;
  if (kind === "weighted_hessian") return `${factor}Σ wᵢ ${second}`;
  if (kind === "hessian") return factor + second;
  return factor + (seed[kind] ?? `∂${y}\u202f/\u202f∂${x[0]}`);
}

class ResultCard {
  constructor(page, output) {
    Object.assign(this, { page, output, sizes: page.shapes[output.name] });
    this.size = count(this.sizes);
    const { derivative } = output;
    const title = derivative ? formula(derivative) : output.name;
    const facts = [derivative ? KIND_NAMES[derivative.kind] ?? derivative.kind : "Output", output.name, output.dtype, this.size > 1 ? this.sizes.join(" × ") : ""];
    this.node = element("article", { class: `card ${derivative ? "derivative" : "value"}`, "aria-label": title },
      element("h2", {}, title), element("p", { class: "facts" }, facts.filter((text, i) => text && (i !== 1 || derivative)).join(" · ")));
    this.build();
  }

  build() {
    const { derivative } = this.output;
    if (this.size === 1) return this.number();
    const last = derivative && this.page.inputs[derivative.wrt.at(-1).name] ? derivative.wrt.at(-1) : null;
    const columns = last?.components?.length;
    const shapedLikeInput = columns && this.size % columns === 0 && derivative.kind !== "laplacian" && derivative.kind !== "jvp";
    return shapedLikeInput ? this.perInput(last, columns) : this.plain();
  }

  number() {
    const number = element("output", { class: "big" });
    this.node.append(number);
    this.draw = (numbers) => { number.textContent = shown(numbers[0], 6); };
  }

  plain() {
    const [rows, columns] = tableShape(this.sizes);
    if (this.size <= MOST_BARS && this.sizes.length < 2) {
      this.use(new Bars(Array.from({ length: this.size }, (_, i) => labelOf(this.output.name, i, this.sizes))));
    } else if (rows === 1 && columns > MOST_BARS) {
      this.use(new Matrix(Math.ceil(columns / 32), 32));
    } else this.use(new Matrix(rows, columns));
  }

  /** Rows are what is differentiated, columns the components of the last input. */
  perInput(last, columns) {
    const { name } = last;
    const inputShape = this.page.shapes[name];
    const rows = this.size / columns;
    const whole = columns === count(inputShape);
    const layout = whole ? pictureLayout(inputShape) : null;
    const columnLabels = last.components.map((flat) => labelOf(name, flat, inputShape));
    const wide = columns > MOST_BARS || (layout && inputShape.length === 3);
    if (rows === 1 || wide) {
      const drawing = wide ? this.overInput(layout, inputShape, columns, whole) : new Bars(columnLabels);
      const choose = rows === 1 ? null : this.rowChooser(rows);
      if (choose) this.node.append(choose);
      this.node.append(drawing.node);
      this.draw = (numbers, values) => {
        const row = choose ? Number(choose.querySelector("select").value) : 0;
        drawing.update(numbers.subarray(row * columns, (row + 1) * columns), numbersOf(values[name]));
      };
    } else this.use(new Matrix(rows, columns, this.rowLabels(rows), columnLabels));
  }

  overInput(layout, inputShape, columns, whole) {
    if (layout && inputShape.length === 3) return new Saliency(layout, this.page.inputs[this.output.derivative.wrt.at(-1).name].range);
    const [height, width] = whole ? tableShape(inputShape) : [1, columns];
    return new Matrix(height, width);
  }

  rowLabels(rows) {
    const { of, wrt } = this.output.derivative;
    const first = wrt.length > 1 && this.page.inputs[wrt[0].name] ? wrt[0] : null;
    const inner = first?.components ?? [null];
    const outer = of.components && !of.summed ? of.components : [0];
    const labels = outer.flatMap((o) => inner.map((i) => {
      const parts = [];
      if (outer.length > 1 || i === null) parts.push(labelOf(of.name, o, this.page.shapes[of.name] ?? []));
      if (i !== null) parts.push(labelOf(first.name, i, this.page.shapes[first.name]));
      return parts.join(", ");
    }));
    return labels.length === rows ? labels : Array.from({ length: rows }, (_, i) => String(i));
  }

  rowChooser(rows) {
    const options = this.rowLabels(rows).map((label, i) => element("option", { value: i }, label));
    return element("label", { class: "line" }, element("span", {}, "of"),
      element("select", { onchange: () => this.update(this.results) }, ...options));
  }

  use(drawing) {
    this.node.append(drawing.node);
    this.draw = (numbers) => drawing.update(numbers);
  }

  update(results) {
    this.results = results;
    this.draw(numbersOf(results[this.output.name]), this.page.values);
  }
}
