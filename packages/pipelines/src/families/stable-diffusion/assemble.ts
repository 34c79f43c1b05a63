import type { AutoencoderKL, AutoencoderTiny } from '@mezzotint/autoencoders';
import { InvalidArgumentError, InvalidFileError, type Module, type WeightSource } from '@mezzotint/core';
import type { Sampler } from '@mezzotint/schedulers';
import {
  type AddedToken,
  type ClipTextConfig,
  ClipTextModel,
  ClipTextModelWithProjection,
  type Tokenizer,
} from '@mezzotint/text-encoders';
import { UNet2DCondition, type UNet2DConditionConfig } from '@mezzotint/unet';
import type { OpenContext } from '../../family.js';
import type { Part } from '../../stage.js';
import { growVocabulary, readTextualInversion, refuseWords, type TextualInversion } from '../../textual-inversion.js';
import { numbersOf, type SdModel } from './stage.js';

/** A text encoder before it is built. */
export interface TextSource {
  readonly config: ClipTextConfig;
  tokenizer(added: readonly AddedToken[]): Tokenizer | Promise<Tokenizer>;
}

/** What a folder or a file says of a model: the two ways to it meet here. */
export interface SdSources {
  /** Names the model in errors. */
  readonly origin: string;
  /** Prefix of the names of its parts: '' or `refiner/`. */
  readonly prefix: string;
  readonly unet: UNet2DConditionConfig;
  readonly vae: AutoencoderKL | AutoencoderTiny;
  /** The first encoder is absent in SDXL's refiner, the second in Stable Diffusion 1 and 2. */
  readonly first?: TextSource | undefined;
  readonly second?: TextSource | undefined;
  readonly forceZerosForEmptyPrompt: boolean;
  readonly sampler: Sampler;
  /** Adds noise to the input of an upscaler. */
  readonly lowResolution?: Sampler | undefined;
  weights(part: string): WeightSource;
}

/**
 * Builds the modules, with the tokens of textual inversions, and checks that they belong together.
 *
 * @throws InvalidFileError with everything that does not fit; InvalidArgumentError for an inversion that is for no encoder
 */
export async function assemble(
  sources: SdSources,
  context: OpenContext,
): Promise<{ readonly model: SdModel; readonly parts: readonly Part[] }> {
  const { origin, prefix, vae, sampler, forceZerosForEmptyPrompt, lowResolution } = sources;
  const inversions = await inversionsOf(context);
  const used = new Set<TextualInversion>();
  const unet = new UNet2DCondition(sources.unet);
  const modules: [string, Module, WeightSource][] = [
    ['unet', unet, sources.weights('unet')],
    ['vae', vae, sources.weights('vae')],
  ];
  const build = async <E extends Module>(
    name: string,
    source: TextSource | undefined,
    make: (config: ClipTextConfig) => E,
  ) => {
    if (source === undefined) return undefined;
    const { vocabSize, added, grow } = growVocabulary(inversions, source.config, used);
    const encoder = make({ ...source.config, vocabSize });
    modules.push([name, encoder, grow(sources.weights(name))]);
    if (added.length > 0) refuseWords(added, await source.tokenizer([]));
    return { encoder, tokenizer: await source.tokenizer(added) };
  };
  const first = await build('text_encoder', sources.first, (config) => new ClipTextModel(config));
  const second = await build(
    'text_encoder_2',
    sources.second,
    (config) => new ClipTextModelWithProjection(config as ClipTextConfig & { projection: number }),
  );
  const unused = inversions.filter((inversion) => !used.has(inversion));
  if (unused.length > 0) {
    throw new InvalidArgumentError(
      'textualInversion',
      unused.map(
        ({ name, vectors }) =>
          `${name}: its vectors of ${vectors.map(({ shape }) => shape[1]).join(' and ')} fit no text encoder of ${origin}`,
      ),
    );
  }
  const texts = {
    ...(first && { first }),
    ...(second && { second }),
    forceZerosForEmptyPrompt,
    numbers: numbersOf(unet, second?.encoder.text_projection.weight.shape[0] ?? 0),
  };
  const model = { unet, vae, texts, sampler, prefix, ...(lowResolution && { lowResolution }) };
  checkModel(origin, model);
  const targets = { unet: 'denoiser', text_encoder: 'text_encoder', text_encoder_2: 'text_encoder_2' } as const;
  const parts = modules.map(([name, module, weights]): Part => {
    // A LoRA is for the base; the refiner is another model.
    const lora = prefix === '' ? (targets as Partial<Record<string, NonNullable<Part['lora']>>>)[name] : undefined;
    return { name: `${prefix}${name}`, module, weights, ...(lora && { lora }) };
  });
  return { model, parts };
}

async function inversionsOf({ options, files }: OpenContext): Promise<TextualInversion[]> {
  const found: TextualInversion[] = [];
  for (const { path, token } of options.textualInversion ?? [])
    found.push(await readTextualInversion(files(path), token));
  return found;
}

/** Throws an InvalidFileError when UNet, VAE, text encoders and tokenizers do not belong together. */
function checkModel(origin: string, { unet, vae, texts: { first, second, numbers }, lowResolution }: SdModel): void {
  const { textTime, classes, inChannels, outChannels } = unet.config;
  const { latentChannels } = vae.config;
  const contextWidth = unet.config.textWidth ?? unet.config.contextWidth;
  const width = (first?.encoder.config.width ?? 0) + (second?.encoder.config.width ?? 0);
  const problems: string[] = [];
  if (first === undefined && second === undefined) problems.push('there is no text encoder');
  else if (width !== contextWidth)
    problems.push(`the text encoders give ${width} channels, the UNet takes ${contextWidth}`);
  if ((classes !== null) !== (lowResolution !== undefined))
    problems.push(
      classes === null
        ? 'an upscaler needs a UNet that takes the noise level as a class'
        : 'the UNet asks for classes beside the prompt, as unCLIP does',
    );
  if (outChannels !== latentChannels)
    problems.push(`the VAE has ${latentChannels} channels, the UNet gives ${outChannels}`);
  const known = lowResolution === undefined ? [latentChannels, 2 * latentChannels + 1] : [latentChannels + 3];
  if (!known.includes(inChannels))
    problems.push(
      `the UNet takes ${inChannels} channels; known are latent images, and those with a mask or a small picture`,
    );
  if ((second === undefined) !== (textTime === null))
    problems.push('a UNet with pooled text needs text_encoder_2, another has no place for it');
  if (numbers !== 0 && numbers !== 5 && numbers !== 6)
    problems.push(`the UNet takes ${numbers} numbers beside the pooled text; known are 6 (SDXL) and 5 (its refiner)`);
  for (const { encoder, tokenizer } of [first, second].filter((text) => text !== undefined)) {
    const { vocabSize } = encoder.config;
    const last = Math.max(tokenizer.start ?? 0, tokenizer.end, tokenizer.pad);
    if (last >= vocabSize)
      problems.push(
        `the tokenizer has a token ${last}, the text encoder ${vocabSize} tokens: another tokenizer is needed`,
      );
  }
  if (problems.length > 0) throw new InvalidFileError(origin, problems.join('; '));
}
