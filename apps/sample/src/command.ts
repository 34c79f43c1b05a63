import { oneOf, realNumber, wholeNumber } from '@mezzotint/app';
import { type SolverName, solvers } from '@mezzotint/schedulers';
import { Command } from 'commander';

/** The flags of `sample`; what is left out comes from the configuration file, then from the model's own advice. */
export interface SampleFlags {
  readonly model?: string;
  readonly out?: string;
  readonly config?: string;
  readonly labels?: string;
  readonly count?: number;
  readonly solver?: SolverName;
  readonly steps?: number;
  readonly guidance?: number;
  readonly seed?: number;
  readonly batch?: number;
  readonly columns?: number;
  readonly scale?: number;
  readonly engine?: string;
  readonly overwrite?: boolean;
}

const names = Object.keys(solvers) as SolverName[];

export function sampleCommand(): Command {
  return new Command('sample')
    .description('Samples images from a diffusion model into one PNG. The same seed gives the same PNG.')
    .option('--model <folder>', 'model folder (config.json, model.safetensors) or run folder of train')
    .option('--out <file>', 'the PNG to write (default: out/sample.png)')
    .option('--config <file>', 'JSON file with any of these settings, by the names of the flags; flags win')
    .option('--labels <list>', "classes, such as '3', '0-9' or '1,4,7' (default: all classes)")
    .option(
      '--count <n>',
      'images for each label (default: 10), or in all for an unconditional model',
      wholeNumber('--count', 1),
    )
    .option('--solver <name>', `${names.join(', ')} (default: the model's)`, oneOf('--solver', names))
    .option('--steps <n>', "steps of the solver (default: the model's)", wholeNumber('--steps', 1))
    .option('--guidance <scale>', "guidance scale, 1 is none (default: the model's)", realNumber('--guidance', 0))
    .option('--seed <n>', 'image i has the seed n + i (default: 0)', wholeNumber('--seed'))
    .option(
      '--batch <n>',
      'images computed at once; changes nothing but speed (default: 50)',
      wholeNumber('--batch', 1),
    )
    .option('--columns <n>', 'images in a row (default: count)', wholeNumber('--columns', 1))
    .option(
      '--scale <n>',
      'each pixel of an image becomes n x n pixels (default: 2 below 64 pixels)',
      wholeNumber('--scale', 1),
    )
    .option(
      '--engine <name>',
      'TensorFlow.js engine: onnxruntime, tensorflow, wasm or cpu (default: the fastest that trains or samples here)',
    )
    .option('--overwrite', 'replace an existing file')
    .addHelpText(
      'after',
      '\nExample:\n  pnpm sample --model models/digits --labels 0-9 --count 10 --guidance 2 --out digits.png',
    );
}
