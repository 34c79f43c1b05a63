import { wholeNumber } from '@mezzotint/app';
import { Command } from 'commander';

/** The flags of `train`. */
export interface TrainFlags {
  readonly config?: string;
  readonly run: string;
  readonly resume?: boolean;
  readonly steps?: number;
  readonly batchSize?: number;
  readonly seed?: number;
  readonly otherData?: boolean;
  readonly engine?: string;
}

export function trainCommand(): Command {
  return new Command('train')
    .description(
      'Trains a diffusion model, a classifier or an autoencoder from a configuration file into a run folder.',
    )
    .requiredOption('--run <folder>', 'run folder: config, log, loss plot, sample grids, checkpoints, model')
    .option('--config <file>', 'JSON configuration; see apps/train/configs (not needed with --resume)')
    .option('--resume', 'go on from the last checkpoint of the run folder, exactly as if it had not been stopped')
    .option(
      '--steps <n>',
      "updates in all; with --resume it is kept for the next (default: the configuration's)",
      wholeNumber('--steps', 1),
    )
    .option('--batch-size <n>', "images in a batch (default: the configuration's)", wholeNumber('--batch-size', 1))
    .option('--seed <n>', "seed of weights, order and noise (default: the configuration's)", wholeNumber('--seed'))
    .option(
      '--other-data',
      'with --resume: go on although the images or classes are not those that the run was trained on',
    )
    .option(
      '--engine <name>',
      'TensorFlow.js engine: onnxruntime, tensorflow, wasm, cpu, onnxruntime:PROVIDER such as onnxruntime:webgpu (default: the fastest here)',
    )
    .addHelpText(
      'after',
      '\nCtrl-C stops after the running update and leaves a checkpoint for --resume.' +
        '\n\nExample:\n  pnpm train --config apps/train/configs/digits.json --run runs/digits\n  pnpm train --resume --run runs/digits',
    );
}
