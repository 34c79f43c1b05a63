import { type Circumstances, table } from './page.js';

/** A part of a run: what was done, how long it took, and the most memory that the process had resident meanwhile. */
export interface Phase {
  readonly name: string;
  readonly seconds: number;
  readonly peakGB: number;
}

/** A picture made with a model of full size. */
export interface FullSizeResult extends Circumstances {
  readonly model: string;
  /** How the transformer's matrices are stored. */
  readonly blocks: string;
  /** Height and width. */
  readonly size: number;
  /** What the pipeline says of the files. */
  readonly description: string;
  readonly engine: string;
  readonly phases: readonly Phase[];
}

/** A section of docs/checkpoints.md. */
export function fullSizeSection(result: FullSizeResult): string {
  const { model, blocks, size, phases, description, engine, date, machine, threads, command } = result;
  const steps = phases.filter(({ name }) => name.startsWith('step '));
  const sampling = steps.reduce((sum, { seconds }) => sum + seconds, 0);
  const peak = Math.max(...phases.map(({ peakGB }) => peakGB));
  return [
    `## ${model} at ${size}x${size}, ${blocks}`,
    '',
    `${description.replaceAll('|', '\\|')}. Random weights, each part in files of its own.`,
    `Measured on ${date}: ${machine}; ${threads} threads; ${engine}. Repeat it with`,
    '',
    '```',
    command,
    '```',
    '',
    `**${steps.length} steps in ${minutes(sampling)}, at most ${peak.toFixed(2)} GB resident.**`,
    '',
    ...table(
      ['phase', '>seconds', '>GB at most'],
      phases.map(({ name, seconds, peakGB }) => [name, seconds.toFixed(1), peakGB.toFixed(2)]),
    ),
    '',
  ].join('\n');
}

/** 3 minutes and 5 seconds as 3:05. */
function minutes(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
