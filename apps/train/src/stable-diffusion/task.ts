import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { architectureOfKind } from '@mezzotint/architectures';
import { InvalidArgumentError } from '@mezzotint/core';
import { stackPictures, writePng } from '@mezzotint/data';
import { imageGrid } from '@mezzotint/figures';
import { encodeSdPrompts, type Tokenizer } from '@mezzotint/text-encoders';
import {
  denoisingLoss,
  LoraAdapter,
  type LossInput,
  minSnr,
  noiseLevels,
  TextualInversion,
  withPriorPreservation,
} from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import type { WholeStableDiffusionTask } from '../config.js';
import { loraDefaults } from '../network-config.js';
import type { Task } from '../task.js';
import type { TrainingBatch, TrainingData } from '../training-data.js';
import { StableDiffusionAdapter } from './adapter.js';
import { drawLatents, type LatentPictures, latentBatches } from './batches.js';
import { openStableDiffusion, PLAIN, type StableDiffusion } from './open.js';
import { makePriorPictures, priorBatches } from './prior.js';
import { promptsOf, stackStates, textStates } from './prompts.js';
import { saveAdapter, savePipeline } from './save.js';

/**
 * Fine-tunes Stable Diffusion 1 or 2 on pictures with prompts: a LoRA (Hu et al. 2021), a new token (textual inversion, Gal et al. 2023) or
 * the whole UNet, each also with pictures that keep the model's notion of a class (DreamBooth, Ruiz et al. 2023).
 */
export async function stableDiffusionTask(config: WholeStableDiffusionTask, data: TrainingData): Promise<Task> {
  const { token, lora, prior } = config;
  const model = await openStableDiffusion(config.model);
  check(config, data, model);
  const prompts = promptsOf(config, data.captions.length > 0 ? data.captions : [[]]);
  const { adapter, tokenizer } = await adapterOf(config, model);
  const trainsText = adapter?.text_encoder !== undefined;
  const states = trainsText
    ? undefined
    : textStates(model, tokenizer, [...prompts.always, ...(prior ? [prior.prompt] : [])]);
  const pipeline = model.pipeline(tokenizer);

  const { levels, prediction, unet, textEncoder } = model;
  const timed = levels.map((level, time) => ({ ...level, time }));
  const options = {
    levels: noiseLevels((u) => timed[Math.min(Math.floor(u * timed.length), timed.length - 1)]!),
    ...(config.weighting === 'min-snr' && { weight: minSnr()[prediction] }),
  };
  const loss = ({ batch, rng }: Pick<LossInput<TrainingBatch>, 'batch' | 'rng'>) =>
    tf.tidy(() => {
      const { latents, captions = [], states: known } = batch as LatentPictures;
      const said = prompts.of(captions, rng);
      if (prior !== undefined) said.push(...captions.map(() => prior.prompt));
      const x0 = drawLatents(model, latents, rng.randn(latents.mean.length));
      const context = // [N, 77, D]
        known === undefined
          ? encodeSdPrompts({ encoder: textEncoder, tokenizer }, said, PLAIN)
          : stackStates(said, known);
      const losses = denoisingLoss(
        prediction,
        (x, time, context: tf.Tensor3D) => unet.forward(x, time, { context, rng }),
        { x0, cond: context },
        rng,
        options,
      );
      return prior === undefined ? losses : withPriorPreservation(losses, prior.weight);
    });

  return {
    model: unet,
    ...(adapter && { adapter }),
    notes: [...model.notes, ...(prompts.note === undefined ? [] : [prompts.note])],
    loss: (input) => (adapter === undefined ? loss(input) : adapter.apply(() => loss(input))),
    async batches(stream, run, signal, share) {
      const folder = prior && (prior.pictures ?? join(run, 'prior'));
      if (prior !== undefined && prior.pictures === undefined) {
        await makePriorPictures(folder!, { ...config, prior }, pipeline, signal);
      }
      return latentBatches(model, stream, {
        repeats: config.data.kind === 'folder' && config.data.crop === 'center' && !config.data.flip,
        ...(folder !== undefined && { prior: await priorBatches(folder, config, share) }),
        ...(states && { statesOf: (captions) => states(captions.filter((caption) => caption !== '')) }),
      });
    },
    ...(adapter === undefined && { save: (folder, options) => savePipeline(folder, config.model, unet, options) }),
    ...(adapter && {
      saveAdapter: async (run: string) => [
        ...(await saveAdapter(run, adapter, token?.text)).map((file) => `Saved: ${file}`),
        lora === undefined
          ? `Try it: pnpm sample --model ${config.model} --textual-inversion ${join(run, 'embeddings', 'learned_embeds.safetensors')} --prompt "${prompts.shown[0]}"`
          : `Try it: pnpm sample --model ${config.model} --lora ${join(run, 'lora', 'pytorch_lora_weights.safetensors')} --prompt "${prompts.shown[0]}"`,
      ],
    }),
    async report(step, folder, signal) {
      const { steps, guidance } = config.samples;
      const size = data.height;
      const request = { prompt: [...prompts.shown], seed: 0, height: size, width: size, steps, guidance };
      const { images } = await pipeline.generate(request, { signal });
      const grid = imageGrid(stackPictures(images), { columns: images.length });
      await writePng(join(folder, `step-${String(step).padStart(7, '0')}.png`), grid, { overwrite: true });
      return {};
    },
  };
}

/** What is trained beside the model, if anything, and the tokenizer that knows its tokens. */
async function adapterOf(
  { lora, token }: WholeStableDiffusionTask,
  { unet, textEncoder, tokenizer }: StableDiffusion,
): Promise<{ readonly adapter?: StableDiffusionAdapter; readonly tokenizer: Tokenizer }> {
  const plain = await tokenizer([]);
  if (token !== undefined) {
    const start = plain.encode(token.initializer);
    const problems: string[] = [];
    if (start.length !== 1 && start.length !== token.vectors) {
      problems.push(
        `initializer '${token.initializer}' is ${start.length} tokens: expected a word of one, or of as many as vectors (${token.vectors})`,
      );
    }
    if (plain.encode(token.text).length === 1)
      problems.push(`text '${token.text}' is a token already: choose another, such as <${token.text}>`);
    if (problems.length > 0) throw new InvalidArgumentError('token', problems);
    const inversion = new TextualInversion(textEncoder.text_model.embeddings.token_embedding, token.vectors);
    return {
      adapter: new StableDiffusionAdapter({ textEncoder: inversion }, start),
      tokenizer: await tokenizer([{ content: token.text, id: inversion.ids, normalized: true }]),
    };
  }
  if (lora === undefined) return { tokenizer: plain };
  const { textEncoder: both, ...options } = lora;
  const settings = { ...options, ...loraDefaults(lora, architectureOfKind('denoiser', 'UNet2DCondition'), unet) };
  return {
    adapter: new StableDiffusionAdapter({
      unet: new LoraAdapter(unet, settings),
      ...(both && { textEncoder: new LoraAdapter(textEncoder, { ...settings, targets: ['*self_attn*'] }) }),
    }),
    tokenizer: plain,
  };
}

function check(
  { token, lora, prior, half, data: source }: WholeStableDiffusionTask,
  data: TrainingData,
  { vae }: StableDiffusion,
): void {
  const problems: string[] = [];
  if (token !== undefined && lora !== undefined) problems.push('token and lora: choose one of them');
  if (data.height % vae.downscale !== 0 || data.width % vae.downscale !== 0) {
    problems.push(`data.size: expected a multiple of ${vae.downscale}, got ${data.height}`);
  }
  if (half && (token ?? lora) !== undefined) {
    problems.push('half: no model comes out beside a token or an adapter, which is kept whole; leave it out');
  }
  if (data.heldOut !== undefined) {
    problems.push('data.heldOut, data.heldOutPath: pictures are not scored here, and would be missing; leave them out');
  }
  if (data.channels !== 3) problems.push('data.channels: expected 3, as the model makes colours');
  if (source.kind === 'folder' && source.buckets !== undefined && prior !== undefined) {
    problems.push('prior: its pictures are square, so data.buckets cannot be there too');
  }
  if (prior?.pictures !== undefined && !existsSync(prior.pictures))
    problems.push(`prior.pictures: ${prior.pictures} is not there`);
  if (problems.length > 0) throw new InvalidArgumentError('stable-diffusion', problems);
}
