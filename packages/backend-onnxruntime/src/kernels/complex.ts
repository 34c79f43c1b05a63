import type { KernelConfig, TensorInfo } from '@tensorflow/tfjs-core';
import type { OnnxRuntimeBackend } from '../backend.js';
import { complexAbs } from '../lowering/complex.js';
import { Tracer } from './kernel.js';

/** Another tensor of the same elements. */
function alias(engine: OnnxRuntimeBackend, info: TensorInfo): TensorInfo {
  return engine.tensorOf(engine.lazy(info));
}

/** Complex tensors are pairs of float32 ones: taking them apart and putting them together costs nothing. */
export const complexKernels: readonly KernelConfig[] = [
  {
    kernelName: 'Complex',
    backendName: 'onnxruntime',
    kernelFunc: ({ inputs, backend }) => {
      const engine = backend as OnnxRuntimeBackend;
      return engine.complexOf(alias(engine, inputs.real!), alias(engine, inputs.imag!));
    },
  },
  ...(['Real', 'Imag'] as const).map((name): KernelConfig => {
    const part = name === 'Real' ? 'real' : 'imag';
    return {
      kernelName: name,
      backendName: 'onnxruntime',
      kernelFunc: ({ inputs, backend }) => {
        const engine = backend as OnnxRuntimeBackend;
        return alias(engine, engine.partsOf(inputs.input!)[part]);
      },
    };
  }),
  {
    kernelName: 'ComplexAbs',
    backendName: 'onnxruntime',
    kernelFunc: ({ inputs, backend }) => {
      const engine = backend as OnnxRuntimeBackend;
      const { real, imag } = engine.partsOf(inputs.x!);
      const tracer = new Tracer('ComplexAbs', engine);
      const [re, im] = [engine.lazy(real), engine.lazy(imag)];
      return engine.tensorOf(tracer.one(complexAbs({}), [re, im], { shape: re.shape, type: 'float32' }));
    },
  },
];
