// The controls of the inputs: a slider with a field, a check box, or an editor where there are many numbers.

const MOST_SLIDERS = 12;

/** One number: a slider over the range that the samples span, and a field that takes any number. */
class NumberControl {
  constructor(page, input, flat, title) {
    Object.assign(this, { page, input, flat });
    this.name = element("span", { class: "label" });
    this.whole = !isFloat(input.dtype);
    const [low, high] = this.whole ? input.range.map(Math.round) : input.range;
    const step = this.whole ? 1 : (high - low) / 400;
    this.slider = element("input", { type: "range", min: low, max: high, step, oninput: () => this.set(this.slider.value) });
    this.field = element("input", { type: "number", step: this.whole ? 1 : "any", inputmode: this.whole ? "numeric" : "decimal", onchange: () => this.set(this.field.value) });
    this.node = element("div", { class: "number" }, this.name, this.slider, this.field);
    this.show(flat, title);
  }

  set(text) {
    const number = Number(text);
    if (text === "" || !Number.isFinite(number)) this.refresh();
    else this.page.set(this.input.name, this.flat, number);
  }

  /** Takes another number of the same input. */
  show(flat, title) {
    this.flat = flat;
    this.name.textContent = title;
    this.slider.setAttribute("aria-label", title || this.input.name);
    this.field.setAttribute("aria-label", `${title || this.input.name}, as a number`);
    this.refresh();
  }

  refresh() {
    const number = Number(this.page.values[this.input.name][this.flat]);
    this.slider.value = number;
    if (document.activeElement !== this.field || Number(this.field.value) !== number) {
      this.field.value = String(Number(number.toPrecision(isFloat(this.input.dtype) ? 6 : 15)));
    }
    const [low, high] = this.input.range;
    const share = (Math.min(high, Math.max(low, number)) - low) / (high - low);
    this.slider.style.setProperty("--share", `${100 * share}%`);
    this.node.classList.toggle("outside", number < low || number > high);
    this.node.title = number < low || number > high ? `Outside of what the export measured: ${shown(low)} to ${shown(high)}` : "";
  }
}

class CheckControl {
  constructor(page, input, flat, title) {
    Object.assign(this, { page, input, flat });
    this.box = element("input", { type: "checkbox", onchange: () => page.set(input.name, flat, this.box.checked ? 1 : 0) });
    this.node = element("label", { class: "check" }, this.box, element("span", {}, title));
    this.refresh();
  }

  refresh() {
    this.box.checked = Boolean(this.page.values[this.input.name][this.flat]);
  }
}

/** The controls of one input, as a group with its name. */
class InputControl {
  constructor(page, input, sizes) {
    const layout = input.dtype === "bool" ? null : pictureLayout(sizes);
    const size = count(sizes);
    if (layout && !input.seed && sizes.length === 3) this.parts = [new PictureEditor(page, input, layout)];
    else if (size > MOST_SLIDERS && input.dtype !== "bool") this.parts = [new TableEditor(page, input, sizes)];
    else {
      const Control = input.dtype === "bool" ? CheckControl : NumberControl;
      this.parts = Array.from({ length: size }, (_, flat) => new Control(page, input, flat, labelOf(input.name, flat, sizes)));
    }
    const single = size === 1;
    const facts = `${input.dtype} ${single ? "" : sizes.join(" × ")}`.trim() + (input.seed ? ", seed" : "");
    this.node = element("fieldset", {}, element("legend", {}, input.name, element("small", {}, facts)), ...this.parts.map((part) => part.node));
  }

  refresh() {
    for (const part of this.parts) part.refresh();
  }
}

/** Which recorded sample the inputs start from. */
class SampleChooser {
  constructor(page, total) {
    Object.assign(this, { page, total, now: 0 });
    const step = (by) => () => this.go((this.now + by + total) % total);
    this.text = element("output", {});
    this.node = total < 2
      ? element("button", { type: "button", class: "quiet", onclick: () => this.go(0) }, "Reset")
      : element("div", { class: "stepper", role: "group", "aria-label": "Recorded samples" },
        element("button", { type: "button", onclick: step(-1), "aria-label": "Previous sample" }, "‹"), this.text,
        element("button", { type: "button", onclick: step(1), "aria-label": "Next sample" }, "›"));
    this.show();
  }

  go(number) {
    this.now = number;
    this.show();
    this.page.take(number);
  }

  show() {
    this.text.textContent = `Sample ${this.now + 1} of ${this.total}`;
  }
}
