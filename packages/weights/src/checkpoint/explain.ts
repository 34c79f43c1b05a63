import type { Move, Translation } from '../key-maps/translate.js';
import type { SingleFile } from './single-file.js';

const WHAT: Readonly<Record<Move['op'], string>> = {
  same: '',
  fused: ' (q, k, v and the like are one tensor in the one layout, several in the other)',
  transposed: ' (transposed)',
  pointwise: ' (a 1x1 convolution in the one layout, a matrix in the other)',
  'halves-swapped': ' (shift and scale change places)',
  copies: ' (one tensor in the one layout, copies in the other)',
};

/** Says for every tensor of a checkpoint where it went, or why it was not needed: one line each. */
export function explain(checkpoint: Pick<Translation, 'moves' | 'dropped'> | SingleFile): string[] {
  if ('moves' in checkpoint) return lines(checkpoint, '');
  return [
    ...[...checkpoint.components].flatMap(([name, { model, layout, weights }]) => [
      `${name}: ${model}, ${layout} layout, ${weights.tensors.size} tensors`,
      ...lines(weights, '  '),
    ]),
    ...checkpoint.dropped.map(({ name, why }) => `not used: ${name}: ${why}`),
  ];
}

function lines({ moves, dropped }: Pick<Translation, 'moves' | 'dropped'>, indent: string): string[] {
  return [
    ...moves.map(({ from, to, op }) => `${indent}${from.join(' + ')} -> ${to.join(' + ')}${WHAT[op]}`),
    ...dropped.map(({ name, why }) => `${indent}not used: ${name}: ${why}`),
  ];
}
