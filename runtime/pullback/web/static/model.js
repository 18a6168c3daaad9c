// The bundle's graphs in ONNX Runtime Web: one thread of WebAssembly, nothing fetched.

class Model {
  constructor(bundle) {
    this.bundle = bundle;
    this.sessions = new Map();
    this.last = Promise.resolve();
  }

  static async start(bundle, runtime) {
    const [loader, binary] = await Promise.all([unpacked(runtime.mjs), unpacked(runtime.wasm)]);
    const mjs = URL.createObjectURL(new Blob([loader], { type: "text/javascript" }));
    Object.assign(ort.env.wasm, { numThreads: 1, proxy: false, wasmPaths: { mjs }, wasmBinary: binary.buffer });
    ort.env.logLevel = "error";
    return new Model(bundle);
  }

  functionOf(name) {
    return this.bundle.functions.find((item) => item.name === name);
  }

  session(name) {
    if (!this.sessions.has(name)) {
      const opened = unpacked(this.functionOf(name).graph)
        .then((graph) => ort.InferenceSession.create(graph, { executionProviders: ["wasm"] }));
      this.sessions.set(name, opened);
    }
    return this.sessions.get(name);
  }

  /** Every result of a function by name; calls run one after the other. */
  run(name, inputs) {
    const job = this.last.then(async () => {
      const session = await this.session(name);
      const feeds = {};
      for (const [input, { dtype, shape, data }] of Object.entries(inputs)) {
        feeds[input] = new ort.Tensor(dtype, data, shape);
      }
      const found = await session.run(feeds);
      const results = {};
      for (const [output, tensor] of Object.entries(found)) {
        results[output] = { dtype: tensor.type, shape: [...tensor.dims], data: tensor.data };
      }
      return results;
    });
    this.last = job.catch(() => {});
    return job;
  }

  /** Replays the cases of every function: how many arrays were compared, and the worst of them. */
  async check() {
    const report = { compared: 0, failures: [], worst: 0 };
    for (const { name, cases } of this.bundle.functions) {
      for (const known of cases) {
        const inputs = Object.fromEntries(Object.entries(known.inputs).map(([key, item]) => [key, arrayOf(item)]));
        const results = await this.run(name, inputs);
        for (const [output, item] of Object.entries(known.outputs)) {
          const share = shareOfAllowed(arrayOf(item), results[output], this.bundle.tolerance);
          report.compared += 1;
          report.worst = Math.max(report.worst, share);
          if (!(share <= 1)) report.failures.push(`${name}: ${output}`);
        }
      }
    }
    return report;
  }
}

/** The largest error as a share of what is allowed, by the rule of pullback.parity; more than 1 has failed. */
function shareOfAllowed(expected, actual, tolerance) {
  if (!actual || String(actual.shape) !== String(expected.shape) || actual.dtype !== expected.dtype) return Infinity;
  const want = numbersOf(expected.data);
  const got = numbersOf(actual.data);
  const allowed = (tolerance[expected.dtype] || 0) * largest(want);
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    if (expected.data[i] === actual.data[i] || (Number.isNaN(want[i]) && Number.isNaN(got[i]))) continue;
    const error = Math.abs(want[i] - got[i]);
    worst = Math.max(worst, error / allowed || Infinity);
  }
  return worst;
}
