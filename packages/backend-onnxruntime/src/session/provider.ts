import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { InvalidArgumentError, MezzotintError } from '@mezzotint/core';
import { nativeBinding } from '../native/binding.js';
import { version } from '../native/version.js';
import { encodeModel } from '../onnx/model.js';

/** What ONNX Runtime's execution providers other than `cpu` need, by the names that onnxruntime-node has for them. */
const NEEDS = {
  webgpu: 'a GPU with a driver for Vulkan on Linux x64, for Metal on macOS, for Direct3D 12 on Windows',
  cuda: 'Linux x64, an NVIDIA GPU with CUDA 12 and cuDNN 9, and the libraries that `ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node` downloads',
  tensorrt: 'what cuda needs, and TensorRT 10',
  coreml: 'macOS',
  dml: 'Windows with a GPU for Direct3D 12',
} as const;

type Provider = keyof typeof NEEDS;

/** The execution providers that have a backend of their own, `onnxruntime:NAME`, where they run. */
export const PROVIDERS = Object.keys(NEEDS) as readonly Provider[];

/** The execution providers that this platform's build of onnxruntime-node knows; whether one runs, `checkProvider` finds out. */
export function listedProviders(): readonly string[] {
  return nativeBinding()
    .listSupportedBackends()
    .map(({ name }) => name);
}

const running = new Set<string>(['cpu']);

/**
 * Throws where an execution provider cannot run here: adds two numbers on it, once a process, since its libraries, its
 * driver and its device are looked for only by the first session.
 *
 * @throws InvalidArgumentError for a name that no build has
 * @throws MezzotintError (`MEZZOTINT_ENGINE_UNAVAILABLE`) that says why, and what the provider needs
 */
export function checkProvider(provider: string): void {
  if (running.has(provider)) return;
  const listed = listedProviders();
  if (!listed.includes(provider)) {
    if (!isKnown(provider)) {
      const names = [...new Set(['cpu', ...PROVIDERS, ...listed])].join(', ');
      throw new InvalidArgumentError('onnxruntime', `expected an execution provider of ${names}, got '${provider}'`);
    }
    const here = `${process.platform} ${process.arch}`;
    throw unavailable(provider, `onnxruntime-node ${version} is built without it for ${here} (${listed.join(', ')})`);
  }
  const missing = missingLibrary(provider);
  if (missing !== undefined) throw unavailable(provider, missing);
  try {
    addOnce(provider);
  } catch (cause) {
    throw unavailable(provider, reasonOf(cause), cause);
  }
  running.add(provider);
}

function isKnown(provider: string): provider is Provider {
  return Object.hasOwn(NEEDS, provider);
}

/** A library without which the provider cannot start, looked for before it complains of that on the console itself. */
function missingLibrary(provider: string): string | undefined {
  if (process.platform !== 'linux') return undefined;
  if (provider === 'webgpu') return loads('libvulkan.so.1') ? undefined : 'there is no libvulkan.so.1 on this machine';
  if (provider !== 'cuda' && provider !== 'tensorrt') return undefined;
  const require = createRequire(import.meta.url);
  const folder = join(
    dirname(require.resolve('onnxruntime-node/package.json')),
    'bin',
    'napi-v6',
    'linux',
    process.arch,
  );
  const missing = ['shared', provider]
    .map((name) => `libonnxruntime_providers_${name}.so`)
    .filter((name) => !existsSync(join(folder, name)));
  return missing.length === 0 ? undefined : `onnxruntime-node is installed without ${missing.join(' and ')}`;
}

/** True when the system's loader finds a library. */
function loads(library: string): boolean {
  try {
    process.dlopen({ exports: {} }, library);
  } catch (error) {
    // One that loads is refused afterwards, since it is no addon of Node.
    return !String(error).includes('cannot open shared object file');
  }
  return true;
}

function addOnce(provider: string): void {
  const value = (name: string) => ({ name, type: 'float32' as const, shape: [2, 2] });
  const bytes = encodeModel({
    nodes: [{ op: 'Add', inputs: ['x', 'x'], outputs: ['y'] }],
    inputs: [value('x')],
    outputs: [value('y')],
    constants: [],
  });
  const tensor = (...data: number[]) => ({
    type: 'float32',
    dims: [2, 2],
    data: Float32Array.from(data),
    location: 'cpu' as const,
  });
  const { InferenceSession } = nativeBinding();
  const session = new InferenceSession();
  const options = { executionProviders: [provider, 'cpu'], enableMemPattern: false, logSeverityLevel: 4 };
  session.loadModel(bytes.buffer, bytes.byteOffset, bytes.byteLength, options);
  try {
    const y = tensor(0, 0, 0, 0);
    session.run({ x: tensor(1, 2, 3, 4) }, { y }, {});
    if (String(y.data) !== '2,4,6,8') throw new Error(`it gives ${y.data} for twice 1,2,3,4`);
  } finally {
    session.dispose();
  }
}

/** What ONNX Runtime says, without the places in its source. */
function reasonOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  const line = text
    .trim()
    .split('\n')[0]!
    .replace(/^\/onnxruntime_src.* was false\. /, '');
  return line.replace(/\.$/, '');
}

function unavailable(provider: string, reason: string, cause?: unknown): MezzotintError {
  const needs = isKnown(provider) ? NEEDS[provider] : undefined;
  return new MezzotintError(
    'MEZZOTINT_ENGINE_UNAVAILABLE',
    `onnxruntime: the execution provider ${provider} does not run here: ${reason}${needs === undefined ? '' : `; it needs ${needs}`}. The provider cpu runs everywhere.`,
    { provider, reason, needs },
    { cause },
  );
}
