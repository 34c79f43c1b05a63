import { AutoencoderKL, autoencoderKLFromDiffusers } from '@mezzotint/autoencoders';
import { type DenoisingNetwork, InvalidArgumentError, type NetworkSignature } from '@mezzotint/core';
import type { Network, Sampler } from '@mezzotint/schedulers';
import { ClipTextModel, clipTextFromTransformers, encodeSdPrompts, type TextEncoder } from '@mezzotint/text-encoders';
import { openComponent, type WeightFile } from '@mezzotint/weights';
import * as tf from '@tensorflow/tfjs-core';
import { klCodec } from '../codec.js';
import type { Candidate, OpenContext } from '../family.js';
import { type Note, noteCuts } from '../long-prompts.js';
import type { RequestKey } from '../request.js';
import type { Batch, Conditions, EncodedBatch, Part, PipelineDefinition, Stage } from '../stage.js';
import { openClipTokenizer } from '../tokenizers.js';
import { ofVariant } from '../variant.js';
import { numbered, shownLabels } from './classes/stage.js';

/** A published denoiser in one file of weights, with what its makers say of it. */
export interface SingleNetwork {
  readonly family: string;
  readonly module: DenoisingNetwork;
  readonly signature: NetworkSignature;
  readonly sampler: Sampler;
  /** What the sampler's parameterisation expects, where that is not what `forward` gives. */
  readonly prediction?: (output: tf.Tensor4D) => tf.Tensor4D;
  /** Factor of the latent images; null for a model of pixels. */
  readonly latentScale: number | null;
  readonly steps: number;
  readonly guidance: number;
}

/**
 * The pipeline of one network whose weights are the file itself. A model of latent images takes its autoencoder, and a model of text
 * CLIP-L too, from the folder that the option `parts` names (a Stable Diffusion 1 has both).
 *
 * @throws InvalidArgumentError when that folder is needed and not named
 */
export async function openSingleNetwork(
  { files, source }: Candidate,
  context: OpenContext,
  network: SingleNetwork,
): Promise<PipelineDefinition> {
  const { family, module, signature, sampler, prediction, steps, guidance } = network;
  const { imageSize, inChannels, classes, nullLabel, conditions } = signature;
  const open: { close(): void }[] = [];
  const close = () => {
    for (const file of open) file.close();
  };
  try {
    const others = await partsOf(network, context, files.name, open);
    const factor = others.vae?.downscale ?? 1;
    const size = imageSize! * factor;
    const parts: Part[] = [{ name: 'network', module, weights: source! }, ...others.parts];
    const encode: Stage['encode'] = (batch, { note }) =>
      conditions.context ? encodeTexts(others.text!, batch, note) : encodeLabels(signature, batch);
    const forward: Network<Conditions> = (x, time, cond) => module.forward(x, time, cond);
    const stage: Stage = {
      name: 'network',
      sampler,
      codec: others.vae ? klCodec(others.vae) : null,
      parts: { encode: others.text ? ['text_encoder'] : [], sample: ['network'] },
      start: 'noise',
      shape: () => [imageSize!, imageSize!, inChannels],
      encode,
      encodesTextOnly: true,
      module,
      negatives: conditions.context !== undefined || nullLabel,
      network: () => (prediction ? (x, time, cond) => prediction(forward(x, time, cond)) : forward),
    };
    const guided = conditions.context !== undefined || nullLabel;
    const takes: RequestKey[] = [
      ...(classes === null ? [] : (['labels'] as const)),
      ...(conditions.context ? (['prompt', 'negative'] as const) : []),
      ...(guided ? (['guidance', 'guidanceInterval'] as const) : []),
    ];
    const about = classes !== null ? `${classes} classes` : conditions.context ? 'text' : 'unconditional';
    return {
      family,
      description: `${files.name}: ${family}, ${imageSize} x ${imageSize} x ${inChannels}, ${about}`,
      stages: [stage],
      parts,
      takes,
      defaults: { height: size, width: size, steps, guidance: guided ? guidance : 1, ...shownLabels(classes) },
      sizeUnit: size,
      ...(classes !== null && { classes: numbered(classes) }),
      check: ({ height, width }) =>
        height === size && width === size ? [] : [`height and width: ${family} makes ${size} x ${size} pixels only`],
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Labels of the positive and the null conditions; nothing for an unconditional model. */
function encodeLabels({ classes, nullLabel }: NetworkSignature, { images }: Batch): EncodedBatch {
  if (classes === null) return { positive: {}, negative: null };
  const rows = (labels: readonly number[]) => ({ labels: tf.tensor1d([...labels], 'int32') });
  const positive = rows(images.map(({ label }) => label!)); // a model with classes is asked for some, or for those by default
  return { positive, negative: nullLabel ? rows(images.map(() => classes)) : null };
}

/** CLIP's states of the prompts and of the negative ones, "" where there are none. Tells what is cut. */
function encodeTexts(text: TextEncoder<ClipTextModel>, { images }: Batch, note: Note): EncodedBatch {
  const prompts = [...images.map(({ prompt }) => prompt), ...images.map(({ negative }) => negative ?? '')];
  noteCuts(text.tokenizer, prompts, text.tokenizer.maxLength, note);
  const states = encodeSdPrompts(text, prompts, { syntax: 'plain', maxChunks: 1, skip: 0 });
  const [positive, negative] = tf.split(states, 2, 0) as [tf.Tensor3D, tf.Tensor3D];
  states.dispose();
  return { positive: { context: positive }, negative: { context: negative } };
}

/** Autoencoder and text encoder, where the network needs them. */
async function partsOf(
  { family, latentScale, signature }: SingleNetwork,
  { options, files, note }: OpenContext,
  name: string,
  open: { close(): void }[],
) {
  const needsText = signature.conditions.context !== undefined;
  if (latentScale === null && !needsText) return { parts: [] as Part[] };
  if (options.parts === undefined) {
    const what = needsText ? 'autoencoder and CLIP-L' : 'autoencoder';
    throw new InvalidArgumentError(
      name,
      `is a ${family} of latent images: name a folder with their ${what} (a Stable Diffusion 1) with the option parts`,
    );
  }
  const folder = files(options.parts);
  const component = async (place: string): Promise<WeightFile> => {
    const weights = await ofVariant(folder, place, options.variant, note);
    open.push(weights);
    return weights;
  };
  const parts: Part[] = [];
  let vae: AutoencoderKL | undefined;
  if (latentScale !== null) {
    const place = folder.has('vae/config.json') ? 'vae' : '';
    const json = (await folder.json(place === '' ? 'config.json' : `${place}/config.json`)) as object;
    vae = new AutoencoderKL({ ...autoencoderKLFromDiffusers(json), scalingFactor: latentScale });
    if (vae.config.latentChannels !== signature.inChannels) {
      throw new InvalidArgumentError(
        'parts',
        `the autoencoder has ${vae.config.latentChannels} latent channels, not ${signature.inChannels}`,
      );
    }
    parts.push({ name: 'vae', module: vae, weights: openComponent(await component(place)).weights });
  }
  if (!needsText) return { parts, vae };
  const model = new ClipTextModel(clipTextFromTransformers(await folder.json('text_encoder/config.json')));
  parts.push({ name: 'text_encoder', module: model, weights: openComponent(await component('text_encoder')).weights });
  return { parts, vae, text: { encoder: model, tokenizer: await openClipTokenizer(folder, 'tokenizer') } };
}
