import { sizeOf } from '@mezzotint/core';
import type { KernelConfig, NamedAttrMap, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core';
import type { OnnxRuntimeBackend } from '../backend.js';
import type { ValueSpec } from '../graph/graph.js';
import { rowMajor } from '../graph/layout.js';
import type { Call } from '../graph/node.js';
import { Value } from '../graph/value.js';
import { HostBuffer } from '../memory/host-buffer.js';
import { handOver } from './handover.js';

/** What a kernel needs to write down its part of the graph. */
export class Tracer {
  constructor(
    readonly kernel: string,
    readonly backend: OnnxRuntimeBackend,
  ) {}

  /** Appends an operation with one output. */
  one(call: Call, inputs: readonly Value[], spec: ValueSpec): Value {
    return this.many(call, inputs, [spec])[0]!;
  }

  many(call: Call, inputs: readonly Value[], specs: readonly ValueSpec[]): readonly Value[] {
    if (specs.every(({ shape }) => sizeOf(shape) === 0)) return specs.map((spec) => this.empty(spec));
    return this.backend.graph.add(call, this.kernel, inputs, specs);
  }

  filled(shape: readonly number[], type: ValueSpec['type'], fill: number): Value {
    return this.backend.filled(shape, type, fill);
  }

  /** Numbers made on the host, in row-major order. */
  stored(data: Float32Array, shape: readonly number[]): Value {
    const value = new Value(shape, 'float32');
    const { pool } = this.backend.executor;
    const own = pool.take('float32', data.length);
    own.set(data);
    value.buffer = HostBuffer.of(own, rowMajor(shape), pool);
    return value;
  }

  /** A vector of int32 made on the host. */
  whole(data: Int32Array): Value {
    const value = new Value([data.length], 'int32');
    const { pool } = this.backend.executor;
    const own = pool.take('int32', data.length);
    own.set(data);
    value.buffer = HostBuffer.of(own, rowMajor(value.shape), pool);
    return value;
  }

  empty({ shape, type }: ValueSpec): Value {
    const value = new Value(shape, type);
    const { pool } = this.backend.executor;
    value.buffer = HostBuffer.of(pool.take(type, 0), rowMajor(shape), pool);
    return value;
  }
}

/** Inputs by name, as lazy values. Throws TypeError for a name that was not given. */
export type InputOf = (name: string) => Value;

export interface KernelInputs {
  readonly input: InputOf;
  /** An optional input. */
  readonly maybe: (name: string) => Value | undefined;
  /** All inputs of a kernel that takes a list. */
  readonly all: readonly Value[];
}

/**
 * Declares a kernel that traces. `undefined` as its result means: these arguments are for the cpu backend. Strings,
 * complex numbers and empty tensors always are. `views` names the input whose data the output looks at where the types
 * are the same.
 */
export function kernel<A>(
  name: string,
  trace: (tracer: Tracer, inputs: KernelInputs, attributes: A) => Value | readonly Value[] | undefined,
  { views }: { readonly views?: string } = {},
): KernelConfig {
  return {
    kernelName: name,
    backendName: 'onnxruntime',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const engine = backend as OnnxRuntimeBackend;
      if (Object.values(inputs).some(isForeign)) return handOver(name, inputs, attrs, engine);
      const tracer = new Tracer(name, engine);
      const made = trace(
        tracer,
        {
          input: (key) => engine.lazy(inputs[key]!),
          maybe: (key) => (inputs[key] == null ? undefined : engine.lazy(inputs[key])),
          get all() {
            return Object.values(inputs).flatMap((info) => (info == null ? [] : engine.lazy(info)));
          },
        },
        attrs as unknown as A,
      );
      if (made === undefined) return handOver(name, inputs, attrs, engine);
      if (!(made instanceof Value)) return made.map((value) => engine.tensorOf(value));
      const source = views === undefined ? undefined : inputs[views]!;
      return source?.dtype === made.type ? engine.viewOf(made, source) : engine.tensorOf(made);
    },
  };
}

/** Declares a kernel that the cpu backend runs. */
export function handedOver(name: string): KernelConfig {
  return {
    kernelName: name,
    backendName: 'onnxruntime',
    kernelFunc: ({ inputs, attrs, backend }) =>
      handOver(name, inputs as NamedTensorInfoMap, attrs as NamedAttrMap | undefined, backend as OnnxRuntimeBackend),
  };
}

function isForeign(info: TensorInfo | undefined): boolean {
  return info != null && (info.dtype === 'complex64' || info.dtype === 'string' || sizeOf(info.shape) === 0);
}
