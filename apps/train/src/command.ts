import { oneOf, seedNumber, wholeNumber } from '@mezzotint/app';
import { recipes } from '@mezzotint/training';
import { Command } from 'commander';

/** The flags of `train`. */
export interface TrainFlags {
  readonly config?: string;
  readonly data?: string;
  readonly preset?: string;
  readonly architecture?: string;
  readonly recipe?: string;
  readonly size?: number;
  readonly channels?: number;
  readonly flip?: boolean;
  readonly classes?: boolean;
  readonly captions?: boolean;
  readonly textEncoder?: string;
  readonly init?: string;
  readonly lora?: number;
  readonly prompt?: string;
  readonly token?: string;
  readonly initializer?: string;
  readonly priorPrompt?: string;
  readonly run: string;
  readonly resume?: boolean;
  readonly steps?: number;
  readonly until?: number;
  readonly batchSize?: number;
  readonly seed?: number | string;
  readonly otherData?: boolean;
  readonly wire?: 'float32' | 'bfloat16';
  readonly shardOptimizer?: boolean;
  readonly engine?: string;
}

export function trainCommand(): Command {
  return new Command('train')
    .description(
      'Trains a diffusion model, a classifier or an autoencoder into a run folder: from pictures and a preset, or from a configuration file.',
    )
    .requiredOption('--run <folder>', 'run folder: config, log, plots, sample grids, checkpoints, model')
    .option(
      '--data <path>',
      "pictures: a folder (class folders, captions), a .tar archive, or 'digits'; or latent images of train encode; with --config in the place of its own",
    )
    .option('--preset <size>', 'small, medium or large (default: small)')
    .option(
      '--architecture <name>',
      'a registered architecture, such as ADMUNet, DiT, UViT (default: ADMUNet; with captions UNet2DCondition, of latent images MMDiT)',
    )
    .option(
      '--recipe <name>',
      `${recipes.map(({ name }) => name).join(', ')} (default: by the architecture; v-cosine for ADMUNet and DiT)`,
    )
    .option('--size <pixels>', "pixels a side (default: the pictures', at most the preset's)", wholeNumber('--size', 1))
    .option('--channels <n>', '1 for gray, 3 for colour (default: 3)', wholeNumber('--channels', 1))
    .option('--flip', 'mirror pictures left-right at random (latent images: those of train encode --flip)')
    .option('--no-classes', 'folders are no classes')
    .option('--no-captions', 'captions are not read; the model is conditioned on classes or nothing')
    .option(
      '--text-encoder <model>',
      "what reads captions: a run of the task clip, or a folder of transformers' CLIP or T5 (default: a new one, trained along)",
    )
    .option('--init <model>', 'begin with its weights: a run or model folder, a diffusers folder, or one file')
    .option(
      '--lora <rank>',
      'with --init: train a low-rank adapter in the place of the model',
      wholeNumber('--lora', 1),
    )
    .option('--prompt <text>', 'with --init of a Stable Diffusion: what pictures without caption show')
    .option(
      '--token <text>',
      'with --init of a Stable Diffusion: learn a new token, such as <my-cat>, in the place of the model',
    )
    .option('--initializer <word>', 'the word that --token begins as')
    .option(
      '--prior-prompt <text>',
      'with --init of a Stable Diffusion: the class of what is learned, of which pictures are kept in mind (DreamBooth)',
    )
    .option('--config <file>', 'JSON configuration, see docs/train-configuration.md and apps/train/configs')
    .option('--resume', 'go on from the last checkpoint of the run folder, exactly as if it had not been stopped')
    .option(
      '--steps <n>',
      "updates in all; with --resume it is kept for the next (default: the configuration's or the preset's)",
      wholeNumber('--steps', 1),
    )
    .option(
      '--until <n>',
      'stop after update n as Ctrl-C does, with a checkpoint for --resume; the learning rate stays that of all steps',
      wholeNumber('--until', 1),
    )
    .option('--batch-size <n>', 'images in a batch', wholeNumber('--batch-size', 1))
    .option('--seed <n>', 'seed of weights, order and noise', seedNumber('--seed'))
    .option(
      '--other-data',
      'with --resume: go on although the images or classes are not those that the run was trained on',
    )
    .option(
      '--wire <format>',
      'with mpirun: gradients between ranks as float32 or bfloat16 (default: float32)',
      oneOf('--wire', ['float32', 'bfloat16']),
    )
    .option('--shard-optimizer', 'with mpirun: each rank keeps the moments of its part of the weights (ZeRO-1)')
    .option(
      '--engine <name>',
      'TensorFlow.js engine: onnxruntime, tensorflow, wasm, cpu, onnxruntime:PROVIDER such as onnxruntime:webgpu (default: the fastest here)',
    )
    .addHelpText(
      'after',
      '\nCtrl-C stops after the running update and leaves a checkpoint for --resume.' +
        '\n\nExamples:\n  pnpm train --data my-pictures --preset small --run runs/mine' +
        '\n  pnpm train --data my-pictures --architecture DiT --recipe flow --run runs/flow' +
        '\n  pnpm train --data my-pictures --init stable-diffusion-v1-5 --size 256 --lora 8 --run runs/lora' +
        '\n  pnpm train --config apps/train/configs/digits.json --run runs/digits\n  mpirun -np 4 pnpm train --data my-pictures --run runs/mine\n  pnpm train --resume --run runs/digits',
    );
}
