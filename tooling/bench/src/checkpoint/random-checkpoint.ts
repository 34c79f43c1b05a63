import { existsSync, mkdirSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startProgress } from '@mezzotint/app';
import { deriveSeed, InvalidArgumentError, type StateDict, TorchGenerator, type WeightSource } from '@mezzotint/core';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import type { CheckpointNetwork } from './networks.js';

/** Types that a checkpoint is written in. */
export const fileTypes = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;
export type FileType = keyof typeof fileTypes;

/** A folder as diffusers lays it out (`config.json` and one weight file), and a file of inputs. */
export interface Checkpoint {
  readonly folder: string;
  readonly weights: string;
  readonly inputs: string;
  readonly bytes: number;
  /** False when it was there already. */
  readonly written: boolean;
}

const SEED = 0;

/** Bytes of the weights in a file type. */
export function bytesOf(network: CheckpointNetwork, type: FileType): number {
  return parametersOf(network) * (type === 'float32' ? 4 : 2);
}

function parametersOf(network: CheckpointNetwork): number {
  return [...network.build().model.params().values()].reduce((n, { size }) => n + size, 0);
}

/**
 * Writes a checkpoint of initial weights, or finds the one that an earlier run wrote. The same bytes each time; one
 * tensor in memory at a time. The current engine makes the numbers.
 *
 * @throws InvalidArgumentError when the disk has no room for it
 */
export async function writeCheckpoint(
  name: string,
  network: CheckpointNetwork,
  type: FileType,
  parent: string,
  signal: AbortSignal,
): Promise<Checkpoint> {
  const folder = join(parent, `${name}-${type}`);
  const weights = join(folder, 'diffusion_pytorch_model.safetensors');
  const inputs = join(folder, 'inputs.safetensors');
  const found = isFinished(weights, type) && existsSync(inputs);
  if (!found) {
    mkdirSync(folder, { recursive: true });
    checkRoom(folder, bytesOf(network, type));
    writeFileSync(join(folder, 'config.json'), `${JSON.stringify(network.config, null, 2)}\n`);
    await writeSafetensors(inputs, randomInputs(network), { overwrite: true });
    const { source, stop } = randomWeights(`Writing ${name} ${type}`, network, signal);
    try {
      await writeSafetensors(weights, network.toDiffusers?.(source) ?? source, {
        dtype: fileTypes[type],
        metadata: { seed: `${SEED}` },
        overwrite: true,
      });
    } finally {
      stop();
    }
  }
  return { folder, weights, inputs, bytes: statSync(weights).size, written: !found };
}

/** Whether a whole file of that type is there: it gets its name when it is complete. */
function isFinished(path: string, type: FileType): boolean {
  if (!existsSync(path)) return false;
  const file = readSafetensors(path);
  try {
    return (
      file.metadata.get('seed') === `${SEED}` && [...file.tensors.values()].every((t) => t.dtype === fileTypes[type])
    );
  } finally {
    file.close();
  }
}

function checkRoom(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize > bytes * 1.05) return;
  const gigabytes = (n: number) => (n / 1e9).toFixed(1);
  throw new InvalidArgumentError(
    '--folder',
    `${folder} has ${gigabytes(bavail * bsize)} GB free, the checkpoint takes ${gigabytes(bytes)}; choose a folder on another disk`,
  );
}

/** The model's initial values, each tensor drawn when it is asked for. */
function randomWeights(
  what: string,
  network: CheckpointNetwork,
  signal: AbortSignal,
): { source: WeightSource; stop(): void } {
  const params = network.build().model.params();
  const megabytes = (elements: number) => Math.round(elements / 1e6);
  const progress = startProgress(`${what}, million numbers`, megabytes(parametersOf(network)));
  let done = 0;
  const source: WeightSource = {
    name: what,
    tensors: new Map([...params].map(([name, { fileShape }]) => [name, { shape: fileShape, dtype: 'float32' }])),
    read: async (name) => {
      await new Promise((resolve) => setImmediate(resolve)); // Lets Ctrl-C in.
      signal.throwIfAborted();
      const param = params.get(name)!;
      const rng = new TorchGenerator(deriveSeed(SEED, name));
      done += param.size;
      progress.update(megabytes(done));
      if (network.init !== undefined && !param.buffer) {
        return { shape: param.fileShape, data: network.init(param.fileShape, rng) };
      }
      param.initialize(rng);
      const tensor = await param.toHost();
      param.dispose();
      return tensor;
    },
  };
  return { source, stop: () => progress.stop() };
}

function randomInputs({ inputs }: CheckpointNetwork): StateDict {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, shape]) => {
      const size = shape.reduce((n, d) => n * d, 1);
      return [name, { shape, data: new TorchGenerator(deriveSeed(SEED, `inputs.${name}`)).randn(size) }];
    }),
  );
}
