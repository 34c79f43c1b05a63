import { InvalidArgumentError } from '@mezzotint/core';
import type { _FusedMatMulAttrs, BatchMatMulAttrs, KernelConfig } from '@tensorflow/tfjs-core';
import { broadcast_util } from '@tensorflow/tfjs-core';
import type { Value } from '../graph/value.js';
import { matMul } from '../lowering/matmul.js';
import { leakyRelu, unary } from '../lowering/unary.js';
import { arithmetic } from './elementwise.js';
import { kernel, type Tracer } from './kernel.js';

/** a b over the last two axes of tensors of rank 3 or more. */
export function matMulValue(tracer: Tracer, a: Value, b: Value, transposeA: boolean, transposeB: boolean): Value {
  if (a.shape.length < 2 || b.shape.length < 2) {
    throw new InvalidArgumentError(tracer.kernel, `expected matrices, got the shapes [${a.shape}] and [${b.shape}]`);
  }
  const [m, k] = lastTwo(a, transposeA);
  const [inner, n] = lastTwo(b, transposeB);
  if (k !== inner) {
    throw new InvalidArgumentError(
      tracer.kernel,
      `expected inner sizes that are equal, got ${k} and ${inner} of the shapes [${a.shape}] and [${b.shape}] with transposeA=${transposeA} and transposeB=${transposeB}`,
    );
  }
  const batch = broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  return tracer.one(matMul({ transposeA, transposeB }), [a, b], { shape: [...batch, m, n], type: 'float32' });
}

function lastTwo(x: Value, turned: boolean): [number, number] {
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  return turned ? [columns, rows] : [rows, columns];
}

/** The activation that TensorFlow.js's fused kernels name. */
export function activate(
  tracer: Tracer,
  x: Value,
  activation: string | undefined,
  preluWeights: Value | undefined,
  alpha: number | undefined,
): Value | undefined {
  const spec = { shape: x.shape, type: 'float32' as const };
  switch (activation ?? 'linear') {
    case 'linear':
      return x;
    case 'relu':
      return tracer.one(unary({ name: 'Relu' }), [x], spec);
    case 'relu6':
      return tracer.one(unary({ name: 'Relu6' }), [x], spec);
    case 'elu':
      return tracer.one(unary({ name: 'Elu' }), [x], spec);
    case 'sigmoid':
      return tracer.one(unary({ name: 'Sigmoid' }), [x], spec);
    case 'leakyrelu':
      return tracer.one(leakyRelu({ alpha: alpha ?? 0.2 }), [x], spec);
    case 'prelu':
      return preluWeights === undefined ? undefined : arithmetic(tracer, 'Prelu', x, preluWeights);
    default:
      return undefined;
  }
}

const ACTIVATIONS = new Set(['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu', 'prelu']);

/** True when `activate` knows the activation. */
export function isKnownActivation(activation: string | null | undefined): boolean {
  return ACTIVATIONS.has(activation ?? 'linear');
}

export const linearKernels: readonly KernelConfig[] = [
  kernel<BatchMatMulAttrs>('BatchMatMul', (tracer, { input }, { transposeA, transposeB }) => {
    const [a, b] = [input('a'), input('b')];
    if (a.type !== 'float32' || b.type !== 'float32') return undefined;
    return matMulValue(tracer, a, b, transposeA, transposeB);
  }),
  kernel<_FusedMatMulAttrs>('_FusedMatMul', (tracer, { input, maybe }, attributes) => {
    const { transposeA, transposeB, activation, leakyreluAlpha } = attributes;
    const [a, b] = [input('a'), input('b')];
    if (a.type !== 'float32' || b.type !== 'float32' || !isKnownActivation(activation)) return undefined;
    const product = matMulValue(tracer, a, b, transposeA, transposeB);
    const bias = maybe('bias');
    const sum = bias === undefined ? product : arithmetic(tracer, 'Add', product, bias);
    return activate(tracer, sum, activation, maybe('preluActivationWeights'), leakyreluAlpha);
  }),
];
