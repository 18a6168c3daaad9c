// Editors of inputs of many numbers: a picture to paint on, or a table of cells.

/** Moves through cells by arrows, Home and End; gives the new cell, or null for any other key. */
function moved(key, { row, column }, height, width) {
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (key === "Home") return { row, column: 0 };
  if (key === "End") return { row, column: width - 1 };
  if (!steps[key]) return null;
  const [down, across] = steps[key];
  const within = (value, size) => Math.min(size - 1, Math.max(0, value));
  return { row: within(row + down, height), column: within(column + across, width) };
}

class PictureEditor {
  constructor(page, input, layout) {
    Object.assign(this, { page, input, layout, cell: { row: 0, column: 0 } });
    const { width, height } = layout;
    this.canvas = element("canvas", { width, height, "aria-hidden": "true" });
    this.cursor = element("span", { class: "cursor", "aria-hidden": "true" });
    this.surface = element("div", {
      class: "surface", tabindex: 0, role: "application", "aria-roledescription": "picture editor",
      "aria-label": `${input.name}: ${height} by ${width} pixels. Arrows move, Space paints with the ink.`,
      onkeydown: (event) => this.key(event), onpointerdown: (event) => this.down(event),
    }, this.canvas, this.cursor);
    this.surface.style.aspectRatio = `${width} / ${height}`;
    const [low, high] = input.range;
    this.ink = element("input", { type: "range", min: low, max: high, step: (high - low) / 100, value: high });
    this.position = element("output", { class: "position" });
    const open = element("input", { type: "file", accept: "image/*", class: "hidden", tabindex: -1, onchange: (event) => this.open(event.target) });
    this.node = element("div", { class: "picture" }, this.surface, this.position,
      element("label", { class: "line" }, element("span", {}, "Ink"), this.ink),
      element("div", { class: "buttons" },
        element("button", { type: "button", onclick: () => open.click() }, "Open a picture…"), open,
        element("button", { type: "button", onclick: () => this.fill() }, "Fill with ink")));
    this.refresh();
  }

  fill() {
    this.page.values[this.input.name].fill(entry(this.input.dtype, Number(this.ink.value)));
    this.page.changed();
  }

  paint() {
    const { row, column } = this.cell;
    const values = this.page.values[this.input.name];
    for (let c = 0; c < this.layout.channels; c++) {
      values[this.layout.at(row, column, c)] = entry(this.input.dtype, Number(this.ink.value));
    }
    this.page.changed();
  }

  key(event) {
    const next = moved(event.key, this.cell, this.layout.height, this.layout.width);
    if (next) this.cell = next;
    else if (event.key === " " || event.key === "Enter") this.paint();
    else return;
    event.preventDefault();
    this.attend();
  }

  /** Shows the cell, also in the curve. */
  attend() {
    this.refresh();
    this.page.attend(this.input.name, this.layout.at(this.cell.row, this.cell.column, 0));
  }

  down(event) {
    const move = ({ clientX, clientY }) => {
      const box = this.surface.getBoundingClientRect();
      const at = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value * size)));
      this.cell = {
        row: at((clientY - box.top) / box.height, this.layout.height),
        column: at((clientX - box.left) / box.width, this.layout.width),
      };
      this.paint();
      this.attend();
    };
    move(event);
    this.surface.setPointerCapture(event.pointerId);
    this.surface.onpointermove = move;
    this.surface.onpointerup = this.surface.onpointercancel = () => { this.surface.onpointermove = null; };
  }

  /** A picture file, drawn into the input's size; black is the low end of the range. */
  async open(chooser) {
    const [file] = chooser.files;
    chooser.value = "";
    if (!file) return;
    const { width, height, channels, at } = this.layout;
    const small = new OffscreenCanvas(width, height).getContext("2d");
    try {
      small.drawImage(await createImageBitmap(file), 0, 0, width, height);
    } catch {
      this.position.textContent = "This file is no picture that the browser reads.";
      return;
    }
    const pixels = small.getImageData(0, 0, width, height).data;
    const [low, high] = this.input.range;
    const values = this.page.values[this.input.name];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [red, green, blue, alpha] = pixels.subarray(4 * (y * width + x), 4 * (y * width + x) + 4);
        const grey = 0.299 * red + 0.587 * green + 0.114 * blue;
        const levels = channels === 1 ? [grey] : [red, green, blue, alpha];
        for (let c = 0; c < channels; c++) values[at(y, x, c)] = entry(this.input.dtype, low + ((high - low) * levels[c]) / 255);
      }
    }
    this.page.changed();
  }

  refresh() {
    const values = numbersOf(this.page.values[this.input.name]);
    drawPicture(this.canvas, this.layout, values, this.input.range);
    const { row, column } = this.cell;
    Object.assign(this.cursor.style, {
      left: `${(100 * column) / this.layout.width}%`, top: `${(100 * row) / this.layout.height}%`,
      width: `${100 / this.layout.width}%`, height: `${100 / this.layout.height}%`,
    });
    this.position.textContent = `row ${row}, column ${column}: ${shown(values[this.layout.at(row, column, 0)])}`;
  }
}

class TableEditor {
  constructor(page, input, sizes) {
    const [rows, columns] = tableShape(sizes);
    Object.assign(this, { page, input, sizes, rows, columns, cell: { row: 0, column: 0 } });
    this.canvas = element("canvas", { width: columns, height: rows, "aria-hidden": "true" });
    this.cursor = element("span", { class: "cursor", "aria-hidden": "true" });
    this.surface = element("div", {
      class: "surface table", tabindex: 0, role: "application", "aria-roledescription": "table editor",
      "aria-label": `${input.name}: ${rows} by ${columns} numbers. Arrows choose one; the slider below sets it.`,
      onkeydown: (event) => this.key(event), onpointerdown: (event) => this.down(event),
    }, this.canvas, this.cursor);
    this.surface.style.aspectRatio = `${columns} / ${Math.max(rows, columns / 12)}`;
    this.slider = new NumberControl(page, input, 0, "");
    this.node = element("div", { class: "picture" }, this.surface, this.slider.node);
    this.refresh();
  }

  get flat() {
    return this.cell.row * this.columns + this.cell.column;
  }

  key(event) {
    const next = moved(event.key, this.cell, this.rows, this.columns);
    if (!next) return;
    this.cell = next;
    event.preventDefault();
    this.attend();
  }

  attend() {
    this.refresh();
    this.page.attend(this.input.name, this.flat);
  }

  down({ clientX, clientY }) {
    const box = this.surface.getBoundingClientRect();
    const at = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value * size)));
    this.cell = { row: at((clientY - box.top) / box.height, this.rows), column: at((clientX - box.left) / box.width, this.columns) };
    this.attend();
  }

  refresh() {
    const values = numbersOf(this.page.values[this.input.name]);
    const most = Math.max(largest(values), ...this.input.range.map(Math.abs));
    const context = this.canvas.getContext("2d");
    const picture = context.createImageData(this.columns, this.rows);
    values.forEach((number, i) => picture.data.set(colour(number, most), 4 * i));
    context.putImageData(picture, 0, 0);
    Object.assign(this.cursor.style, {
      left: `${(100 * this.cell.column) / this.columns}%`, top: `${(100 * this.cell.row) / this.rows}%`,
      width: `${100 / this.columns}%`, height: `${100 / this.rows}%`,
    });
    this.slider.show(this.flat, labelOf(this.input.name, this.flat, this.sizes));
  }
}
