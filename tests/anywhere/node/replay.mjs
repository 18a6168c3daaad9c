// node replay.mjs < {"graphs": {function: path}, "cases": [{function, inputs}]} > [{name: {dtype, shape, data}}]
// Every case in ONNX Runtime Web's WebAssembly; arrays are base64 of little-endian bytes.
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web/wasm";

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array, bool: Uint8Array,
};
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const { graphs, cases } = JSON.parse(readFileSync(0, "utf8"));
const sessions = {};
for (const [name, path] of Object.entries(graphs)) sessions[name] = await ort.InferenceSession.create(readFileSync(path));
const answers = [];
for (const { function: name, inputs } of cases) {
  const feeds = {};
  for (const [input, { dtype, shape, data }] of Object.entries(inputs)) {
    feeds[input] = new ort.Tensor(dtype, new ARRAYS[dtype](new Uint8Array(Buffer.from(data, "base64")).buffer), shape);
  }
  const answer = {};
  for (const [output, { type, dims, data }] of Object.entries(await sessions[name].run(feeds))) {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    answer[output] = { dtype: type, shape: dims, data: bytes.toString("base64") };
  }
  answers.push(answer);
}
process.stdout.write(JSON.stringify(answers));
