import { oneOf, realNumber, wholeNumber } from '@mezzotint/app';
import { type SolverName, solvers } from '@mezzotint/schedulers';
import { Command } from 'commander';
import { type Prediction, predictions } from './latent/family.js';
import { type WeightFormat, weightFormats } from './latent/unloaded.js';

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
  readonly prompt?: string;
  readonly negative?: string;
  readonly height?: number;
  readonly width?: number;
  readonly image?: string;
  readonly mask?: string;
  readonly strength?: number;
  readonly refiner?: string;
  readonly handover?: number;
  readonly guidanceRescale?: number;
  readonly lora?: readonly string[];
  readonly variant?: string;
  readonly parts?: string;
  readonly tokenizer?: string;
  readonly prediction?: Prediction;
  readonly weights?: WeightFormat;
  readonly replay?: string;
  readonly explain?: boolean;
}

const names = Object.keys(solvers) as SolverName[];

export function sampleCommand(): Command {
  return new Command('sample')
    .description('Samples images from a diffusion model into one PNG. The same seed gives the same PNG.')
    .option(
      '--model <path>',
      'model folder, run folder of train, folder of diffusers, or one .safetensors or .ckpt (Stable Diffusion 1, 2, XL)',
    )
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
      'TensorFlow.js engine: onnxruntime, tensorflow, wasm, cpu, onnxruntime:PROVIDER such as onnxruntime:webgpu (default: the fastest that trains or samples here)',
    )
    .option('--prompt <text>', 'what to see; (word:1.2) counts more, [word] less')
    .option('--negative <text>', 'what not to see')
    .option('--height <pixels>', "height (default: the model's, or the image's)", wholeNumber('--height', 1))
    .option('--width <pixels>', "width (default: the model's, or the image's)", wholeNumber('--width', 1))
    .option('--image <file>', 'start from this picture')
    .option('--mask <file>', 'change the image where this is white, and nothing else')
    .option(
      '--strength <share>',
      'how much of the image is made anew (default: 0.8, with a mask 1)',
      realNumber('--strength', 0, 1),
    )
    .option('--refiner <path>', 'the model that finishes the picture (SDXL), a folder or one file')
    .option(
      '--handover <share>',
      'share of the noise left to the refiner (default: 0.2)',
      realNumber('--handover', 0, 1),
    )
    .option(
      '--guidance-rescale <share>',
      'bring the deviation of the guided prediction back (default: 0)',
      realNumber('--guidance-rescale', 0, 1),
    )
    .option('--lora <file[:scale]>', 'merge a LoRA; may be given again', (file: string, all: string[] = []) => [
      ...all,
      file,
    ])
    .option(
      '--parts <folder>',
      'for a --model that is one file: folder of diffusers with the parts that it lacks, and whose settings count',
    )
    .option(
      '--tokenizer <path>',
      "for a --model that is one file: folder or tokenizer.json with its words (default: beside it, else CLIP's)",
    )
    .option(
      '--prediction <kind>',
      'for a --model that is one file: epsilon or v (default: as the file looks)',
      oneOf('--prediction', predictions),
    )
    .option('--variant <name>', "the part of the weight files' names that hubs put in, such as fp16")
    .option(
      '--weights <format>',
      `keep the weights of a model with prompts in fewer bits: ${weightFormats.join(', ')} (engine onnxruntime; default: float32)`,
      oneOf('--weights', weightFormats),
    )
    .option('--replay <picture>', 'make a picture of sample again, from the recipe in it')
    .option(
      '--explain',
      'sample nothing: say key by key where each tensor of the model and of the LoRA files goes, and what does not fit',
    )
    .option('--overwrite', 'replace an existing file')
    .addHelpText(
      'after',
      '\nExample:\n  pnpm sample --model models/digits --labels 0-9 --count 10 --guidance 2 --out digits.png' +
        '\n  pnpm sample --model stable-diffusion-v1-5 --prompt "a cat in the snow" --seed 7 --out cat.png' +
        '\n  pnpm sample --model v1-5-pruned-emaonly.safetensors --prompt "a cat in the snow" --out cat.png' +
        '\n  pnpm sample --model v1-5-pruned-emaonly.safetensors --lora style.safetensors --explain',
    );
}
