// Arrays as the bundle has them: a NumPy dtype, a shape, and JavaScript's typed array in C order.

const ARRAYS = {
  bool: Uint8Array, int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array,
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array,
  float32: Float32Array, float64: Float64Array,
};

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The bytes of gzip in base64. */
async function unpacked(base64) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The array that Python's array_data wrote. */
function arrayOf({ dtype, shape, data }) {
  return { dtype, shape, data: new ARRAYS[dtype](bytesOf(data).buffer) };
}

const count = (shape) => shape.reduce((product, size) => product * size, 1);
const isFloat = (dtype) => dtype.startsWith("float");
const isBig = (dtype) => dtype === "int64" || dtype === "uint64";

/** A number as an entry of an array of that dtype. */
function entry(dtype, number) {
  if (isFloat(dtype)) return number;
  if (dtype === "bool") return number ? 1 : 0;
  return isBig(dtype) ? BigInt(Math.round(number)) : Math.round(number);
}

/** Plain numbers of a typed array, large whole numbers rounded. */
const numbersOf = (data) => Float64Array.from(data, Number);

/** A number as people read it: four digits, a real minus sign. */
function shown(number, digits = 4) {
  if (Number.isNaN(number)) return "NaN";
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  const size = Math.abs(number);
  let text;
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    const [digitsPart, power] = number.toExponential(digits - 1).split("e");
    text = `${Number(digitsPart)}e${Number(power)}`;
  } else {
    text = String(Number(number.toPrecision(digits)));
  }
  return text.replaceAll("-", "−");
}

/** Where entry `flat` of an array stands: "2, 0"; empty for a single number. */
function place(flat, shape) {
  const index = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(flat % shape[axis]);
    flat = Math.floor(flat / shape[axis]);
  }
  return count(shape) === 1 ? "" : index.join(", ");
}

/** The name of an entry: x, or x[2, 0]. */
function labelOf(name, flat, shape) {
  const found = place(flat, shape);
  return found ? `${name}[${found}]` : name;
}

/** Largest finite size among numbers, and 0 for none. */
function largest(numbers) {
  let found = 0;
  for (const number of numbers) if (Number.isFinite(number)) found = Math.max(found, Math.abs(number));
  return found;
}

/** How pixels lie in an array of that shape, or null where it is no picture. */
function pictureLayout(shape) {
  const large = (size) => size >= 6;
  if (shape.length === 3 && [1, 3, 4].includes(shape[2]) && large(shape[0]) && large(shape[1])) {
    const [height, width, channels] = shape;
    return { height, width, channels, at: (y, x, c) => (y * width + x) * channels + c };
  }
  if (shape.length === 3 && [1, 3].includes(shape[0]) && large(shape[1]) && large(shape[2])) {
    const [channels, height, width] = shape;
    return { height, width, channels, at: (y, x, c) => (c * height + y) * width + x };
  }
  if (shape.length === 2 && large(shape[0]) && large(shape[1])) {
    const [height, width] = shape;
    return { height, width, channels: 1, at: (y, x) => y * width + x };
  }
  return null;
}

/** Rows and columns to show an array of any shape in. */
function tableShape(shape) {
  if (shape.length === 0) return [1, 1];
  if (shape.length === 1) return [1, shape[0]];
  const columns = shape[shape.length - 1];
  return [count(shape) / columns, columns];
}
