import * as tf from '@tensorflow/tfjs-core';
import { MezzotintError } from '../errors.js';
import { elementwiseFlops } from './elementwise-flops.js';
import { type ShapeInfo, shapeKernels } from './shape-kernels.js';

const NAME = 'mezzotint-shape';

/** Hears the multiply-adds of a matrix product or convolution, or the weighted operations of an element-wise kernel. */
export type Count = (macs: number, elementwise?: number) => void;

/** A TensorFlow.js backend whose tensors have a shape and a type and no numbers; its kernels report multiply-adds. */
class ShapeBackend extends tf.KernelBackend {
  constructor(readonly count: Count) {
    super();
  }

  override write(): object {
    return {};
  }

  override disposeData(): boolean {
    return true;
  }

  override refCount(): number {
    return 1;
  }

  override incRef(): void {}

  override numDataIds(): number {
    return 0;
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: true };
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override dispose(): void {}

  override readSync(): never {
    throw new MezzotintError(
      'MEZZOTINT_NO_VALUES',
      'describe: forward reads the numbers of a tensor (dataSync, arraySync), but only shapes are known here. ' +
        'Take the number as an argument instead.',
    );
  }

  override async read(): Promise<never> {
    return this.readSync();
  }
}

/** The fields of the engine that say which backend is active. Only some are in its public type. */
interface ActiveBackend {
  backendName: string | null;
  backendInstance: tf.KernelBackend | null;
  pendingBackendInit: Promise<boolean> | null;
  profiler: unknown;
}

/** A tensor of the active shape backend: no memory, whatever the size. */
export function shapeTensor(shape: readonly number[], dtype: 'float32' | 'int32' = 'float32'): tf.Tensor {
  return tf.engine().makeTensorFromTensorInfo({ dataId: {}, shape: [...shape], dtype });
}

/**
 * Runs `body` in a `tf.tidy` on a backend that only knows shapes, and puts back what was active before, also when
 * `body` throws, and also when no backend was. Nothing stays registered. `count` hears the multiply-adds of each
 * matrix product and convolution, and what element-wise kernels cost in EDM2's convention.
 *
 * @returns how many tensors `body` left behind (`tf.keep`)
 * @throws MezzotintError when an op is used that has no shape kernel, naming it
 */
export function onShapes(count: Count, body: () => void): number {
  const engine = tf.engine() as unknown as ActiveBackend;
  const { backendName, backendInstance, pendingBackendInit, profiler } = engine;
  // A backend that is still being prepared must go on being prepared; it only is not asked meanwhile.
  engine.pendingBackendInit = null;
  tf.registerBackend(NAME, () => new ShapeBackend(count), 0);
  for (const [kernelName, infer] of Object.entries(shapeKernels)) {
    tf.registerKernel({
      kernelName,
      backendName: NAME,
      kernelFunc: ({ inputs, attrs, backend }) => {
        const { count } = backend as ShapeBackend;
        const out = infer(inputs as never, attrs as never, count);
        if (!Array.isArray(out)) count(0, elementwiseFlops(kernelName, (out as ShapeInfo).shape));
        const info = ({ shape, dtype }: { shape: readonly number[]; dtype: tf.DataType }): tf.TensorInfo => ({
          dataId: {},
          shape: [...shape],
          dtype,
        });
        return Array.isArray(out) ? out.map(info) : info(out as { shape: readonly number[]; dtype: tf.DataType });
      },
    });
  }
  try {
    // Synchronous up to its end, because the factory is.
    void tf.setBackend(NAME);
    const before = tf.memory().numTensors;
    tf.tidy(body);
    return tf.memory().numTensors - before;
  } catch (error) {
    const kernel = /Kernel '(\w+)' not registered for backend 'mezzotint-shape'/.exec(String(error))?.[1];
    if (kernel === undefined) throw error;
    throw new MezzotintError(
      'MEZZOTINT_NO_SHAPE_KERNEL',
      `describe: the op ${kernel} has no shape rule. Use another op in forward, or ask for a rule in @mezzotint/core (cost/shape-kernels.ts).`,
      { kernel },
      { cause: error },
    );
  } finally {
    for (const kernelName of Object.keys(shapeKernels)) tf.unregisterKernel(kernelName, NAME);
    tf.removeBackend(NAME);
    Object.assign(engine, { backendName, backendInstance, pendingBackendInit, profiler });
  }
}
