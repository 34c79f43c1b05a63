import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { architectureOfKind } from '@mezzotint/architectures';
import { InvalidArgumentError, listed } from '@mezzotint/core';
import { writeFileAtomically } from '@mezzotint/data';
import { type Features, retrieval } from '@mezzotint/metrics';
import {
  type ClipConfig,
  type ClipModel,
  clipPixels,
  clipPreprocessorToTransformers,
  clipTokenizer,
  clipTokenizerToTransformers,
  clipToTransformers,
  padIds,
  type Tokenizer,
} from '@mezzotint/text-encoders';
import { contrastiveLoss } from '@mezzotint/training';
import { writeSafetensors } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import type { ClipTask } from './config.js';
import { dataShape, networkConfig } from './network-config.js';
import type { Task } from './task.js';
import { type HeldOut, picturesFor, type TrainingBatch, type TrainingData } from './training-data.js';
import { cutNotes, vocabularyHash, vocabularyOf } from './vocabulary.js';

/** Largest factor of the cosines: the learned temperature is held at 1 / 100. Radford et al. 2021, section 2.5. */
const MOST_LOGIT_SCALE = Math.log(100);

/** Lengths of texts are rounded up to it, so that few shapes occur. */
const LENGTH_UNIT = 8;

/** Captions whose tokens are kept in memory. */
const MOST_REMEMBERED = 2 ** 17;

/** Held-out pictures that are embedded at one time. */
const AT_ONCE = 64;

/** Pictures without a caption that are named. */
const NAMED = 5;

/**
 * CLIP on captioned pictures: both towers and the temperature learn that a picture and its caption belong together among those of a
 * batch. Radford et al. 2021, figure 3. The folder that comes out is one of transformers' `CLIPModel` with its tokenizer.
 */
export function clipTask(config: ClipTask, source: TrainingData): Task {
  const data = picturesFor('clip', source);
  checkData(config, data);
  const architecture = architectureOfKind('feature-network', config.architecture);
  const vocabulary = vocabularyOf(config.tokenizer, data.captions);
  const hash = vocabularyHash(vocabulary);
  const vocabSize = Object.keys(vocabulary.vocab).length;
  const network = networkConfig(architecture, config.network, { ...dataShape(data), classes: null, vocabSize });
  checkNetwork(network as ClipConfig, vocabSize, data);
  const model = architecture.build(network).init(config.seed) as ClipModel;
  const { text, vision } = model.config;
  const tokenizer = remembering(clipTokenizer(vocabulary, { maxLength: text.positions }));

  // A picture alone is always found: its loss is 0 and its recall 1.
  const scored = data.heldOut !== undefined && data.heldOut.count > 1 ? data.heldOut : undefined;

  const loss = (batch: TrainingBatch) =>
    tf.tidy(() => {
      const { images, texts } = embed(model, tokenizer, batch);
      return contrastiveLoss(images, texts, tf.exp(model.logit_scale.value) as tf.Scalar);
    });
  return {
    model,
    ...('from' in config.tokenizer
      ? { frozen: { [`tokenizer ${config.tokenizer.from}`]: hash } }
      : {
          vocabulary: {
            hash,
            beginWith: (run: string) =>
              `"tokenizer": {"from": "${run}"}, "init": {"from": "${join(run, 'model', 'model.safetensors')}"}`,
          },
        }),
    notes: [
      ...cutNotes(data.captions, { tokenizer, length: text.positions }),
      ...(data.heldOut !== undefined && scored === undefined
        ? [
            '1 picture is held out, which CLIP has nothing to compare with: it is not scored. Raise data.heldOut to score.',
          ]
        : []),
    ],
    loss: ({ batch, observe }) => {
      observe('logitScale', tf.exp(model.logit_scale.value));
      return loss(batch);
    },
    ...(scored && { validate: loss }),
    hooks: [{ afterUpdate: () => holdTemperature(model) }],
    async save(folder, { half }) {
      await mkdir(folder, { recursive: true });
      const dtype = half ? 'F16' : 'F32';
      await writeSafetensors(join(folder, 'model.safetensors'), await model.save(), { dtype, overwrite: true });
      const files = {
        ...clipTokenizerToTransformers(vocabulary, { maxLength: text.positions }),
        'config.json': json(clipToTransformers(model.config)),
        'preprocessor_config.json': json(clipPreprocessorToTransformers(vision)),
      };
      for (const [name, content] of Object.entries(files)) {
        await writeFileAtomically(join(folder, name), new TextEncoder().encode(content), { overwrite: true });
      }
    },
    async report(_step, _folder, signal) {
      return scored === undefined ? {} : recallOf(model, tokenizer, scored, signal);
    },
  };
}

/** Pictures and captions of a batch in the shared space, of length 1, `[N, P]` each. */
function embed(model: ClipModel, tokenizer: Tokenizer, { images, shape, captions = [] }: TrainingBatch) {
  const ids = captions.map((caption) => tokenizer.encode(caption));
  const longest = Math.max(...ids.map(({ length }) => length)) + 2; // start and end
  const length = Math.min(Math.ceil(longest / LENGTH_UNIT) * LENGTH_UNIT, tokenizer.maxLength);
  // The tower is causal and reads off the end's token, so that what stands behind it changes nothing.
  const padded = Int32Array.from(ids.flatMap((own) => padIds(tokenizer, own, length).ids));
  return {
    images: model.embedImages(clipPixels(tf.tensor4d(images, [...shape]))),
    texts: model.embedText(tf.tensor2d(padded, [ids.length, length], 'int32')),
  };
}

/** Clips the logarithm of the factor of the cosines at ln 100. */
function holdTemperature({ logit_scale }: ClipModel): void {
  tf.tidy(() => logit_scale.variable.assign(tf.minimum(logit_scale.variable, MOST_LOGIT_SCALE)));
}

/** Recall at 1, 5 and 10 of held-out pictures by their first captions (`imageRecall`) and of captions by pictures (`textRecall`). */
async function recallOf(
  model: ClipModel,
  tokenizer: Tokenizer,
  { count, captions, batch }: HeldOut,
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const { projection } = model.config.vision;
  const rows = () => ({ data: new Float32Array(count * projection!), count, dim: projection! });
  const [images, texts]: Features[] = [rows(), rows()];
  for (let first = 0; first < count; first += AT_ONCE) {
    signal.throwIfAborted();
    const n = Math.min(AT_ONCE, count - first);
    const output = tf.tidy(() => embed(model, tokenizer, batch(first, n)));
    images!.data.set((await output.images.data()) as Float32Array, first * projection!);
    texts!.data.set((await output.texts.data()) as Float32Array, first * projection!);
    tf.dispose(output);
  }
  // Pictures with the same caption are all right answers to it.
  const right = (i: number, j: number) => captions[i]?.[0] === captions[j]?.[0];
  const named = (name: string, queries: Features, targets: Features) =>
    retrieval(queries, targets, { right }).recall.map(({ rank, value }) => [`${name}${rank}`, value] as const);
  return Object.fromEntries([...named('imageRecallAt', texts!, images!), ...named('textRecallAt', images!, texts!)]);
}

/** A tokenizer that reads each text once. */
function remembering(tokenizer: Tokenizer): Tokenizer {
  const known = new Map<string, readonly number[]>();
  const encode = (text: string) => {
    const ids = known.get(text) ?? tokenizer.encode(text);
    if (known.size < MOST_REMEMBERED) known.set(text, ids);
    return ids;
  };
  return { ...tokenizer, encode };
}

function checkData(
  { data: kind, batchSize, accumulation, microBatches = accumulation }: ClipTask,
  { count, names, captions, channels, heldOut }: TrainingData,
): void {
  const atOnce = (batchSize * accumulation) / microBatches;
  const problems = [
    ...withoutCaption('pictures', { count, names, captions }),
    ...(heldOut === undefined ? [] : withoutCaption('held-out pictures', heldOut)),
    ...(atOnce > 1
      ? []
      : ['batchSize: CLIP tells the captions of a batch apart, expected at least 2 at one time, got 1']),
    ...(channels === 3 ? [] : ['data.channels: CLIP sees colour pictures, expected 3, got 1']),
    ...('buckets' in kind && kind.buckets !== undefined ? ['data.buckets: CLIP sees pictures of one size'] : []),
  ];
  if (problems.length > 0) throw new InvalidArgumentError('clip', problems);
}

/** Says which pictures have no caption. */
function withoutCaption(
  what: string,
  { count, names, captions }: Pick<TrainingData, 'count' | 'names' | 'captions'>,
): string[] {
  const without = Array.from({ length: count }, (_, i) => i).filter((i) => !captions[i]?.length);
  if (without.length === 0) return [];
  const which =
    names === undefined
      ? ''
      : ` (${listed(
          without.map((i) => names[i]!),
          NAMED,
        )})`;
  return [`data: ${without.length} of ${count} ${what} have no caption${which}; CLIP needs one of each`];
}

function checkNetwork({ text, vision }: ClipConfig, vocabSize: number, { height }: TrainingData): void {
  const problems = [
    ...(text.vocabSize === vocabSize ? [] : [`text.vocabSize is ${text.vocabSize}, the vocabulary has ${vocabSize}`]),
    ...(vision.imageSize === height ? [] : [`vision.imageSize is ${vision.imageSize}, the data has ${height}`]),
  ];
  if (problems.length > 0) throw new InvalidArgumentError('network', problems);
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
