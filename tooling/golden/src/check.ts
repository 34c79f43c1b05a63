import type { HostTensor, Module } from '@mezzotint/core';
import { MezzotintError } from '@mezzotint/core';
import { readSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import type { Adapter, NamedTensors } from './adapter.js';
import { adapterOf } from './adapters/index.js';
import type { GoldenFolder } from './golden-folder.js';

/** How far ||a - b|| / ||b|| may be from zero. float32 on both sides leaves about 1e-6; a wrong model is far above. */
export const tolerance = 1e-4;

/** One output beside the reference's. */
export interface OutputReport {
  readonly name: string;
  readonly shape: readonly number[];
  /** ||a - b|| / ||b||; null when there is nothing to compare. */
  readonly relativeError: number | null;
  readonly passed: boolean;
  /** What is wrong when it cannot be compared. */
  readonly problem?: string;
}

/** What came of a folder: `unknown` when there is no such model yet. */
export interface FolderReport {
  readonly folder: string;
  readonly class: string;
  readonly status: 'passed' | 'failed' | 'unknown';
  readonly outputs: readonly OutputReport[];
  readonly seconds: number;
  /** Why the model did not get to its outputs. */
  readonly problem?: string;
}

/** Builds the folder's model, loads its weights strictly, runs its inputs and compares each of its outputs. */
export async function checkFolder(folder: GoldenFolder): Promise<FolderReport> {
  const about = { folder: folder.name, class: folder.className };
  const adapter = adapterOf(folder.className, folder.config);
  if (adapter === undefined) return { ...about, status: 'unknown', outputs: [], seconds: 0 };
  const start = performance.now();
  const seconds = () => Math.round(performance.now() - start) / 1000;
  try {
    const model = await loadModel(adapter, folder);
    try {
      const outputs = await runModel(adapter, model, folder);
      const status = outputs.every(({ passed }) => passed) ? 'passed' : 'failed';
      return { ...about, status, outputs, seconds: seconds() };
    } finally {
      model.dispose();
    }
  } catch (error) {
    // A model that refuses the folder's configuration, weights or inputs has failed; anything else is a fault of ours.
    if (!MezzotintError.isInstance(error) || error.code === 'MEZZOTINT_INVALID_FILE') throw error;
    return { ...about, status: 'failed', outputs: [], seconds: seconds(), problem: error.message };
  }
}

async function loadModel(adapter: Adapter, folder: GoldenFolder): Promise<Module> {
  if (adapter.weightless) return adapter.build(folder.config, folder.className);
  const source = readSafetensors(folder.weights);
  try {
    const model = adapter.build(folder.config, folder.className);
    return await model.load(adapter.translate?.(source, folder.config) ?? source);
  } finally {
    source.close();
  }
}

async function runModel(adapter: Adapter, model: Module, folder: GoldenFolder): Promise<OutputReport[]> {
  const inputs: NamedTensors = Object.fromEntries(
    Object.entries(folder.inputs).map(([name, tensor]) => [name, toTensor(tensor)]),
  );
  const results: Record<string, tf.Tensor> = {};
  try {
    // What a model gives may be one of its inputs again, which is freed here.
    Object.assign(
      results,
      tf.tidy(() => ({ ...adapter.run(model, inputs) })),
    );
    Object.assign(results, await adapter.sample?.(model, inputs));
    const reports: OutputReport[] = [];
    for (const [name, expected] of Object.entries(folder.outputs)) {
      reports.push(compare(name, results[name]?.shape, await results[name]?.data(), expected, folder.tolerances[name]));
    }
    return reports;
  } finally {
    tf.dispose([inputs, results]);
  }
}

function toTensor({ shape, data }: HostTensor): tf.Tensor {
  return tf.tensor(data, [...shape], data instanceof Int32Array ? 'int32' : 'float32');
}

/** Compares one output with the reference's. */
export function compare(
  name: string,
  shape: readonly number[] | undefined,
  got: ArrayLike<number> | undefined,
  expected: HostTensor,
  bar = tolerance,
): OutputReport {
  const failed = (problem: string) => ({ name, shape: expected.shape, relativeError: null, passed: false, problem });
  if (shape === undefined || got === undefined) return failed('our model has no such output');
  if (String(shape) !== String(expected.shape)) return failed(`expected [${expected.shape}], got [${shape}]`);
  const error = relativeError(got, expected.data);
  if (!Number.isFinite(error)) return failed('holds numbers that are not finite');
  return { name, shape, relativeError: error, passed: error <= bar };
}

/** ||a - b|| / ||b|| in float64; ||a|| where b is zero. */
function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    size += b[i]! ** 2;
  }
  return Math.sqrt(difference) / (Math.sqrt(size) || 1);
}
