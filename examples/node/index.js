'use strict';

// Modelyard from Node.js: health, metadata, an inference and two errors, with the project's protos loaded as they are.
//
//   node index.js [--address HOST:PORT] [--model NAME]

const path = require('node:path');
const { parseArgs } = require('node:util');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const PROTOS = path.join(__dirname, '..', '..', 'protos');
const DEADLINE_MS = 10_000;
const FLOAT_BYTES = 4;

// An 8 of scikit-learn's handwritten digits: 8x8 pixels of 0 to 16.
const PIXELS = [
  0, 0, 10, 14, 8, 1, 0, 0,
  0, 2, 16, 14, 6, 1, 0, 0,
  0, 0, 15, 15, 8, 15, 0, 0,
  0, 0, 5, 16, 16, 10, 0, 0,
  0, 0, 12, 15, 15, 12, 0, 0,
  0, 4, 16, 6, 4, 16, 6, 0,
  0, 8, 16, 10, 8, 16, 8, 0,
  0, 1, 8, 12, 14, 12, 1, 0,
];

function connect(address) {
  const definition = protoLoader.loadSync('inference/grpc_service.proto', {
    includeDirs: [PROTOS],
    keepCase: true,
    longs: Number,
    defaults: true,
  });
  const { GRPCInferenceService } = grpc.loadPackageDefinition(definition).inference;
  return new GRPCInferenceService(address, grpc.credentials.createInsecure());
}

// One unary call as a promise.
function call(client, method, request = {}) {
  return new Promise((resolve, reject) => {
    const deadline = new Date(Date.now() + DEADLINE_MS);
    client[method](request, { deadline }, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

// Rows of numbers as FP32, raw: little-endian and row-major.
function inferRequest(model, input, rows) {
  const raw = Buffer.alloc(rows.length * rows[0].length * FLOAT_BYTES);
  rows.flat().forEach((value, index) => raw.writeFloatLE(value, index * FLOAT_BYTES));
  return {
    model_name: model,
    inputs: [{ name: input, datatype: 'FP32', shape: [rows.length, rows[0].length] }],
    raw_input_contents: [raw],
  };
}

// The first output as rows of numbers.
function rowsOf(response) {
  const width = response.outputs[0].shape[1];
  const raw = response.raw_output_contents[0];
  const values = Array.from({ length: raw.length / FLOAT_BYTES }, (_, index) => raw.readFloatLE(index * FLOAT_BYTES));
  return Array.from({ length: values.length / width }, (_, row) => values.slice(row * width, (row + 1) * width));
}

function describe(tensors) {
  return tensors.map((tensor) => `${tensor.name} ${tensor.datatype} [${tensor.shape}]`).join(', ');
}

// What a call that must fail answers, as one line.
async function refusal(client, request) {
  try {
    await call(client, 'ModelInfer', request);
  } catch (error) {
    return `${grpc.status[error.code]} (${error.metadata.get('modelyard-error')}): ${error.details}`;
  }
  throw new Error(`expected an error of ${request.model_name}, got an answer`);
}

async function main() {
  const options = {
    address: { type: 'string', default: '127.0.0.1:8001' },
    model: { type: 'string', default: 'digits' },
  };
  const { address, model } = parseArgs({ options }).values;
  const client = connect(address);

  console.log(`live: ${(await call(client, 'ServerLive')).live}`);
  console.log(`ready: ${(await call(client, 'ServerReady')).ready}`);
  console.log(`model ready: ${(await call(client, 'ModelReady', { name: model })).ready}`);

  const server = await call(client, 'ServerMetadata');
  console.log(`server: ${server.name} ${server.version}`);
  const { versions, platform, inputs, outputs } = await call(client, 'ModelMetadata', { name: model });
  console.log(`model: ${model} ${versions} on ${platform}: ${describe(inputs)} -> ${describe(outputs)}`);

  const image = PIXELS.map((pixel) => pixel / 16);
  const response = await call(client, 'ModelInfer', inferRequest(model, inputs[0].name, [image]));
  const [scores] = rowsOf(response);
  console.log(`scores: ${JSON.stringify(scores)}`);
  console.log(`digit: ${scores.indexOf(Math.max(...scores))}, said ${response.parameters.worker.string_param}`);

  console.log(`unknown model: ${await refusal(client, inferRequest('no-such-model', inputs[0].name, [image]))}`);
  console.log(`wrong shape: ${await refusal(client, inferRequest(model, inputs[0].name, [image.slice(1)]))}`);
  client.close();
}

main().catch((error) => {
  console.error(`error: ${error.code === undefined ? error.message : `${grpc.status[error.code]}: ${error.details}`}`);
  process.exitCode = 1;
});
