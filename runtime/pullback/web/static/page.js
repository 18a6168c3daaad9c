// The page: which function is shown, the inputs as they stand, and a run of the model after every change.

class FunctionPage {
  constructor(model, spec) {
    Object.assign(this, { model, spec, wanted: false, running: false });
    this.inputs = Object.fromEntries(spec.inputs.map((item) => [item.name, item]));
    this.cases = spec.cases.map((known) => Object.fromEntries(Object.entries(known.inputs).map(([name, item]) => [name, arrayOf(item)])));
    this.rows = this.cases.flatMap((known, number) => Array.from({ length: this.rowsOf(known) }, (_, row) => [number, row]));
    this.values = {};
    this.shapes = {};
    this.copy(0);
  }

  rowsOf(known) {
    const batched = this.spec.inputs.find((item) => item.batched);
    return batched ? known[batched.name].shape[0] : 1;
  }

  /** Takes the inputs of a recorded sample. */
  copy(number) {
    const [at, row] = this.rows[number] ?? [0, 0];
    const known = this.cases[at];
    for (const { name, batched, dtype } of this.spec.inputs) {
      const { shape: sizes, data } = known[name];
      this.shapes[name] = batched ? sizes.slice(1) : sizes;
      const size = count(this.shapes[name]);
      this.values[name] = batched ? data.slice(row * size, (row + 1) * size) : data.slice();
      if (this.values[name].length !== size) this.values[name] = new ARRAYS[dtype](size); // a case without rows
    }
  }

  take(number) {
    const before = JSON.stringify(this.spec.inputs.map(({ name }) => this.shapes[name]));
    this.copy(number);
    if (before === JSON.stringify(this.spec.inputs.map(({ name }) => this.shapes[name]))) this.changed();
    else this.open(); // other sizes: other controls
  }

  set(name, flat, number) {
    this.values[name][flat] = entry(this.inputs[name].dtype, number);
    this.changed();
  }

  /** An editor turned to one component. */
  attend(input, flat) {
    for (const card of this.cards ?? []) card.attend?.(input, flat);
  }

  changed() {
    for (const control of this.controls ?? []) control.refresh();
    this.wanted = true;
    if (!this.running) requestAnimationFrame(() => this.run());
  }

  tensor(name, data, rows) {
    const { dtype, batched } = this.inputs[name];
    return { dtype, data, shape: batched ? [rows, ...this.shapes[name]] : this.shapes[name] };
  }

  async evaluate() {
    const feeds = Object.fromEntries(Object.entries(this.values).map(([name, data]) => [name, this.tensor(name, data.slice(), 1)]));
    return this.model.run(this.spec.name, feeds);
  }

  /** Draws the results of the latest inputs; changes that come meanwhile are drawn next. */
  async run() {
    if (this.running) return;
    this.running = true;
    try {
      while (this.wanted) {
        this.wanted = false;
        const found = await this.evaluate();
        const results = Object.fromEntries(Object.entries(found).map(([name, item]) => [name, item.data]));
        for (const card of this.cards) card.update(results);
        document.documentElement.dataset.runs = Number(document.documentElement.dataset.runs ?? 0) + 1;
        await new Promise(requestAnimationFrame);
      }
    } catch (error) {
      verdict("failed", `The model cannot compute with these inputs: ${error.message ?? error}`);
    } finally {
      this.running = false;
    }
  }

  /** Results by name for each value of one component, the other inputs as they stand. */
  async scan(input, component, values) {
    const copies = this.spec.rowwise ? values.length : 1;
    const runs = this.spec.rowwise ? [values] : values.map((value) => [value]);
    const rows = [];
    for (const some of runs) {
      const feeds = {};
      for (const [name, data] of Object.entries(this.values)) {
        const repeated = new data.constructor(data.length * copies);
        for (let row = 0; row < copies; row++) repeated.set(data, row * data.length);
        if (name === input) some.forEach((value, row) => { repeated[row * data.length + component] = value; });
        feeds[name] = this.tensor(name, repeated, copies);
      }
      const found = await this.model.run(this.spec.name, feeds);
      for (let row = 0; row < copies; row++) {
        rows.push(Object.fromEntries(Object.entries(found).map(([name, { data }]) => {
          const size = data.length / copies;
          return [name, data.subarray(row * size, (row + 1) * size)];
        })));
      }
    }
    return rows;
  }

  /** Puts controls and cards on the page. */
  async open() {
    const first = await this.evaluate();
    for (const { name, batched } of this.spec.outputs) this.shapes[name] = batched ? first[name].shape.slice(1) : first[name].shape;
    this.controls = this.spec.inputs.map((input) => new InputControl(this, input, this.shapes[input.name]));
    document.getElementById("controls").replaceChildren(...this.controls.map((control) => control.node));
    this.chooser ??= new SampleChooser(this, this.rows.length);
    document.getElementById("samples").replaceChildren(this.chooser.node);
    const choices = curveChoices(this.spec, this.inputs);
    this.cards = this.spec.outputs.map((output) => new ResultCard(this, output));
    if (choices.length) this.cards.unshift(new Curve(this, choices));
    document.getElementById("results").replaceChildren(...this.cards.map((card) => card.node));
    this.changed();
  }
}

function verdict(state, text) {
  const node = document.getElementById("verdict");
  node.dataset.state = state;
  node.querySelector(".text").textContent = text;
}

function makeTabs(pages) {
  const list = document.getElementById("functions");
  list.hidden = pages.length < 2;
  const tabs = pages.map((page) => element("button", { type: "button", role: "tab", "aria-controls": "results" }, page.spec.name));
  const choose = (number) => {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", i === number);
      tab.tabIndex = i === number ? 0 : -1;
    });
    return pages[number].open();
  };
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => choose(i));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
      if (!step) return;
      const next = (i + step + tabs.length) % tabs.length;
      tabs[next].focus();
      choose(next);
    });
  });
  list.replaceChildren(...tabs);
  return choose(0);
}

function makeAbout(bundle, runtime) {
  const row = (name, ...value) => element("div", {}, element("dt", {}, name), element("dd", {}, ...value));
  const made = Object.entries(bundle.producer).map(([name, version]) => `${name} ${version}`).join(", ");
  const signature = ({ name, inputs, outputs }) => {
    const list = (items) => items.map((item) => `${item.name}: ${item.dtype} (${item.shape.join(", ")})`).join(", ");
    return element("code", {}, `${name}(${list(inputs)}) → ${list(outputs)}`);
  };
  document.getElementById("about").replaceChildren(element("dl", {},
    row("Functions", ...bundle.functions.map(signature)),
    row("At the export", `${bundle.comparisons} comparisons with the trained model. ${bundle.worst}`),
    row("Made with", made),
    row("Computed by", `ONNX Runtime Web ${runtime.version} (MIT licence), in WebAssembly on this device; no data leaves the page`),
    row("Digest", element("code", {}, bundle.digest))));
}

function useTheme() {
  const root = document.documentElement;
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; });
}

async function start() {
  const bundle = globalThis.PULLBACK_BUNDLE;
  const runtime = globalThis.PULLBACK_RUNTIME;
  useTheme();
  makeAbout(bundle, runtime);
  const names = bundle.functions.flatMap(({ outputs }) => outputs.filter((item) => item.derivative).map((item) => formula(item.derivative)));
  document.getElementById("lead").textContent =
    `A trained model with its derivatives ${[...new Set(names)].slice(0, 4).join(", ")}, computed in this page as you move its inputs.`;
  try {
    const model = await Model.start(bundle, runtime);
    await makeTabs(bundle.functions.map((spec) => new FunctionPage(model, spec)));
    const { compared, failures, worst } = await model.check();
    if (failures.length) verdict("failed", `This browser does not reproduce the trained model: ${failures.join(", ")}`);
    else verdict("passed", `This browser reproduces the trained model: ${compared} recorded arrays, the largest error is ${shown(100 * worst, 2)} % of what is allowed`);
    Object.assign(document.documentElement.dataset, { checked: failures.length ? "failed" : "passed", compared, worst });
  } catch (error) {
    verdict("failed", `The model could not be started: ${error.message ?? error}`);
    document.documentElement.dataset.checked = "failed";
  }
}

start();
