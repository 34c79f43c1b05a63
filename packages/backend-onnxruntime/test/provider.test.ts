import { checkProvider, listedProviders, OnnxRuntimeBackend } from '@mezzotint/backend-onnxruntime';
import { InvalidArgumentError, MezzotintError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OnnxGraph } from '../src/onnx/model.js';
import { placement } from '../src/session/placement.js';
import { PROVIDERS } from '../src/session/provider.js';

beforeEach(async () => {
  await tf.setBackend('onnxruntime');
});

/** The error of a provider that does not run here; undefined where it does. */
function refusal(provider: string): MezzotintError | undefined {
  try {
    checkProvider(provider);
    return undefined;
  } catch (error) {
    return error as MezzotintError;
  }
}

describe('an execution provider', () => {
  test('that does not exist is named with those that do', () => {
    for (const name of ['abacus', '']) {
      const make = () => new OnnxRuntimeBackend({ provider: name });
      expect(make).toThrow(InvalidArgumentError);
      expect(make).toThrow(`expected an execution provider of cpu, webgpu, cuda, tensorrt, coreml, dml, got '${name}'`);
    }
  });

  // Whatever this machine has: each either computes, or is refused where it is selected, and nothing is selected then.
  test.each(PROVIDERS)('%s runs, or says why not and what it needs', async (provider) => {
    const kept = tf.tensor1d([1, 2, 3]);
    const refused = refusal(provider);
    if (refused === undefined) {
      expect(await tf.setBackend(`onnxruntime:${provider}`)).toBe(true);
      const sum = tf.add(kept, 1);
      expect([...sum.dataSync()]).toEqual([2, 3, 4]);
      sum.dispose();
      await tf.setBackend('onnxruntime');
    } else {
      expect(MezzotintError.isInstance(refused)).toBe(true);
      expect(refused.code).toBe('MEZZOTINT_ENGINE_UNAVAILABLE');
      expect(refused.facts).toMatchObject({ provider, reason: expect.stringMatching(/\S/), needs: expect.any(String) });
      expect(refused.message).toContain(
        `the execution provider ${provider} does not run here: ${refused.facts.reason}`,
      );
      expect(refused.message).toContain(refused.facts.needs as string);
      expect(() => new OnnxRuntimeBackend({ provider })).toThrow(refused.message);
    }
    expect([...tf.mul(kept, 2).dataSync()]).toEqual([2, 4, 6]);
    kept.dispose();
  });

  test('that this build has not is told apart from one whose libraries or device are missing', () => {
    expect(listedProviders()).toContain('cpu');
    const absent = PROVIDERS.filter((name) => !listedProviders().includes(name));
    expect(absent.length).toBeGreaterThan(0); // no platform has both coreml and dml
    for (const name of absent) {
      expect(refusal(name)!.message).toContain(`is built without it for ${process.platform} ${process.arch} (cpu`);
    }
  });
});

describe('a program that a provider cannot run', () => {
  let engine: OnnxRuntimeBackend;
  beforeEach(async () => {
    engine = new OnnxRuntimeBackend();
    // A name that every session refuses stands for a provider that takes a graph and then fails.
    (engine.executor.options as { provider: string }).provider = 'refuses';
    tf.registerBackend('onnxruntime:refuses', () => engine);
    tf.copyRegisteredKernels('onnxruntime', 'onnxruntime:refuses');
    await tf.setBackend('onnxruntime:refuses');
  });
  afterEach(async () => {
    await tf.setBackend('onnxruntime');
    tf.removeBackend('onnxruntime:refuses');
  });

  test('runs on the cpu, and stays there', () => {
    for (const number of [2, 3]) {
      const sum = tf.tidy(() => tf.sum(tf.matMul(tf.ones([3, 4]), tf.fill([4, 2], number))).dataSync()[0]);
      expect(sum).toBe(24 * number);
    }
    expect(engine.statistics()).toMatchObject({ programs: 1, reused: 1 });
  });

  test('a fault of the data is still told', () => {
    const beyond = tf.tidy(() => tf.add(tf.tensor1d([7], 'int32'), tf.scalar(0, 'int32')) as tf.Tensor1D);
    const wrong = tf.gather(tf.tensor1d([1, 2]), beyond);
    expect(() => wrong.dataSync()).toThrow(/GatherV2/);
    tf.dispose([wrong, beyond]);
  });
});

test('what WebGPU gets wrong is placed on the cpu by name, all else is left to it', () => {
  const node = (op: string, outputs = 1, attributes = {}) => ({
    ...{ op, inputs: ['x'], attributes },
    outputs: Array.from({ length: outputs }, (_, i) => `y${i}`),
  });
  const graph: OnnxGraph = {
    nodes: [
      node('Add'),
      node('Sin'),
      node('MaxPool'),
      node('MaxPool', 2),
      node('MultiHeadAttention'),
      node('ConvTranspose', 1, { strides: [1, 1] }),
      node('ConvTranspose', 1, { strides: [1, 1, 1] }),
    ],
    ...{ inputs: [], outputs: [], constants: [] },
  };
  const forceCpuNodeNames = ['Sin_1', 'MaxPool_3', 'MultiHeadAttention_4', 'ConvTranspose_6'];
  expect(placement(graph, 'webgpu')).toEqual([{ name: 'webgpu', preferredLayout: 'NCHW', forceCpuNodeNames }, 'cpu']);
  expect(placement({ ...graph, nodes: [node('Add')] }, 'webgpu')[0]).not.toHaveProperty('forceCpuNodeNames');
  expect(placement(graph, 'cuda')).toEqual(['cuda', 'cpu']);
  expect(placement(graph, 'cpu')).toEqual(['cpu']);
});
