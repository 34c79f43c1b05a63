import { explain } from '@mezzotint/weights';
import type { Explanation, LoraExplanation, PartExplanation } from './explanation.js';

/** An explanation for people, one line for each tensor. */
export function explanationLines({ model, taken, parts, unused, problems, loras, misfits }: Explanation): string[] {
  return [
    `${model}${taken === null ? '' : `: ${taken}`}`,
    ...parts.flatMap(partLines),
    ...unused.map(({ name, why }) => `not used: ${name}: ${why}`),
    ...problems.map((problem) => `does not fit: ${problem}`),
    ...loras.flatMap(loraLines),
    misfits === 0 ? 'Everything fits.' : `${misfits} ${misfits === 1 ? 'thing does' : 'things do'} not fit.`,
  ];
}

function partLines({ part, moves, unused, missing, unexpected, mismatched }: PartExplanation): string[] {
  const tensors = moves.reduce((sum, { to }) => sum + to.length, 0);
  return [
    `${part}: ${tensors} tensors`,
    ...explain({ moves, dropped: unused }).map((line) => `  ${line}`),
    ...missing.map((name) => `  missing: ${name}`),
    ...mismatched.map(({ name, expected, got }) => `  another shape: ${name}: expected ${expected}, got ${got}`),
    ...unexpected.map((name) => `  has no place: ${name}`),
  ];
}

function loraLines({ file, layers, problems }: LoraExplanation): string[] {
  return [
    `${file}: LoRA, ${layers.length} layers`,
    ...layers.map(({ layer, target, home, rank, change: { kind, ...tensors }, problem }) => {
      const where = problem === undefined ? `${target}: ${home ?? layer}` : `does not fit: ${layer} ${problem}`;
      const names = Object.values<string | readonly string[]>(tensors).flat();
      return `  ${names.join(' + ')} (${rank === undefined ? kind : `rank ${rank}`}) -> ${where}`;
    }),
    ...problems.map((problem) => `  does not fit: ${problem}`),
  ];
}
