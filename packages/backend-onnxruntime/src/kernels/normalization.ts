import type { FusedBatchNormAttrs, KernelConfig, LRNAttrs } from '@tensorflow/tfjs-core';
import { localResponseNorm } from '../lowering/local-response-norm.js';
import { unary } from '../lowering/unary.js';
import { arithmetic } from './elementwise.js';
import { kernel } from './kernel.js';

export const normalizationKernels: readonly KernelConfig[] = [
  kernel<FusedBatchNormAttrs>('FusedBatchNorm', (tracer, { all, input, maybe }, { varianceEpsilon }) => {
    if (all.some(({ type }) => type !== 'float32')) return undefined;
    const [x, mean, variance] = [input('x'), input('mean'), input('variance')];
    const [scale, offset] = [maybe('scale'), maybe('offset')];
    const epsilon = tracer.filled([], 'float32', varianceEpsilon ?? 0.001);
    const shifted = arithmetic(tracer, 'Add', variance, epsilon);
    const inverse = tracer.one(unary({ name: 'Rsqrt' }), [shifted], { shape: shifted.shape, type: 'float32' });
    const factor = scale === undefined ? inverse : arithmetic(tracer, 'Multiply', inverse, scale);
    const scaled = arithmetic(tracer, 'Multiply', arithmetic(tracer, 'Sub', x, mean), factor);
    return offset === undefined ? scaled : arithmetic(tracer, 'Add', scaled, offset);
  }),
  kernel<LRNAttrs>('LRN', (tracer, { input }, { depthRadius, bias, alpha, beta }) => {
    const x = input('x');
    if (x.type !== 'float32' || !Number.isInteger(depthRadius)) return undefined;
    const call = localResponseNorm({ size: 2 * depthRadius + 1, bias, alpha, beta });
    return tracer.one(call, [x], { shape: x.shape, type: 'float32' });
  }),
];
