// The prediction as Fastify gives it on Node, with a JSON schema, for `bench --peers`; knows nothing of this project.
// PEER_MODEL is the ONNX file, PEER_NAMES the features in its order, as JSON; PEER_PORT, PEER_WORKERS.
"use strict";

const cluster = require("node:cluster");
const fastify = require("fastify");
const ort = require("onnxruntime-node");

const names = JSON.parse(process.env.PEER_NAMES);
const row = {
  type: "object",
  properties: Object.fromEntries(names.map((name) => [name, { type: "number" }])),
  required: names,
  additionalProperties: false,
};
const prediction = {
  type: "object",
  properties: { prediction: { type: "string" }, probability: { type: "number" }, success: { type: "boolean" } },
};

async function work() {
  const session = await ort.InferenceSession.create(process.env.PEER_MODEL, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const [source, target] = [session.inputNames[0], session.outputNames[0]];
  async function predict(values) {
    const matrix = new ort.Tensor("float32", Float32Array.from(names, (name) => values[name]), [1, names.length]);
    const probability = (await session.run({ [source]: matrix }))[target].data[0];
    return { prediction: String(probability), probability, success: true };
  }
  const app = fastify();
  app.get("/predict", { schema: { querystring: row, response: { 200: prediction } } }, (request) => predict(request.query));
  app.post("/predict", { schema: { body: row, response: { 200: prediction } } }, (request) => predict(request.body));
  await app.listen({ port: Number(process.env.PEER_PORT), host: "127.0.0.1" });
}

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.env.PEER_WORKERS); i++) cluster.fork();
  process.on("SIGTERM", () => process.exit());
} else {
  process.on("disconnect", () => process.exit());
  work();
}
