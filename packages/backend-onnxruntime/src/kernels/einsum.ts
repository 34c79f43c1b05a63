import type { EinsumAttrs, KernelConfig } from '@tensorflow/tfjs-core';
import { backend_util } from '@tensorflow/tfjs-core';
import { einsum } from '../lowering/einsum.js';
import { kernel } from './kernel.js';

export const einsumKernel: KernelConfig = kernel<EinsumAttrs>('Einsum', (tracer, { all }, { equation }) => {
  if (all.some(({ type }) => type !== 'float32')) return undefined;
  const { allDims, idDims } = backend_util.decodeEinsumEquation(equation, all.length);
  backend_util.checkEinsumDimSizes(allDims.length, idDims, all.map(({ shape }) => ({ shape: [...shape] })) as never);
  const letters = equation.replace(/\s/g, '');
  const [operands, result] = letters.split('->') as [string, string];
  const sizes = new Map<string, number>();
  operands.split(',').forEach((axes, index) => {
    [...axes].forEach((letter, axis) => {
      sizes.set(letter, all[index]!.shape[axis]!);
    });
  });
  const shape = [...result].map((letter) => sizes.get(letter)!);
  return tracer.one(einsum({ equation: letters }), all, { shape, type: 'float32' });
});
