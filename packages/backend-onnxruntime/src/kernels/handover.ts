import type { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import type { NamedAttrMap, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { MezzotintError, sizeOf } from '@mezzotint/core';
import type { OnnxRuntimeBackend } from '../backend.js';

/** Runs a kernel on the cpu backend: reads its inputs, and takes its outputs over. */
export function handOver(
  name: string,
  inputs: NamedTensorInfoMap,
  attrs: NamedAttrMap | undefined,
  backend: OnnxRuntimeBackend,
): TensorInfo | TensorInfo[] {
  const cpu = tf.findBackend('cpu') as MathBackendCPU;
  // Else its first tensor prints an advertisement for tfjs-node.
  (cpu as unknown as { firstUse: boolean }).firstUse = false;
  const kernel = tf.getKernel(name, 'cpu');
  if (kernel == null) {
    throw new MezzotintError(
      'MEZZOTINT_NO_KERNEL',
      `${name}: neither onnxruntime nor the cpu backend has this kernel for such inputs; choose another operation or backend.`,
      { kernel: name },
    );
  }
  const lent: TensorInfo[] = [];
  const lend = (info: TensorInfo): TensorInfo => {
    const moved = toCpu(info, backend, cpu);
    lent.push(moved);
    // Some kernels of the cpu backend read more than a TensorInfo has.
    return Object.assign({}, moved, { rank: moved.shape.length, size: sizeOf(moved.shape) });
  };
  const given: NamedTensorInfoMap = {};
  for (const [key, info] of Object.entries(inputs as Record<string, TensorInfo | TensorInfo[]>)) {
    if (info == null) continue;
    // The ragged kernels take lists.
    given[key] = Array.isArray(info) ? (info.map(lend) as unknown as TensorInfo) : lend(info);
  }
  const asGiven = Array.isArray(inputs) ? (Object.values(given) as unknown as NamedTensorInfoMap) : given;
  const made = kernel.kernelFunc({ inputs: asGiven, attrs: attrs ?? {}, backend: cpu });
  const outputs = (Array.isArray(made) ? made : [made]) as TensorInfo[];
  const taken = outputs.map((info) => fromCpu(info, backend, cpu));
  for (const info of new Set([...outputs, ...lent].map(({ dataId }) => dataId))) cpu.disposeData(info, true);
  return Array.isArray(made) ? taken : taken[0]!;
}

function toCpu(info: TensorInfo, backend: OnnxRuntimeBackend, cpu: MathBackendCPU): TensorInfo {
  if (info.dtype === 'complex64') {
    const { real, imag } = backend.partsOf(info);
    const parts = { real: toCpu(real, backend, cpu), imag: toCpu(imag, backend, cpu) };
    const complex = tf
      .getKernel('Complex', 'cpu')!
      .kernelFunc({ inputs: parts, attrs: {}, backend: cpu }) as TensorInfo;
    for (const part of Object.values(parts)) cpu.disposeData(part.dataId);
    return complex;
  }
  // What is read is a copy, and has to be: some kernels of the cpu backend write into what they were given.
  return cpu.makeTensorInfo(info.shape, info.dtype, backend.readSync(info.dataId));
}

function fromCpu(info: TensorInfo, backend: OnnxRuntimeBackend, cpu: MathBackendCPU): TensorInfo {
  if (info.dtype === 'complex64') {
    const { real, imag } = cpu.data.get(info.dataId).complexTensorInfos!;
    const part = (p: TensorInfo): TensorInfo => ({
      dataId: backend.write(cpu.data.get(p.dataId).values!, info.shape, 'float32'),
      shape: info.shape,
      dtype: 'float32',
    });
    return backend.complexOf(part(real), part(imag));
  }
  const { values } = cpu.data.get(info.dataId);
  return { dataId: backend.write(values ?? null, info.shape, info.dtype), shape: info.shape, dtype: info.dtype };
}
