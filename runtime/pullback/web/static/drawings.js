// Elements, bars, tables and maps of colours. Text is always set as text: names come from files.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const POSITIVE = [230, 97, 38];
const NEGATIVE = [38, 112, 219];

/** A number between -most and most as a colour over whatever lies below. */
function colour(number, most, strength = 1) {
  if (Number.isNaN(number)) return [128, 128, 128, 255];
  const share = most > 0 ? Math.min(1, Math.abs(number) / most) : 0;
  const [red, green, blue] = number < 0 ? NEGATIVE : POSITIVE;
  return [red, green, blue, Math.round(255 * strength * share ** 0.8)];
}

const css = ([red, green, blue, alpha]) => `rgb(${red} ${green} ${blue} / ${(alpha / 255).toFixed(3)})`;

/** One row for each number: its label, a bar from zero, the number. */
class Bars {
  constructor(labels) {
    this.node = element("div", { class: "bars", role: "list" });
    this.rows = labels.map((label) => {
      const bar = element("i");
      const number = element("output");
      this.node.append(element("div", { role: "listitem" },
        element("span", { class: "label" }, label), element("span", { class: "track", "aria-hidden": "true" }, bar), number));
      return { bar, number };
    });
  }

  update(numbers) {
    const most = largest(numbers);
    const low = Math.min(0, ...[...numbers].filter(Number.isFinite));
    const high = Math.max(0, ...[...numbers].filter(Number.isFinite));
    const span = high - low || 1;
    this.rows.forEach(({ bar, number }, i) => {
      const value = Number.isFinite(numbers[i]) ? numbers[i] : 0;
      const start = (Math.min(value, 0) - low) / span;
      bar.style.left = `${100 * start}%`;
      bar.style.width = `${(100 * Math.abs(value)) / span}%`;
      bar.style.background = css(colour(value < 0 ? -most : most, most));
      number.textContent = shown(numbers[i]);
    });
    this.node.style.setProperty("--zero", `${(100 * -low) / span}%`);
  }
}

/** A table of coloured numbers, or a map of colours where it would be too large to read. */
class Matrix {
  constructor(rows, columns, rowLabels = null, columnLabels = null) {
    this.rows = rows;
    this.columns = columns;
    this.small = rows <= 12 && columns <= 6;
    this.node = element("div", { class: "matrix" });
    if (this.small) this.makeTable(rowLabels, columnLabels);
    else this.makeMap();
  }

  makeTable(rowLabels, columnLabels) {
    const table = element("table");
    if (columnLabels && this.columns > 1) {
      table.append(element("thead", {}, element("tr", {}, rowLabels ? element("td") : null,
        ...columnLabels.map((label) => element("th", { scope: "col" }, label)))));
    }
    const body = element("tbody");
    this.cells = [];
    for (let row = 0; row < this.rows; row++) {
      const cells = Array.from({ length: this.columns }, () => element("td"));
      this.cells.push(...cells);
      body.append(element("tr", {}, rowLabels ? element("th", { scope: "row" }, rowLabels[row]) : null, ...cells));
    }
    table.append(body);
    this.node.append(element("div", { class: "scroll" }, table));
  }

  makeMap() {
    this.canvas = element("canvas", { width: this.columns, height: this.rows, role: "img", class: "map" });
    this.canvas.style.aspectRatio = `${this.columns} / ${this.rows}`;
    this.legend = element("div", { class: "legend" });
    this.node.append(this.canvas, this.legend);
  }

  update(numbers) {
    const most = largest(numbers);
    if (this.small) {
      this.cells.forEach((cell, i) => {
        cell.textContent = shown(numbers[i], 3);
        cell.style.background = css(colour(numbers[i], most, 0.55));
      });
      return;
    }
    const context = this.canvas.getContext("2d");
    const picture = context.createImageData(this.columns, this.rows);
    numbers.forEach((number, i) => picture.data.set(colour(number, most), 4 * i));
    context.putImageData(picture, 0, 0);
    this.canvas.setAttribute("aria-label", `${this.rows} by ${this.columns} numbers, the largest of size ${shown(most)}`);
    drawLegend(this.legend, most);
  }
}

function drawLegend(node, most) {
  node.replaceChildren(element("span", {}, shown(-most, 3)), element("i", { "aria-hidden": "true" }), element("span", {}, shown(most, 3)));
}

/** Grey picture of an input, in a canvas of its own size. */
function drawPicture(canvas, layout, numbers, [low, high]) {
  const context = canvas.getContext("2d");
  const picture = context.createImageData(layout.width, layout.height);
  const level = (number) => (255 * (number - low)) / (high - low || 1);
  for (let y = 0; y < layout.height; y++) {
    for (let x = 0; x < layout.width; x++) {
      const at = 4 * (y * layout.width + x);
      for (let c = 0; c < 3; c++) picture.data[at + c] = level(numbers[layout.at(y, x, Math.min(c, layout.channels - 1))]);
      picture.data[at + 3] = 255;
    }
  }
  context.putImageData(picture, 0, 0);
}

/** A derivative with respect to a picture, laid over the picture. */
class Saliency {
  constructor(layout, range) {
    Object.assign(this, { layout, range, most: 0, derivative: null });
    const size = { width: layout.width, height: layout.height };
    this.below = element("canvas", { ...size, "aria-hidden": "true" });
    this.above = element("canvas", { ...size, role: "img" });
    this.blend = element("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0.85, oninput: () => this.fade() });
    this.legend = element("div", { class: "legend" });
    const stack = element("div", { class: "stack" }, this.below, this.above);
    stack.style.aspectRatio = `${layout.width} / ${layout.height}`;
    this.node = element("div", { class: "saliency" }, stack, this.legend,
      element("label", { class: "line" }, element("span", {}, "Derivative over the picture"), this.blend));
    this.fade();
  }

  fade() {
    this.above.style.opacity = this.blend.value;
    this.below.style.opacity = 1.25 - this.blend.value;
  }

  update(numbers, pictureNumbers) {
    const { width, height, channels, at } = this.layout;
    drawPicture(this.below, this.layout, pictureNumbers, this.range);
    const most = largest(numbers);
    const context = this.above.getContext("2d");
    const image = context.createImageData(width, height);
    let where = "";
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let strongest = 0;
        for (let c = 0; c < channels; c++) {
          const number = numbers[at(y, x, c)];
          if (Number.isNaN(number) || Math.abs(number) > Math.abs(strongest)) strongest = number;
        }
        if (Math.abs(strongest) === most && most > 0) where = `, strongest in row ${y}, column ${x}`;
        image.data.set(colour(strongest, most), 4 * (y * width + x));
      }
    }
    context.putImageData(image, 0, 0);
    this.above.setAttribute("aria-label", `Derivative at each of ${height} by ${width} pixels, of size ${shown(most)} at most${where}`);
    drawLegend(this.legend, most);
  }
}
