import { oneOf, realNumber, wholeNumber } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { type SolverName, solvers } from '@mezzotint/schedulers';
import { Command } from 'commander';

/** The flags of `evaluate`. */
export interface EvaluateFlags {
  readonly model?: string;
  readonly classifier?: string;
  readonly data?: string;
  readonly config?: string;
  readonly count?: number;
  readonly guidance?: readonly number[];
  readonly solver?: SolverName;
  readonly steps?: number;
  readonly seed?: number;
  readonly batch?: number;
  readonly engine?: string;
}

const names = Object.keys(solvers) as SolverName[];

export function evaluateCommand(): Command {
  return new Command('evaluate')
    .description(
      'Samples images and scores them against real ones with the features of a classifier: Fréchet distance, KID,\n' +
        'precision, recall, density, coverage, and the share that is read as the label asked for.',
    )
    .option('--model <folder>', 'model folder, or run folder of train')
    .option('--classifier <folder>', 'classifier whose features and readings are used')
    .option('--data <source>', "real images: digits, digits:train, digits:held-out, or a folder (default: 'digits')")
    .option('--config <file>', 'JSON file with any of these settings, by the names of the flags; flags win')
    .option(
      '--count <n>',
      'images to sample; as many real ones are compared (default: 1000)',
      wholeNumber('--count', 8),
    )
    .option('--guidance <scales>', "one guidance scale or several, such as '1,1.5,2' (default: the model's)", scales)
    .option('--solver <name>', `${names.join(', ')} (default: the model's)`, oneOf('--solver', names))
    .option('--steps <n>', "steps of the solver (default: the model's)", wholeNumber('--steps', 1))
    .option('--seed <n>', 'image i has the seed n + i (default: 0)', wholeNumber('--seed'))
    .option('--batch <n>', 'images computed at once (default: 100)', wholeNumber('--batch', 1))
    .option(
      '--engine <name>',
      'TensorFlow.js engine: onnxruntime, tensorflow, wasm, cpu, onnxruntime:PROVIDER such as onnxruntime:webgpu (default: the fastest here)',
    )
    .addHelpText(
      'after',
      '\nExample:\n  pnpm evaluate --model models/digits --classifier models/digits-classifier --data digits --count 1000 --guidance 1,2',
    );
}

function scales(text: string): number[] {
  const parse = realNumber('--guidance', 0);
  const parts = text.split(',');
  if (parts.length > 100)
    throw new InvalidArgumentError('--guidance', `expected at most 100 scales, got ${parts.length}`);
  return parts.map((part) => parse(part.trim()));
}
