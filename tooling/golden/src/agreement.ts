import { readFileSync, writeFileSync } from 'node:fs';
import { type CommandContext, prepareOutput } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import {
  type FeatureNetwork,
  featureNetworkNamed,
  InceptionV3,
  type PictureBytes,
  readPictures,
} from '@mezzotint/features';
import {
  Collector,
  cmmd,
  computeMetrics,
  DiversityStatistics,
  directionalSimilarity,
  FeatureStatistics,
  type Features,
  frechetDistance,
  inceptionScore,
  kernelDistance,
  kernelDistanceOfSubsets,
  memorization,
  metricNamed,
  prdc,
  SimilarityStatistics,
} from '@mezzotint/metrics';
import { formulaWeights, inceptionWeight, noisyRamp, plainWeight } from '@mezzotint/testing';
import { ClipModel } from '@mezzotint/text-encoders';
import { Command } from 'commander';

/** Numbers that a script of ours stored: lists and objects by names, as the script writes them. */
// biome-ignore lint/suspicious/noExplicitAny: JSON of our own, whose shape is that of the script
function stored(path: string): any {
  return JSON.parse(readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8'));
}

const ofFolders = stored('apps/evaluate/test/fixtures/references.json');
const ofRows = stored('packages/metrics/test/fixtures/references.json');

/** What a library prints, and what we do of the same pictures and weights. */
interface Line {
  readonly metric: string;
  readonly library: string;
  readonly theirs: number;
  readonly ours: number;
}

export function agreementCommand(): Command {
  return new Command('golden agreement')
    .description(
      'The metrics beside the libraries that define them, on the same features, and on the same folders and weights.\n' +
        "The libraries' numbers are those that tooling/golden/scripts/metrics.py and evaluate.py stored. Exits with 1 when a difference is above 1e-3.",
    )
    .option('--out <file>', 'write the page, such as docs/metrics-agreement.md');
}

/** Prints the two tables, or writes them as a page. */
export async function runAgreement(
  { out }: { readonly out?: string },
  { say, result }: Pick<CommandContext, 'say' | 'result'>,
): Promise<void> {
  if (out !== undefined) prepareOutput(out, true);
  const engine = await useBackend();
  const tables = { rows: rowAgreement(), folders: await folderAgreement() };
  const page = [
    '# Metrics beside their reference libraries',
    '',
    `Made by \`pnpm golden agreement --out docs/metrics-agreement.md\` on the engine ${engine.name}. The bar is a relative difference of 1e-3.`,
    '',
    '## The arithmetic, on rows of features',
    '',
    `Two sets of ${ofRows.N} rows of ${ofRows.D} features by a formula; the libraries (${versions(ofRows['made with'])}) by`,
    '`tooling/golden/scripts/metrics.py`. Some compute in float32, which is the difference.',
    '',
    ...markdown(tables.rows),
    '',
    '## From pictures to scores',
    '',
    `Two folders of ${ofFolders.count} pictures of ${ofFolders.size} x ${ofFolders.size} and networks with weights by a formula (so the values mean nothing, and the inception`,
    `score is near 1); the libraries (${versions(ofFolders['made with'])}) by`,
    '`tooling/golden/scripts/evaluate.py`.',
    '',
    ...markdown(tables.folders),
    '',
  ];
  if (out === undefined) for (const line of page) say(line);
  else writeFileSync(out, page.join('\n'));
  result({ engine: engine.name, ...tables });
  if ([...tables.rows, ...tables.folders].some((line) => !(difference(line) <= 1e-3))) process.exitCode = 1;
}

const versions = (made: Readonly<Record<string, string>>) =>
  Object.entries(made)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');

const difference = ({ theirs, ours }: Line) => (theirs === ours ? 0 : Math.abs(ours - theirs) / Math.abs(theirs));

function markdown(lines: readonly Line[]): string[] {
  const number = (x: number) => String(Number(x.toPrecision(10)));
  return [
    '| metric | library | its value | ours | relative difference |',
    '| --- | --- | ---: | ---: | ---: |',
    ...lines.map((line) => {
      const cells = [
        line.metric,
        line.library,
        number(line.theirs),
        number(line.ours),
        difference(line).toExponential(1),
      ];
      return `| ${cells.join(' | ')} |`;
    }),
  ];
}

/** The features of tooling/golden/scripts/metrics.py, rounded to float32 as there. */
function byFormula(formula: (i: number, j: number) => number): Features {
  const { N, D } = ofRows;
  const data = Float32Array.from({ length: N * D }, (_, n) => formula(Math.floor(n / D) + 1, (n % D) + 1));
  return { data, count: N, dim: D };
}

/** Every metric on the rows of metrics.py. */
export function rowAgreement(): Line[] {
  const { D } = ofRows;
  const X = byFormula((i, j) => Math.sin(0.37 * i * j + 0.1 * i));
  const Y = byFormula(
    (i, j) => 0.8 * Math.sin(0.371 * i * j + 0.11 * i) + 0.6 * Math.cos(0.91 * i + 0.3 * j * j) + 0.05,
  );
  const map = (a: Features, of: (v: number, n: number) => number): Features => ({
    ...a,
    data: Float32Array.from(a.data, of),
  });
  const rolled = (a: Features, by: number) => map(a, (_, n) => a.data[(n - by * D + a.data.length) % a.data.length]!);
  const fid = frechetDistance(new FeatureStatistics(D).add(Y), new FeatureStatistics(D).add(X));
  const subsets = kernelDistanceOfSubsets(X, Y, { subsets: 7, subsetSize: 50 });
  const logits = map(X, (v) => 3 * v);
  const split = inceptionScore(logits, { splits: 5 });
  const scores = [3, 5].map((k) => prdc(X, Y, { k }));
  const copies = map(Y, (v, n) => (n < 10 * D ? Math.fround(X.data[n]! + Math.fround(0.01)) : v));
  const { memorized, authenticity } = memorization(copies, X);
  return [
    ...(['pytorch-fid', 'clean-fid', 'torch-fidelity', 'torchmetrics'] as const).map((library) =>
      line('FID', library, ofRows[`${library} fid`], fid),
    ),
    ...(['clean-fid', 'torchmetrics'] as const).map((library) =>
      line('KID of all rows', library, ofRows[`${library} kid`], kernelDistance(X, Y).value),
    ),
    line('KID, 7 subsets of 50', 'torch-fidelity', ofRows['torch-fidelity kid'][0]!, subsets.mean),
    line('its deviation', 'torch-fidelity', ofRows['torch-fidelity kid'][1]!, subsets.standardDeviation),
    line('IS, 5 splits', 'torch-fidelity', ofRows['torch-fidelity is'][0]!, split.mean),
    line('its deviation', 'torch-fidelity', ofRows['torch-fidelity is'][1]!, split.standardDeviation),
    line('IS, 1 split', 'torchmetrics', ofRows['torchmetrics is'], inceptionScore(logits, { splits: 1 }).mean),
    ...scores.flatMap(({ precision, recall, density, coverage }, at) => {
      const k = ([3, 5] as const)[at]!;
      const ours = { precision, recall, density, coverage };
      return Object.entries(ours).map(([name, value], i) =>
        line(`${name}, k = ${k}`, 'prdc', ofRows[`prdc ${k}`][i]!, value),
      );
    }),
    line('precision, k = 3', 'torch-fidelity', ofRows['torch-fidelity prc'][0]!, scores[0]!.precision),
    line('recall, k = 3', 'torch-fidelity', ofRows['torch-fidelity prc'][1]!, scores[0]!.recall),
    line(
      'CLIP score',
      'torchmetrics',
      ofRows['torchmetrics clip-score'],
      new SimilarityStatistics().add(X, Y).score().torchmetrics,
    ),
    line('CMMD', 'numpy, by its definition', ofRows['numpy cmmd'], cmmd(X, Y)),
    line(
      'directional similarity',
      'torch, by its definition',
      ofRows['torch directional'],
      directionalSimilarity({ before: X, after: Y }, { before: rolled(X, 3), after: rolled(Y, 5) }),
    ),
    line('memorisation', 'scipy, by its definition', ofRows['scipy memorization'][0]!, memorized),
    line('authenticity', 'scipy, by its definition', ofRows['scipy memorization'][1]!, authenticity),
    line('diversity', 'numpy, by its definition', ofRows['numpy diversity'], new DiversityStatistics(D).add(X).score()),
  ];
}

function line(metric: string, library: string, theirs: number, ours: number): Line {
  return { metric, library, theirs, ours };
}

/** FID, KID, IS, precision, recall and CLIP score of the folders of evaluate.py. */
async function folderAgreement(): Promise<Line[]> {
  const { count, size, smooth } = ofFolders;
  const pictures = ([name, share]: readonly [string, number]) =>
    Array.from({ length: count }, (_, i): PictureBytes => {
      return { data: noisyRamp(`${name}-${i}`, size, share), height: size, width: size, channels: 3 };
    });
  const [generated, real] = Object.entries(smooth as Readonly<Record<string, number>>).map(pictures) as [
    PictureBytes[],
    PictureBytes[],
  ];
  const state = formulaWeights(new InceptionV3({ classes: 1008, pooling: 'tensorflow' }), inceptionWeight);
  const scored = async (features: string, metrics: readonly string[]) => {
    const network = await featureNetworkNamed(features).open({ weights: [state] });
    const wanted = metrics.map(metricNamed);
    const needs = [...new Set(wanted.flatMap(({ needs }) => [...needs.generated, ...(needs.real ?? [])]))];
    const { dimension: dim, classes, recipe } = network;
    const sides: Collector[] = [];
    for (const side of [generated, real]) {
      const collector = new Collector({ needs, dim, classes, total: count, recipe });
      sides.push(collector.add({ first: 0, ...(await readPictures(network, side)) }));
    }
    network.dispose();
    return Object.fromEntries(computeMetrics(wanted, sides[0]!, sides[1]).map((result) => [result.name, result]));
  };
  const theirs = ofFolders['torch-fidelity 2048'];
  const { fid, kid, is, prdc } = await scored('inception', ['fid', 'kid', 'is', 'prdc']);
  const clean = await scored('inception-clean', ['fid']);
  const pytorch = await scored('inception-pytorch', ['fid']);
  return [
    line('FID', 'torch-fidelity', theirs.frechet_inception_distance, fid!.value),
    line('KID', 'torch-fidelity', theirs.kernel_inception_distance_mean, kid!.value),
    line('IS', 'torch-fidelity', theirs.inception_score_mean, is!.value),
    line('precision', 'torch-fidelity', theirs.precision, prdc!.parts!.precision!),
    line('recall', 'torch-fidelity', theirs.recall, prdc!.parts!.recall!),
    line('FID', 'clean-fid', ofFolders['clean-fid 2048'], clean.fid!.value),
    line('FID', 'pytorch-fid', ofFolders['pytorch-fid 2048'], pytorch.fid!.value),
    ...(await clipAgreement(generated)),
  ];
}

/** CLIP score of the first pictures and the prompts of evaluate.py, with a ViT-B/32 of one layer. */
async function clipAgreement(pictures: readonly PictureBytes[]): Promise<Line[]> {
  const { prompts, score } = ofFolders['torchmetrics CLIP score'];
  const network = await openSmallClip();
  const images = await readPictures(network, pictures.slice(0, prompts.length));
  const embedded = network.embedText!(prompts);
  const texts = { data: (await embedded.data()) as Float32Array, count: prompts.length, dim: network.dimension };
  embedded.dispose();
  network.dispose();
  const { torchmetrics } = new SimilarityStatistics().add(images.features, texts).score();
  return [line('CLIP score', 'torchmetrics', score, torchmetrics)];
}

function openSmallClip(): Promise<FeatureNetwork> {
  const tower = { layers: 1, activation: 'quick', epsilon: 1e-5, projection: 512 } as const;
  const clip = new ClipModel({
    text: { ...tower, vocabSize: 49408, positions: 77, pooledToken: 'largest', width: 64, mlpWidth: 64, heads: 1 },
    vision: { ...tower, imageSize: 224, patchSize: 32, channels: 3, width: 768, mlpWidth: 64, heads: 12 },
  });
  return featureNetworkNamed('clip-vit-b-32').open({ weights: [formulaWeights(clip, plainWeight)] });
}
