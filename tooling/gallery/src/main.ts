import { resolve } from 'node:path';
import { openClassifier, openImages, prepareOutput, runCommand, startProgress, wholeNumber } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { splitImages, stackPictures, writePng } from '@mezzotint/data';
import { classifierFeatures, type ImageBytes, readFeatures } from '@mezzotint/features';
import { imageGrid } from '@mezzotint/figures';
import { FeatureStatistics, frechetDistance } from '@mezzotint/metrics';
import { openPipeline } from '@mezzotint/pipelines/node';
import { type SolverName, solvers } from '@mezzotint/schedulers';
import { Command } from 'commander';
import { stepsFor, usable } from './budget.js';
import { cellPicture } from './cell-picture.js';

const budgets = [5, 10, 20, 50] as const;

interface Flags {
  readonly model: string;
  readonly classifier: string;
  readonly out: string;
  readonly count: number;
  readonly solvers?: string;
  readonly engine?: string;
  readonly overwrite?: boolean;
}

const command = new Command('gallery')
  .description(
    `Digits sampled by every solver with ${budgets.join(', ')} evaluations of the network, and their Fréchet distances.`,
  )
  .option('--model <folder>', 'the digits model', 'models/digits')
  .option('--classifier <folder>', 'whose features are compared', 'models/digits-classifier')
  .option('--out <file>', 'the PNG to write', 'docs/solvers.png')
  .option('--count <n>', 'samples for each distance', wholeNumber('--count', 20), 500)
  .option('--solvers <list>', 'only these solvers, separated by commas')
  .option('--engine <name>', 'TensorFlow.js engine (default: the fastest here)')
  .option('--overwrite', 'replace an existing file');

await runCommand<Flags>(command, async (flags, { signal, say, result }) => {
  prepareOutput(flags.out, flags.overwrite ?? false);
  const engine = await useBackend({ engine: flags.engine });
  const pipeline = await openPipeline(flags.model);
  const classifier = await openClassifier(flags.classifier);
  const network = classifierFeatures(classifier.model, classifier.config.image);
  const read = async ({ images, count, ...size }: ImageBytes) => {
    const pixels = images.length / count;
    const statistics = new FeatureStatistics(network.dimension);
    for (let first = 0; first < count; first += 100) {
      const part = Math.min(100, count - first);
      const batch = images.subarray(first * pixels, (first + part) * pixels);
      statistics.add((await readFeatures(network, { images: batch, count: part, ...size })).features);
    }
    return statistics;
  };
  const [real] = splitImages(await openImages({ kind: 'digits', part: 'all' }), [5000], 1);
  const truth = await read(real);

  const all = Object.keys(solvers) as SolverName[];
  const fit = await Promise.all(all.map((name) => usable(pipeline, name)));
  const names = (flags.solvers?.split(',') as SolverName[] | undefined) ?? all.filter((_, i) => fit[i]);
  const labels = Array.from({ length: flags.count }, (_, i) => i % 10);
  const progress = startProgress('Sampling', names.length * budgets.length);
  const cells: { solver: SolverName; evaluations: number; frechetDistance: number | null; pictures: Uint8Array }[] = [];
  try {
    for (const solver of names) {
      for (const evaluations of budgets) {
        const steps = stepsFor(solver, evaluations);
        const sampled =
          steps === undefined
            ? undefined
            : (await pipeline.generate({ solver, steps, guidance: 1, seed: 0, labels, batch: 100 }, { signal })).images;
        cells.push({
          solver,
          evaluations,
          frechetDistance: sampled === undefined ? null : frechetDistance(truth, await read(stackPictures(sampled))),
          pictures: cellPicture(sampled),
        });
        progress.update(cells.length, undefined, `${solver} ${evaluations}`);
      }
    }
  } finally {
    progress.stop();
  }

  const grid = imageGrid(
    {
      images: Uint8Array.from(cells.flatMap(({ pictures }) => [...pictures])),
      count: cells.length,
      height: 28,
      width: 280,
      channels: 1,
    },
    {
      columns: budgets.length,
      padding: 4,
      rowLabels: names,
      columnLabels: budgets.map((budget) => `${budget} evaluations`),
      captions: cells.map(({ frechetDistance }) =>
        frechetDistance === null ? 'not with so few' : `FD ${frechetDistance.toFixed(3)}`,
      ),
    },
  );
  await writePng(flags.out, grid, { overwrite: flags.overwrite ?? false });
  for (const { solver, evaluations, frechetDistance } of cells) {
    say(`${solver.padEnd(20)} ${String(evaluations).padStart(3)}  ${frechetDistance?.toFixed(4) ?? '-'}`);
  }
  say(`Picture: ${resolve(flags.out)} (engine ${engine.name})`);
  result({ file: resolve(flags.out), count: flags.count, cells: cells.map(({ pictures: _, ...cell }) => cell) });
});
