import { InvalidArgumentError, MezzotintError, printable } from '@mezzotint/core';
import type { EngineChoice, EngineFacts, EngineName } from './engine.js';
import { asChoice, CHOICES, loadEngine } from './engines/load-engine.js';
import { reasonOf } from './engines/reason.js';
import { whyNoGpu } from './engines/tensorflow.js';

export interface UseBackendOptions {
  /**
   * This engine or an error; `onnxruntime:webgpu` for an execution provider of ONNX Runtime. When absent, the environment
   * variable MEZZOTINT_BACKEND; when that is empty, the fastest that loads.
   */
  readonly engine?: string | undefined;
}

/** An engine that was passed over, and why. */
export interface PassedOver {
  readonly engine: string;
  readonly reason: string;
}

/** The engine that runs, and why the better ones do not. */
export interface ChosenEngine extends EngineFacts {
  readonly name: EngineChoice;
  readonly why: readonly PassedOver[];
}

/**
 * Makes the fastest engine of this machine the active one of TensorFlow.js, with gradients, and says which:
 * `tensorflow` where it sees a GPU, else `onnxruntime`, else `tensorflow` on the CPU, else `wasm`, else `cpu`. When it
 * throws, the engine that was active before is still the active one. When nothing but `cpu` loads, Node is given the warning
 * `MEZZOTINT_SLOW_ENGINE`.
 *
 * @throws InvalidArgumentError for an unknown engine name
 * @throws MezzotintError (`MEZZOTINT_ENGINE_UNAVAILABLE`) when the engine that was asked for does not load
 */
export async function useBackend(options: UseBackendOptions = {}): Promise<ChosenEngine> {
  const { hasGradients } = await import('./register-gradients.js');
  if (!hasGradients()) throw new MezzotintError('MEZZOTINT_ENGINE_UNAVAILABLE', 'The gradients did not register.');
  const asked = options.engine ?? (process.env.MEZZOTINT_BACKEND || undefined);
  return asked === undefined ? choose() : load(known(asked, options.engine === undefined));
}

function known(name: string, fromEnvironment: boolean): EngineChoice {
  const choice = asChoice(name);
  if (choice !== undefined) return choice;
  const where = fromEnvironment ? 'in MEZZOTINT_BACKEND' : 'as engine';
  throw new InvalidArgumentError('useBackend', `expected one of ${CHOICES} ${where}, got '${name}'`);
}

async function load(name: EngineChoice): Promise<ChosenEngine> {
  try {
    return { name, ...(await loadEngine(name)), why: [] };
  } catch (error) {
    const reason = reasonOf(error);
    throw new MezzotintError(
      'MEZZOTINT_ENGINE_UNAVAILABLE',
      `The engine '${name}' does not load here: ${reason}. Choose another, or none for the fastest that loads.`,
      { engine: name, reason },
      { cause: error },
    );
  }
}

/** A way to compute, from the best to the last resort; `skip` says cheaply that it is not worth loading. */
const PREFERENCE: readonly {
  engine: EngineName;
  label: string;
  device?: 'gpu';
  skip?: () => Promise<string | undefined>;
}[] = [
  { engine: 'tensorflow', label: 'tensorflow on a GPU', device: 'gpu', skip: whyNoGpu },
  { engine: 'onnxruntime', label: 'onnxruntime' },
  { engine: 'tensorflow', label: 'tensorflow' },
  { engine: 'wasm', label: 'wasm' },
  { engine: 'cpu', label: 'cpu' },
];

/**
 * The engine `cpu` is for tests: 10 to 100 times as slow as the others. Who did not ask for it should know that it runs, and
 * why: by Node's own channel for warnings, which `--no-warnings` and `process.on('warning')` govern.
 */
function warnOfCpu(why: readonly PassedOver[]): void {
  const reasons = why.map(({ engine, reason }) => `${engine}: ${reason}`).join('; ');
  const text = `The engine 'cpu' was chosen, which is 10 to 100 times as slow as the others. None of them loads here: ${reasons}`;
  if (typeof process === 'object' && typeof process.emitWarning === 'function') {
    process.emitWarning(printable(text), { code: 'MEZZOTINT_SLOW_ENGINE' });
  }
}

async function choose(): Promise<ChosenEngine> {
  const why: PassedOver[] = [];
  for (const { engine, label, device, skip } of PREFERENCE) {
    try {
      const reason = await skip?.();
      if (reason !== undefined) {
        why.push({ engine: label, reason });
        continue;
      }
      const facts = await loadEngine(engine);
      if (device === undefined || facts.device === device) {
        if (engine === 'cpu') warnOfCpu(why);
        return { name: engine, ...facts, why };
      }
      why.push({ engine: label, reason: `TensorFlow sees no GPU, only ${facts.device}` });
    } catch (error) {
      why.push({ engine: label, reason: reasonOf(error) });
    }
  }
  const lines = why.map(({ engine, reason }) => `  ${engine}: ${reason}`).join('\n');
  throw new MezzotintError('MEZZOTINT_ENGINE_UNAVAILABLE', `No engine loads here:\n${lines}`, { why });
}
