import { type CommandContext, exitBadInput, oneOf, realNumber, runCommand, wholeNumber } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { InvalidArgumentError } from '@mezzotint/core';
import { type AblationName, ablation } from '@mezzotint/unet';
import { Command } from 'commander';
import { type CascadeFlags, runCascade } from './cascade.js';
import { type Figure6Flags, runFigure6 } from './figure-6.js';
import { type NoiseLevelsFlags, runNoiseLevels } from './noise-levels.js';
import { runTable1, type Table1Flags } from './table-1.js';
import { runTextToImage, type TextToImageFlags } from './text-to-image.js';
import { runToy, type ToyFlags } from './toy.js';

const engine = (command: Command) =>
  command
    .option('--seed <n>', 'seed of everything', wholeNumber('--seed'), 0)
    .option('--engine <name>', 'TensorFlow.js engine (default: the fastest here)');

const toy = engine(
  new Command('study toy')
    .description(
      'The toy of the autoguidance paper: a learned score beside the analytic one, and outliers with and without guidance.',
    )
    .option('--out <folder>', 'where results go', 'studies/toy')
    .option('--steps <n>', 'updates of the main network', wholeNumber('--steps', 1), 1500)
    .option('--batch <n>', 'points in a batch', wholeNumber('--batch', 1), 1024)
    .option('--points <n>', 'samples of each method', wholeNumber('--points', 1000), 3000),
);

const digits = (name: string, about: string, steps: number) =>
  engine(
    new Command(`study ${name}`)
      .description(`${about} Ctrl-C stops; the same command goes on.`)
      .option('--out <folder>', 'where results go', `studies/${name}`)
      .option('--steps <n>', 'updates of each training', wholeNumber('--steps', 1), steps)
      .option('--batch <n>', 'pictures in a batch', wholeNumber('--batch', 1), 64)
      .option('--count <n>', 'samples for each distance', wholeNumber('--count', 100), 500),
  );

const figure6 = digits(
  'figure-6',
  'FID against EMA length and guidance from one training, averages made afterwards.',
  1200,
);
const table1 = digits(
  'table-1',
  'Configurations A to G of the ablation under equal budgets: FID, and growth of magnitudes.',
  400,
);

const numbers = (flag: string) => (text: string) => text.split(',').map((part) => realNumber(flag, 0)(part.trim()));
figure6
  .option('--sigma-rel <list>', 'EMA lengths', numbers('--sigma-rel'), [0.03, 0.05, 0.075, 0.1, 0.15, 0.2])
  .option('--guidance <list>', 'guidance scales', numbers('--guidance'), [1, 1.5, 2, 3]);
table1.option(
  '--configs <list>',
  "configurations to train, such as 'A,C,E,G'",
  (text) => text.split(',').map(oneOf('--configs', Object.keys(ablation) as AblationName[])),
  Object.keys(ablation) as AblationName[],
);

const cascade = engine(
  new Command('study cascade')
    .description(
      'A cascade of models of train against its base resized with bicubic, over the level of conditioning augmentation: FID and KID.\n' +
        'Ctrl-C stops; the same command goes on.',
    )
    .option('--out <folder>', 'where results go', 'studies/cascade')
    .option('--base <folder>', 'run or model of the small pictures', 'runs/cascade-16')
    .option('--upsampler <folder>', 'run or model that enlarges them', 'runs/cascade-16-to-64')
    .option('--plain <folder>', 'the same, trained without augmentation; left out when absent')
    .option('--data <folder>', 'the pictures of the training', 'data/emoji/train')
    .option('--held-out <folder>', 'pictures that it never saw', 'data/emoji/held-out')
    .option('--features <folder>', 'a classifier or a CLIP of train that judges', 'models/emoji-judge')
    .option('--count <n>', 'pictures of each set, at most the held-out ones', wholeNumber('--count', 10), 240)
    .option(
      '--reference <n>',
      'pictures of the training that they are compared with',
      wholeNumber('--reference', 10),
      2000,
    )
    .option(
      '--levels <list>',
      'levels of augmentation, 0 to 1000',
      numbers('--levels'),
      [0, 50, 100, 200, 300, 400, 500],
    )
    .option('--steps <n>', 'steps of the upsampler', wholeNumber('--steps', 1), 10)
    .option('--docs <folder>', "writes the section of the folder's cascades.md, and its pictures"),
);

const textToImage = engine(
  new Command('study text-to-image')
    .description(
      'What a model of emoji makes of its prompts: a grid of 40 of examples/, 16 combinations over the real pictures, six prompts at\n' +
        'several guidance scales and, with --versions, by other states of the model, and 12 samples over the nearest training\n' +
        'pictures by the judge.',
    )
    .option('--model <folder>', 'the model', 'models/emoji')
    .option('--data <folder>', 'what train emoji-data wrote', 'data/emoji-balanced')
    .option('--features <folder>', 'a CLIP of train that judges', 'models/emoji-judge')
    .option('--out <folder>', 'where results go', 'studies/text-to-image')
    .option('--guidance <list>', 'guidance scales', numbers('--guidance'), [1, 3, 7.5, 10, 15])
    .option('--versions <list>', "states of the model, a row each, such as '10 %=runs/a,100 %=runs/b'", versions, []),
);

const noiseLevels = engine(
  new Command('study noise-levels')
    .description("The loss of flows at single noise levels, given a picture's own caption, another's, and none.")
    .option('--models <list>', 'runs or models of train', (text) => text.split(','), ['models/emoji'])
    .option('--latents <folder>', 'what train encode wrote', 'runs/emoji-latents')
    .option('--out <folder>', 'where results go', 'studies/noise-levels')
    .option('--count <n>', 'pictures, to the next 64', wholeNumber('--count', 1), 192)
    .option('--levels <list>', 'noise levels, 0 to 1', numbers('--levels'), [0.12, 0.27, 0.5, 0.73, 0.88, 0.98]),
);

function versions(text: string): { name: string; path: string }[] {
  return text.split(',').map((part) => {
    const at = part.indexOf('=');
    if (at < 1) throw new InvalidArgumentError('--versions', `expected name=folder, got '${part}'`);
    return { name: part.slice(0, at).trim(), path: part.slice(at + 1).trim() };
  });
}

type Engine = { readonly engine?: string };

/** A study by its command: the engine is started, then it runs. */
function study<F>(command: Command, run: (flags: F, context: CommandContext) => Promise<void>) {
  const start = async (flags: F & Engine, context: CommandContext) => {
    await useBackend({ engine: flags.engine });
    await run(flags, context);
  };
  return (argv: string[]) => runCommand<F & Engine>(command, start, argv);
}

const studies = new Map([
  ['toy', study<ToyFlags>(toy, runToy)],
  ['figure-6', study<Figure6Flags>(figure6, runFigure6)],
  ['table-1', study<Table1Flags>(table1, runTable1)],
  ['cascade', study<CascadeFlags>(cascade, runCascade)],
  ['noise-levels', study<NoiseLevelsFlags>(noiseLevels, runNoiseLevels)],
  ['text-to-image', study<TextToImageFlags>(textToImage, runTextToImage)],
]);

const [name = '', ...rest] = process.argv.slice(2);
const chosen = studies.get(name);
if (chosen !== undefined) await chosen(rest);
else {
  const known = [...studies.keys()];
  process.stderr.write(`study: expected ${known.slice(0, -1).join(', ')} or ${known.at(-1)}, got '${name}'\n`);
  process.exitCode = exitBadInput;
}
