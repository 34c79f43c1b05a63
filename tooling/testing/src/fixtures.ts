import { readFileSync } from 'node:fs';
import type { HostTensor } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';

/** Reads fixtures of a package's tests: `fixtures(new URL('../fixtures/', import.meta.url))`. */
export function fixtures(folder: URL) {
  const read = (path: string) => readFileSync(new URL(path, folder));
  return {
    /** The JSON of a fixture. */
    readJson: <T = unknown>(path: string): T => JSON.parse(read(path).toString('utf8')) as T,
    /** The F32 and I32 tensors of a safetensors fixture. */
    readTensors: (path: string): Record<string, HostTensor> => parseSafetensors(read(path)),
  };
}

/** Our reader is in `weights`, which an architecture never imports. */
function parseSafetensors(bytes: Buffer): Record<string, HostTensor> {
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors: Record<string, HostTensor> = {};
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const raw = Uint8Array.from(bytes.subarray(start + data_offsets[0], start + data_offsets[1])).buffer;
    tensors[name] = { shape, data: dtype === 'I32' ? new Int32Array(raw) : new Float32Array(raw) };
  }
  return tensors;
}

/** A tensor as our models take it: NHWC where it is an image. */
export function toTensor({ shape, data }: HostTensor): tf.Tensor {
  return tf.tidy(() => {
    const t = tf.tensor(data, [...shape], data instanceof Int32Array ? 'int32' : 'float32');
    return shape.length === 4 ? tf.transpose(t, [0, 2, 3, 1]) : t;
  });
}

/** ||a - b|| / ||b|| in float64. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    size += b[i]! ** 2;
  }
  return Math.sqrt(difference / size);
}
