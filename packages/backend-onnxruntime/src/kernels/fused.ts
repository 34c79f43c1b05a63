import type { KernelConfig } from '@tensorflow/tfjs-core';
import { type GeluKind, gelu, geluGradient, siluGradient } from '../lowering/activation-gradient.js';
import { attention } from '../lowering/attention.js';
import { groupNorm, groupNormGradient } from '../lowering/group-norm.js';
import { halve, spread2x, upsample2x } from '../lowering/image.js';
import { layerNorm, layerNormGradient, rmsNorm, rmsNormGradient } from '../lowering/row-norm.js';
import { kernel } from './kernel.js';

type Shape3 = [number, number, number];
type Shape4 = [number, number, number, number];

/** The fused kernels that @mezzotint/layers looks for: names, inputs and outputs are documented there (`KERNELS`). */
export const fusedKernels: readonly KernelConfig[] = [
  kernel<object>('MezzotintSiluGrad', (tracer, { input }) => {
    const [x, dy] = [input('x'), input('dy')];
    return tracer.one(siluGradient({}), [x, dy], { shape: x.shape, type: 'float32' });
  }),
  kernel<{ kind: GeluKind }>('MezzotintGelu', (tracer, { input }, { kind }) => {
    const x = input('x');
    return tracer.one(gelu({ kind }), [x], { shape: x.shape, type: 'float32' });
  }),
  kernel<{ kind: GeluKind }>('MezzotintGeluGrad', (tracer, { input }, { kind }) => {
    const [x, dy] = [input('x'), input('dy')];
    return tracer.one(geluGradient({ kind }), [x, dy], { shape: x.shape, type: 'float32' });
  }),
  kernel<{ scale: number }>('MezzotintAttention', (tracer, { input, maybe }, { scale }) => {
    const [q, k, v, mask] = [input('q'), input('k'), input('v'), maybe('mask')];
    const shapes = [q, k, v].map(({ shape }) => shape as unknown as Shape4);
    const [n, heads, t] = shapes[0]!;
    const inputs = mask === undefined ? [q, k, v] : [q, k, v, mask];
    return tracer.one(attention({ scale, shapes }), inputs, { shape: [n, heads, t, shapes[2]![3]], type: 'float32' });
  }),
  kernel<{ epsilon: number }>('MezzotintLayerNorm', (tracer, { input, maybe }, { epsilon }) => {
    const [x, scale, shift] = [input('x'), maybe('scale'), maybe('shift')];
    const given = [scale, shift].filter((value) => value !== undefined);
    const row = { shape: [x.shape[0]!, 1], type: 'float32' as const };
    const call = layerNorm({ epsilon, scale: scale !== undefined, shift: shift !== undefined });
    return tracer.many(call, [x, ...given], [{ shape: x.shape, type: 'float32' }, row, row]);
  }),
  kernel<object>('MezzotintLayerNormGrad', (tracer, { input, maybe }) => {
    const [x, scale] = [input('x'), maybe('scale')];
    const inputs = [x, input('dy'), input('mean'), input('inverseDeviation'), ...(scale === undefined ? [] : [scale])];
    const column = { shape: [x.shape[1]!], type: 'float32' as const };
    const call = layerNormGradient({ scale: scale !== undefined });
    return tracer.many(call, inputs, [{ shape: x.shape, type: 'float32' }, column, column]);
  }),
  kernel<{ epsilon: number }>('MezzotintRmsNorm', (tracer, { input, maybe }, { epsilon }) => {
    const [x, scale] = [input('x'), maybe('scale')];
    const row = { shape: [x.shape[0]!, 1], type: 'float32' as const };
    const call = rmsNorm({ epsilon, scale: scale !== undefined });
    return tracer.many(call, scale === undefined ? [x] : [x, scale], [{ shape: x.shape, type: 'float32' }, row]);
  }),
  kernel<object>('MezzotintRmsNormGrad', (tracer, { input, maybe }) => {
    const [x, scale] = [input('x'), maybe('scale')];
    const inputs = [x, input('dy'), input('inverseRms'), ...(scale === undefined ? [] : [scale])];
    const call = rmsNormGradient({ scale: scale !== undefined });
    const column = { shape: [x.shape[1]!], type: 'float32' as const };
    return tracer.many(call, inputs, [{ shape: x.shape, type: 'float32' }, column]);
  }),
  kernel<{ groups: number; epsilon: number }>('MezzotintGroupNorm', (tracer, { input, maybe }, { groups, epsilon }) => {
    const [x, scale, shift] = [input('x'), maybe('scale'), maybe('shift')];
    const [n] = x.shape as Shape3;
    const given = [scale, shift].filter((vector) => vector !== undefined);
    const call = groupNorm({ groups, epsilon, scale: scale !== undefined, shift: shift !== undefined });
    const perGroup = { shape: [n, groups], type: 'float32' as const };
    return tracer.many(call, [x, ...given], [{ shape: x.shape, type: 'float32' }, perGroup, perGroup]);
  }),
  kernel<{ groups: number }>('MezzotintGroupNormGrad', (tracer, { input, maybe }, { groups }) => {
    const [x, dy, mean, inverse, scale] = [
      input('x'),
      input('dy'),
      input('mean'),
      input('inverseDeviation'),
      maybe('scale'),
    ];
    const vector = { shape: [x.shape[2]!], type: 'float32' as const };
    const call = groupNormGradient({ groups, scale: scale !== undefined });
    const inputs = [x, dy, mean, inverse, ...(scale === undefined ? [] : [scale])];
    return tracer.many(call, inputs, [{ shape: x.shape, type: 'float32' }, vector, vector]);
  }),
  kernel<object>('MezzotintUpsample2x', (tracer, { input }) => {
    const x = input('x');
    const [n, h, w, c] = x.shape as Shape4;
    return tracer.one(upsample2x({}), [x], { shape: [n, 2 * h, 2 * w, c], type: 'float32' });
  }),
  kernel<object>('MezzotintUpsample2xGrad', (tracer, { input }) => {
    const dy = input('dy');
    const [n, h, w, c] = dy.shape as Shape4;
    return tracer.one(halve({ factor: 4 }), [dy], { shape: [n, h / 2, w / 2, c], type: 'float32' });
  }),
  kernel<object>('MezzotintAveragePool2x', (tracer, { input }) => {
    const x = input('x');
    const [n, h, w, c] = x.shape as Shape4;
    return tracer.one(halve({ factor: 1 }), [x], { shape: [n, h / 2, w / 2, c], type: 'float32' });
  }),
  kernel<object>('MezzotintAveragePool2xGrad', (tracer, { input }) => {
    const dy = input('dy');
    const [n, h, w, c] = dy.shape as Shape4;
    return tracer.one(spread2x({}), [dy], { shape: [n, 2 * h, 2 * w, c], type: 'float32' });
  }),
];
