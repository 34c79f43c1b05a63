import { availableParallelism } from 'node:os';
import { MezzotintError } from '@mezzotint/core';
import { type NativeSession, type NativeTensor, nativeBinding } from '../native/binding.js';
import { encodeModel, type OnnxConstant, type OnnxGraph } from '../onnx/model.js';
import { placement } from './placement.js';
import type { ProgramPlan } from './program.js';
import { isStop } from './stop.js';

/** How sessions are made. */
export interface EngineOptions {
  /** Threads inside an operator; OMP_NUM_THREADS, else the number of cores, when absent. */
  readonly threads: number;
  /** ONNX Runtime's name of what runs the graphs: `cpu`, or `webgpu`, `cuda`, `tensorrt`, `coreml`, `dml` where they run. */
  readonly provider: string;
}

/** OMP_NUM_THREADS is how launchers of many processes (mpirun, srun) give each its share of the cores. */
export const defaultOptions: EngineOptions = {
  threads: Number(process.env.OMP_NUM_THREADS) || availableParallelism(),
  provider: 'cpu',
};

/** Graphs with no value above this many elements run on one thread: starting a second one costs more than it saves. */
const SMALL = 8192;

/** Compiles the graph of a plan. */
export function createSession(
  { graph, kernels, largest, returnsMemory }: Pick<ProgramPlan, 'graph' | 'kernels' | 'largest' | 'returnsMemory'>,
  { threads, provider }: EngineOptions,
): NativeSession {
  const { InferenceSession } = nativeBinding();
  const { inside, outside } = splitConstants(graph);
  const bytes = encodeModel(inside);
  const session = new InferenceSession();
  try {
    session.loadModel(bytes.buffer, bytes.byteOffset, bytes.byteLength, {
      executionProviders: placement(graph, provider),
      intraOpNumThreads: largest > SMALL ? threads : 1,
      interOpNumThreads: 1,
      executionMode: 'sequential',
      // What we write is already optimized, and a large graph is created three times as fast.
      graphOptimizationLevel: 'disabled',
      enableMemPattern: false,
      ...(outside.length === 0 ? {} : { externalData: outside }),
      // An arena keeps the memory of a session's largest run for as long as the session lives. FLUX.1 at 512x512 in Q4_0: 0.8 GB
      // less without, in the same time, since a block computes for seconds.
      enableCpuMemArena: largest > SMALL && !returnsMemory,
      // Faults come as exceptions; a library prints nothing.
      logSeverityLevel: 4,
      // Else the idle threads of all cached sessions spin and take the cores from the one that runs.
      extra: { session: { force_spinning_stop: '1' } },
    });
  } catch (cause) {
    throw failure('compile', cause, graph, kernels);
  }
  return session;
}

/** Constants of this size or more lie beside the model, whose protobuf ends at 2 GB. */
const LARGE = 2 ** 17;

function splitConstants(graph: OnnxGraph): { inside: OnnxGraph; outside: { path: string; data: Uint8Array }[] } {
  const outside: { path: string; data: Uint8Array }[] = [];
  const constants = graph.constants.map((constant): OnnxConstant => {
    const { name, data } = constant;
    if (!(data instanceof Uint8Array) || data.length < LARGE) return constant;
    outside.push({ path: name, data });
    return { ...constant, data: { location: name, offset: 0, length: data.length } };
  });
  return { inside: { ...graph, constants }, outside };
}

export function runSession(
  session: NativeSession,
  feeds: Readonly<Record<string, NativeTensor>>,
  fetches: Readonly<Record<string, NativeTensor>>,
  describe: { readonly graph: OnnxGraph; readonly kernels: readonly string[]; readonly stop: string | undefined },
): void {
  const { stop } = describe;
  try {
    session.run(feeds, stop === undefined ? fetches : { ...fetches, [stop]: null }, {});
  } catch (cause) {
    if (stop !== undefined && isStop(cause)) return;
    throw failure('run', cause, describe.graph, describe.kernels);
  }
}

function failure(
  what: 'compile' | 'run',
  cause: unknown,
  graph: OnnxGraph,
  kernels: readonly string[],
): MezzotintError {
  const text = cause instanceof Error ? cause.message : String(cause);
  const named = graph.nodes.findIndex(
    (node, index) => text.includes(`${node.op}_${index}'`) || text.includes(`${node.op}_${index})`),
  );
  const kernel = named < 0 ? undefined : kernels[named];
  return new MezzotintError(
    'MEZZOTINT_ENGINE_FAILED',
    `onnxruntime could not ${what} ${kernel ?? `a graph of ${graph.nodes.length} nodes (${[...new Set(kernels)].slice(0, 12).join(', ')})`}: ${text}`,
    { kernel, nodes: graph.nodes.length },
    { cause },
  );
}
