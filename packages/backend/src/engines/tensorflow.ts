import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine.js';
import { activate } from './activate.js';
import { resolveInstalled } from './import-installed.js';

const PACKAGE = '@tensorflow/tfjs-node-gpu';

/** What the backend of tfjs-node says beside TensorFlow.js's interface. */
interface NodeBackend {
  readonly isUsingGpuDevice: boolean;
  readonly binding: { readonly TF_Version: string };
}

/** TensorFlow's C library through tfjs-node-gpu, an optional peer; the engine for NVIDIA GPUs. */
export const tensorflow: Engine = {
  name: 'tensorflow',
  async load() {
    if (tf.findBackendFactory('tensorflow') == null) await requireAddon();
    await activate('tensorflow');
    const { isUsingGpuDevice, binding } = tf.backend() as unknown as NodeBackend;
    return { version: binding.TF_Version, device: isUsingGpuDevice ? 'gpu' : 'cpu', trains: true, limits: [] };
  },
};

/**
 * Why no NVIDIA GPU can be used here, found without loading a library of 800 MB; undefined where it is worth trying.
 */
export async function whyNoGpu(): Promise<string | undefined> {
  if ((await addonProblem()) !== undefined) return addonProblem();
  if (process.platform === 'darwin') return 'no NVIDIA GPU on macOS';
  if (/^(-1)?$/.test(process.env.CUDA_VISIBLE_DEVICES ?? '0')) return 'CUDA_VISIBLE_DEVICES hides every GPU';
  if (process.platform !== 'linux') return undefined;
  const { existsSync } = await import('node:fs');
  const devices = ['/dev/nvidiactl', '/dev/nvidia0', '/dev/dxg'];
  return devices.some((device) => existsSync(device)) ? undefined : `no NVIDIA GPU (none of ${devices.join(', ')})`;
}

/** Loading the package without its addon takes half a second and fails: look for the addon first. */
async function addonProblem(): Promise<string | undefined> {
  const manifest = await resolveInstalled(`${PACKAGE}/package.json`);
  if (manifest === undefined) return `${PACKAGE} is not installed`;
  const { existsSync, readdirSync } = await import('node:fs');
  const { dirname, join } = await import('node:path');
  const lib = join(dirname(manifest), 'lib');
  const built = existsSync(lib) && readdirSync(lib).some((abi) => existsSync(join(lib, abi, 'tfjs_binding.node')));
  return built
    ? undefined
    : `${PACKAGE} is installed without its native addon (its install script did not run or failed)`;
}

async function requireAddon(): Promise<void> {
  const problem = await addonProblem();
  if (problem !== undefined) throw new Error(problem);
  await shimNode();
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'; // TensorFlow's own chatter, on stderr
  const { createRequire } = await import('node:module');
  const manifest = (await resolveInstalled(`${PACKAGE}/package.json`))!;
  createRequire(manifest)(PACKAGE);
}

/** tfjs-node calls two functions of `node:util` that Node 23 removed. */
async function shimNode(): Promise<void> {
  const { createRequire } = await import('node:module');
  const util = createRequire(import.meta.url)('node:util') as Record<string, unknown>;
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  util.isArray ??= Array.isArray;
}
