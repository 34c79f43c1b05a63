import type { KernelConfig, TensorInfo } from '@tensorflow/tfjs-core';
import type { OnnxRuntimeBackend } from '../backend.js';
import type { Layout } from '../graph/layout.js';
import { operation } from '../graph/node.js';
import { Value } from '../graph/value.js';
import { type AdamWNumbers, adamWUpdate } from '../memory/adamw-update.js';
import { HostBuffer } from '../memory/host-buffer.js';

/** The same elements arranged as `layout` says. */
const arranged = operation<{ layout: Layout }>('Arranged', (b, [x], _, { layout }) => [b.relayout(x!, layout)]);

/**
 * `MezzotintAdamW` (inputs and outputs are documented in @mezzotint/training): runs at once, in one pass over the arrays,
 * and in place where nobody else holds them, so the tensors it was given must not be read afterwards. The moments keep
 * the layout of the parameter, and so does the gradient: nothing is transposed in a step.
 */
export const adamWKernel: KernelConfig = {
  kernelName: 'MezzotintAdamW',
  backendName: 'onnxruntime',
  kernelFunc: ({ inputs, attrs, backend }) => {
    const engine = backend as OnnxRuntimeBackend;
    const stored = (name: string): Value => engine.stored(inputs[name]!);
    const number = (name: string): number => stored(name).buffer!.data[0]!;
    const { beta1, beta2, epsilon } = attrs as unknown as Pick<AdamWNumbers, 'beta1' | 'beta2' | 'epsilon'>;

    const param = stored('param');
    const { layout } = param.buffer!;
    const gradient = inLayout(engine, stored('gradient'), layout);
    const mean = inLayout(engine, stored('mean'), layout);
    const square = inLayout(engine, stored('square'), layout);
    const successor = (value: Value, info: TensorInfo): HostBuffer => {
      const owned = value.buffer!;
      if (engine.ownedAlone(info) && owned.exclusive && value.uses === 0) return owned.share(layout);
      return HostBuffer.of(engine.executor.pool.take('float32', value.size), layout, engine.executor.pool);
    };
    const buffers = [successor(param, inputs.param!), successor(mean, inputs.mean!), successor(square, inputs.square!)];
    const array = (buffer: HostBuffer): Float32Array => buffer.data as Float32Array;
    adamWUpdate(
      {
        param: array(param.buffer!),
        gradient: array(gradient.buffer!),
        mean: array(mean.buffer!),
        square: array(square.buffer!),
        newParam: array(buffers[0]!),
        newMean: array(buffers[1]!),
        newSquare: array(buffers[2]!),
      },
      {
        beta1,
        beta2,
        epsilon,
        keep: number('keep'),
        gradientScale: number('gradientScale'),
        stepSize: number('stepSize'),
        rootScale: number('rootScale'),
      },
    );
    for (const value of [gradient, mean, square]) engine.graph.sweep(value);
    return buffers.map((buffer) => {
      const value = new Value(param.shape, 'float32');
      value.buffer = buffer;
      return engine.tensorOf(value);
    });
  },
};

/** The value as it is where it lies in this layout, else a copy that does. */
function inLayout(engine: OnnxRuntimeBackend, value: Value, layout: Layout): Value {
  if (value.buffer!.layout.key === layout.key) return value;
  const [copy] = engine.graph.add(
    arranged({ layout }),
    'MezzotintAdamW',
    [value],
    [{ shape: value.shape, type: 'float32' }],
  );
  engine.graph.read(copy!, new Set(), false);
  return copy!;
}
