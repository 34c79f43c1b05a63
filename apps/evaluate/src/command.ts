import { oneOf, realNumber, seedNumber, wholeNumber } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { shardOf } from '@mezzotint/distributed';
import { featureNetworks } from '@mezzotint/features';
import { metrics } from '@mezzotint/metrics';
import { type SolverName, solvers } from '@mezzotint/schedulers';
import { Command } from 'commander';

/** The flags of `evaluate`. */
export interface EvaluateFlags {
  readonly model?: readonly string[];
  readonly images?: string;
  readonly data?: string;
  readonly reference?: string;
  readonly prompts?: string;
  readonly sourcePrompts?: string;
  readonly metrics?: readonly string[];
  readonly features?: string;
  readonly featuresWeights?: readonly string[];
  readonly classifier?: string;
  readonly saveStatistics?: string;
  readonly plot?: string;
  readonly run?: string;
  readonly resume?: boolean;
  readonly shard?: readonly [number, number];
  readonly config?: string;
  readonly count?: number;
  readonly rows?: number;
  readonly neighbours?: number;
  readonly guidance?: readonly number[];
  readonly sigmaRel?: readonly number[];
  readonly solver?: SolverName;
  readonly steps?: number;
  readonly seed?: number | string;
  readonly batch?: number;
  readonly engine?: string;
}

const names = Object.keys(solvers) as SolverName[];
const several = (text: string, before: readonly string[] = []) => [...before, text];

export function evaluateCommand(): Command {
  return new Command('evaluate')
    .description(
      'Scores pictures: those of a model (--model) or of a folder (--images) against data (--data), published statistics\n' +
        '(--reference) or their prompts (--prompts). Pictures stream: memory does not grow with their number.\n' +
        "'evaluate merge <run folders>' joins shards; 'evaluate table' prints the published table of ImageNet-512.",
    )
    .option('--model <folder>', 'model or run folder of train, or any model of sample; again for several', several)
    .option('--images <folder>', 'pictures to score, of any sizes')
    .option('--data <source>', 'real pictures: digits, digits:train, digits:held-out, or a folder')
    .option('--reference <file>', 'statistics to compare with: an .npz with mu and sigma, or one of --save-statistics')
    .option(
      '--prompts <file>',
      'a prompt a line: of the pictures in the order of their names (no blank lines then), or to be made',
    )
    .option('--source-prompts <file>', 'prompts of the pictures in --data, for clip-directional')
    .option('--metrics <list>', `${metrics.map(({ name }) => name).join(', ')} (default: by --features)`, list)
    .option('--features <name>', `network that judges: ${featureNetworks.map(({ name }) => name).join(', ')}`)
    .option('--features-weights <file>', 'its weights, file or folder; again for several', several)
    .option('--classifier <folder>', 'the same as --features classifier --features-weights <folder>')
    .option('--save-statistics <file>', 'write the statistics of --data as .npz, to be a --reference')
    .option('--plot <file>', 'PNG of the first metric over guidance scales, EMA lengths or both, or models')
    .option('--run <folder>', 'keep checkpoints in this folder')
    .option('--resume', 'go on with the checkpoints in --run')
    .option(
      '--shard <i/n>',
      'go through part i of n, counted from 0, and store it in --run (default: by mpirun, srun or a Kubernetes job)',
      (text) => shardOf(text),
    )
    .option(
      '--config <file>',
      'JSON file with any of these settings, by the names of the flags in camelCase; flags win',
    )
    .option(
      '--count <n>',
      'pictures a side (default: one for each prompt, 1000 of a model without prompts, else all)',
      wholeNumber('--count', 2),
    )
    .option('--rows <n>', 'most rows kept for metrics that compare rows (default: 10000)', wholeNumber('--rows', 8))
    .option('--neighbours <k>', 'neighbours of prdc (default: 3)', wholeNumber('--neighbours', 1))
    .option('--guidance <scales>', "one guidance scale or several, such as '1,1.5,2' (default: the model's)", scales)
    .option(
      '--sigma-rel <widths>',
      "EMA lengths such as '0.05,0.1': averages of these relative widths, made of the snapshots in the run folder of each --model",
      (text) => list(text).map(realNumber('--sigma-rel', 0.001)),
    )
    .option('--solver <name>', `${names.join(', ')} (default: the model's)`, oneOf('--solver', names))
    .option('--steps <n>', "steps of the solver (default: the model's)", wholeNumber('--steps', 1))
    .option('--seed <n>', 'picture i has the seed n + i (default: 0)', seedNumber('--seed'))
    .option('--batch <n>', 'pictures judged at once (default: 32, a small classifier 100)', wholeNumber('--batch', 1))
    .option(
      '--engine <name>',
      'TensorFlow.js engine: onnxruntime, tensorflow, wasm, cpu, onnxruntime:PROVIDER such as onnxruntime:webgpu (default: the fastest here)',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  evaluate --model models/digits --classifier models/digits-classifier --data digits --guidance 1,2\n' +
        '  evaluate --images out --data photos --features inception --features-weights pt_inception-2015-12-05-6726825d.pth\n' +
        '  evaluate --images out --prompts prompts.txt --features clip-vit-l-14 --features-weights clip/model.safetensors',
    );
}

const list = (text: string) => text.split(',').map((part) => part.trim());

function scales(text: string): number[] {
  const parse = realNumber('--guidance', 0);
  const parts = text.split(',');
  if (parts.length > 100)
    throw new InvalidArgumentError('--guidance', `expected at most 100 scales, got ${parts.length}`);
  return parts.map((part) => parse(part.trim()));
}
