import { type Circumstances, table } from './page.js';

/** A part of a run: what was done, how long it took, and the most memory that the process had resident meanwhile. */
export interface Phase {
  readonly name: string;
  readonly seconds: number;
  readonly peakGB: number;
}

/** The same picture's cost by stable-diffusion.cpp. */
export interface PeerPicture {
  readonly version: string;
  /** Seconds of each step. */
  readonly steps: readonly number[];
  /** From the files to the picture. */
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
  /** Right after ours, from the same files. */
  readonly peer?: PeerPicture;
}

/** A section of docs/checkpoints.md. */
export function fullSizeSection(result: FullSizeResult): string {
  const { model, blocks, size, phases, description, engine, date, machine, threads, command } = result;
  const steps = phases.filter(({ name }) => name.startsWith('step '));
  const sampling = sum(steps.map(({ seconds }) => seconds));
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
    ...(result.peer === undefined ? [] : [besidePeer(result.peer, sampling, phases), '']),
  ].join('\n');
}

function besidePeer(
  { version, steps, seconds, peakGB }: PeerPicture,
  sampling: number,
  phases: readonly Phase[],
): string {
  const theirs = sum(steps);
  const all = sum(phases.map((phase) => phase.seconds));
  return (
    `stable-diffusion.cpp (stable-diffusion-cpp-python ${version}), right after it with the same files and threads: ${steps.length} steps in ${minutes(theirs)}, ` +
    `at most ${peakGB.toFixed(2)} GB resident. Ours takes ${(sampling / theirs).toFixed(2)} of its time for the steps, ${(all / seconds).toFixed(2)} from the files to the picture.`
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** 3 minutes and 5 seconds as 3:05. */
function minutes(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
