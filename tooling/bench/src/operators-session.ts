// The operators as onnxruntime-node's own sessions of one node, with its default optimizations. `constant`: weights are
// part of the model, so that it may pack them; `fed`: they are inputs.
import { createRequire } from 'node:module';
import { encodeModel, type OnnxNode } from '@mezzotint/backend-onnxruntime/onnx-model';
import { TorchGenerator } from '@mezzotint/core';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { nameOf, type Operator, operators } from './operators.js';
import { threads } from './page.js';
import { repeated, serve } from './serve.js';

const [mode] = process.argv.slice(2) as ['constant' | 'fed'];
const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };

await serve(async () => {
  const jobs = operators.map((operator) => {
    let run: (() => Promise<unknown>) | undefined;
    const job = repeated(async () => {
      run ??= await session(operator);
      await run();
    });
    return [nameOf(operator), job] as const;
  });
  return { name: `session, ${mode}`, version, jobs: Object.fromEntries(jobs) };
});

/** A model of one node: the first operands are always fed. */
interface OneNode {
  readonly node: Omit<OnnxNode, 'inputs' | 'outputs'>;
  readonly fed: readonly (readonly number[])[];
  readonly weights: readonly (readonly number[])[];
  readonly output: readonly number[];
}

function oneNode(operator: Operator): OneNode {
  if (operator.kind === 'convolution') {
    const { image, channels, kernel, stride } = operator;
    const [n, h, w, c] = image;
    const pad = (kernel - 1) / 2;
    const attributes = { kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [pad, pad, pad, pad] };
    return {
      node: { op: 'Conv', attributes },
      fed: [[n, c, h, w]],
      weights: [[channels, c, kernel, kernel]],
      output: [n, channels, h / stride, w / stride],
    };
  }
  if (operator.kind === 'product') {
    const { rows, inner, columns } = operator;
    const attributes = { transB: 1 };
    return {
      ...{ node: { op: 'Gemm', attributes }, fed: [[rows, inner]] },
      ...{ weights: [[columns, inner]], output: [rows, columns] },
    };
  }
  const { batch, heads, queries, keys, width } = operator;
  const tokens = (t: number) => [batch, t, heads * width];
  return {
    node: { op: 'MultiHeadAttention', domain: 'com.microsoft', attributes: { num_heads: heads } },
    ...{ fed: [tokens(queries), tokens(keys), tokens(keys)], weights: [], output: tokens(queries) },
  };
}

async function session(operator: Operator): Promise<() => Promise<unknown>> {
  const { node, fed, weights, output } = oneNode(operator);
  const operands = [...fed, ...weights].map((shape, index) => ({ name: `x${index}`, type: 'float32' as const, shape }));
  const inputs = mode === 'fed' ? operands : operands.slice(0, fed.length);
  const constants = operands.slice(inputs.length).map((value) => ({ ...value, data: bytesOf(normals(value.shape)) }));
  const model = encodeModel({
    nodes: [{ ...node, inputs: operands.map(({ name }) => name), outputs: ['y'] }],
    ...{ inputs, constants, outputs: [{ name: 'y', type: 'float32', shape: output }] },
  });
  const made = await InferenceSession.create(model, {
    intraOpNumThreads: threads,
    logSeverityLevel: 3,
    // Else the idle threads of the other sessions take the cores from the one that runs.
    extra: { session: { force_spinning_stop: '1' } },
  });
  const feeds = Object.fromEntries(
    inputs.map(({ name, shape }) => [name, new Tensor('float32', normals(shape), [...shape])]),
  );
  return () => made.run(feeds);
}

function normals(shape: readonly number[]): Float32Array {
  return new TorchGenerator(shape.length).randn(shape.reduce((size, side) => size * side, 1));
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
