import { realNumber, wholeNumber } from '@mezzotint/app/terminal';
import type { OpenOptions, Request } from '@mezzotint/pipelines';
import { Command, Option } from 'commander';
import { addSchemaFlags, guidanceHelp } from './flags.js';

/** The settings of `sample` that are about files and the terminal. */
export interface AppSettings {
  readonly model?: string;
  readonly out?: string;
  readonly prompts?: string;
  readonly preview?: string;
  /** A picture to enlarge. */
  readonly upscale?: string;
  readonly tile?: number;
  readonly overlap?: number;
  readonly columns?: number;
  readonly scale?: number;
  /** `i/n`, or `auto/n` with i of the environment. */
  readonly shard?: string;
  readonly engine?: string;
  readonly overwrite?: boolean;
}

/** The flags of `sample`; what is left out comes from the recipe that is replayed, the configuration file, then the model. */
export interface SampleFlags extends AppSettings, OpenOptions, Request {
  readonly config?: string;
  readonly replay?: string;
  readonly explain?: boolean;
  /** The old name of `denoisingEnd`, the other way round. */
  readonly handover?: number;
}

export function sampleCommand(): Command {
  const command = new Command('sample')
    .description('Makes pictures with a diffusion model. The same seed makes the same file.')
    .optionsGroup('Files:')
    .option('--model <path>', 'model or run folder of train, folder of diffusers, or one .safetensors, .ckpt or .gguf')
    .option(
      '--out <path>',
      'a .png for one picture or a grid, or a folder for single pictures (default: out/sample.png)',
    )
    .option(
      '--config <file>',
      'JSON file with any of these settings, by the names of the flags in camelCase; flags win',
    )
    .option('--prompts <file>', 'a prompt a line, in the place of --prompt')
    .option('--preview <file>', 'a .png of the running estimates, written anew after each step (sharper with --taesd)')
    .option(
      '--upscale <picture>',
      'enlarge this picture, of any size, tile by tile, with a model that enlarges (an upsampler of ADM, of train, of DeepFloyd IF, the x4 upscaler)',
    )
    .option('--tile <pixels>', 'with --upscale: side of a tile of the small picture', wholeNumber('--tile', 1))
    .option(
      '--overlap <pixels>',
      'with --upscale: pixels that tiles share (default: a quarter)',
      wholeNumber('--overlap', 0),
    )
    .option('--columns <n>', 'pictures in a row of the grid', wholeNumber('--columns', 1))
    .option(
      '--scale <n>',
      'each pixel becomes n x n pixels (default: 2 for small pictures with labels)',
      wholeNumber('--scale', 1),
    )
    .option(
      '--shard <i/n>',
      'make part i of n of the pictures, counted from 0, into a folder (default: by mpirun, srun or a Kubernetes job)',
    )
    .option('--overwrite', 'replace existing files')
    .option('--replay <picture>', 'make a picture of sample again, from the recipe in it')
    .option(
      '--explain',
      'make nothing: say key by key where each tensor of the model and of the LoRA files goes, and what does not fit',
    );
  addSchemaFlags(command);
  return command
    .addOption(
      new Option(
        '--engine <name>',
        'TensorFlow.js engine: onnxruntime, tensorflow, wasm, cpu, onnxruntime:PROVIDER such as onnxruntime:webgpu (default: the fastest here)',
      ).helpGroup('Speed and memory:'),
    )
    .addOption(new Option('--handover <fraction>').argParser(realNumber('--handover', 0, 1)).hideHelp())
    .addHelpText('after', guidanceHelp())
    .addHelpText(
      'after',
      '\nExamples:\n  pnpm sample --model models/emoji --prompt "a police officer, twemoji style" --out officer.png' +
        '\n  pnpm sample --model models/digits --labels 0-9 --count 10 --guidance 2 --out digits.png' +
        '\n  pnpm sample --model stable-diffusion-v1-5 --prompt "a cat in the snow" --seed 7 --out cat.png' +
        '\n  pnpm sample --model v1-5-pruned-emaonly.safetensors --prompts prompts.txt --count 4 --out cats/' +
        '\n  pnpm sample --model sdxl --refiner sdxl-refiner --solver dpmpp-2m --solver-options sigmas=karras --prompt "a cat"' +
        '\n  pnpm sample --model runs/upsampler --upscale small.png --out large.png' +
        '\n  pnpm sample --model v1-5-pruned-emaonly.safetensors --lora style.safetensors --explain',
    );
}
