import { InvalidArgumentError, renamed, type WeightSource } from '@mezzotint/core';
import type { Dropped, FitOptions } from '../key-maps/translate.js';
import { nameOfAverage } from './averaged-names.js';
import { type Component, openComponent } from './component.js';
import type { ModelKind } from './recognise.js';
import { withoutPrefix } from './view.js';

/** Parts of a pipeline, by the names of diffusers' folders. */
export type ComponentName = 'unet' | 'transformer' | 'vae' | 'text_encoder' | 'text_encoder_2' | 'text_encoder_3';

/** A checkpoint of several models in one file, taken apart. */
export interface SingleFile {
  readonly name: string;
  readonly components: ReadonlyMap<ComponentName, Component>;
  /** Tensors that belong to no component, and why they are not needed. */
  readonly dropped: readonly Dropped[];
}

/** Which weights are taken from a single file. */
export interface OpenSingleFileOptions extends FitOptions {
  /** The averaged denoiser (`model_ema.…`), true or false; when absent, only if there is no other. */
  readonly ema?: boolean;
}

const DENOISER = 'model.diffusion_model.';
const AVERAGE = 'model_ema.';

interface Place {
  readonly prefix: string;
  readonly component: ComponentName;
  readonly textLayers?: number;
}

/** Where single files keep their models. Denoisers that are transformers are named so once recognised. */
const PLACES: readonly Place[] = [
  { prefix: DENOISER, component: 'unet' },
  { prefix: 'first_stage_model.', component: 'vae' },
  { prefix: 'vae.', component: 'vae' },
  { prefix: 'cond_stage_model.transformer.', component: 'text_encoder' },
  { prefix: 'cond_stage_model.model.', component: 'text_encoder', textLayers: 23 },
  { prefix: 'conditioner.embedders.0.transformer.', component: 'text_encoder' },
  { prefix: 'conditioner.embedders.0.model.', component: 'text_encoder_2' },
  { prefix: 'conditioner.embedders.1.model.', component: 'text_encoder_2' },
  { prefix: 'text_encoders.clip_l.transformer.', component: 'text_encoder' },
  { prefix: 'text_encoders.clip_g.transformer.', component: 'text_encoder_2' },
  { prefix: 'text_encoders.t5xxl.transformer.', component: 'text_encoder_3' },
];

const TRANSFORMERS: ReadonlySet<ModelKind> = new Set(['dit', 'sd3', 'flux', 'u-vit']);

/** Tensors of single files that no model needs. */
const UNUSED: readonly { readonly pattern: RegExp; readonly why: string }[] = [
  {
    pattern:
      /^(?:betas|alphas_cumprod|alphas_cumprod_prev|sqrt_\w+|log_one_minus_\w+|posterior_\w+|lvlb_weights|logvar)$/,
    why: 'the noise schedule, which the scheduler computes',
  },
  { pattern: /^denoiser\.\w+$/, why: 'the noise schedule, which the scheduler computes' },
  { pattern: /^(?:v_pred|ztsnr)$/, why: 'a mark that says how the model was trained' },
  { pattern: /^scale_factor$/, why: 'the scale of the latents, which the configuration says' },
  { pattern: /^model_ema\.(?:decay|num_updates)$/, why: 'the state of the averaging' },
  { pattern: /^first_stage_model\.(?:loss|model_ema)\./, why: 'needed to train the autoencoder only' },
  { pattern: /\.logit_scale$/, why: 'compares texts with images; a text encoder alone does not use it' },
];

/**
 * Takes a single-file checkpoint apart (Stable Diffusion 1.x, 2.x, XL, refiner, 3.x, FLUX; also a bare denoiser): each
 * model under its home names. Throws an InvalidArgumentError that lists every tensor without a place.
 */
export function openSingleFile(source: WeightSource, options: OpenSingleFileOptions = {}): SingleFile {
  const names = [...source.tensors.keys()];
  const places = PLACES.filter(({ prefix }) => names.some((name) => name.startsWith(prefix)));
  const hasAverage = names.some((name) => name.startsWith(AVERAGE) && unusedBecause(name) === undefined);
  if (places.length === 0 && !hasAverage) return bareDenoiser(source, options);
  const ema = options.ema ?? !names.some((name) => name.startsWith(DENOISER));
  if (ema && !hasAverage)
    throw new InvalidArgumentError(source.name, 'has no averaged weights (model_ema.…); ask for the others');

  const components = new Map<ComponentName, Component>();
  const add = (weights: WeightSource, { component, textLayers }: Place) => {
    const layers = textLayers !== undefined && isDeeper(weights, textLayers) ? { textLayers } : {};
    const report = options.report && ((problem: string) => options.report!(`${component}: ${problem}`));
    const opened = openComponent(weights, { ...layers, report });
    const name = component === 'unet' && TRANSFORMERS.has(opened.model) ? 'transformer' : component;
    if (components.has(name)) throw new InvalidArgumentError(source.name, `holds two models for ${name}`);
    components.set(name, opened);
  };
  if (ema) add(averages(source), PLACES[0]!);
  for (const place of places) {
    if (ema && place.prefix === DENOISER) continue;
    add(withoutPrefix(usedOnly(source), place.prefix), place);
  }
  return { name: source.name, components, dropped: leftovers(source, places, ema, options) };
}

function bareDenoiser(source: WeightSource, { report }: FitOptions): SingleFile {
  const opened = openComponent(source, { report });
  const names: Partial<Record<ModelKind, ComponentName>> = {
    'kl-vae': 'vae',
    'vq-vae': 'vae',
    'tiny-vae': 'vae',
    clip: 'text_encoder',
    t5: 'text_encoder',
  };
  const name = names[opened.model] ?? (TRANSFORMERS.has(opened.model) ? 'transformer' : 'unet');
  return { name: source.name, components: new Map([[name, opened]]), dropped: [] };
}

function unusedBecause(name: string): string | undefined {
  return UNUSED.find(({ pattern }) => pattern.test(name))?.why;
}

function usedOnly(source: WeightSource): WeightSource {
  return renamed(source, (name) => (unusedBecause(name) === undefined ? name : undefined));
}

/** The averaged denoiser under the denoiser's names. */
function averages(source: WeightSource): WeightSource {
  const known = new Map<string, string>();
  for (const name of source.tensors.keys()) {
    if (name.startsWith(DENOISER))
      known.set(name.slice('model.'.length).replaceAll('.', ''), name.slice(DENOISER.length));
  }
  const strange: string[] = [];
  const view = renamed(source, (name) => {
    if (!name.startsWith(AVERAGE) || unusedBecause(name) !== undefined) return undefined;
    const dotless = name.slice(AVERAGE.length);
    const found = known.get(dotless) ?? nameOfAverage(dotless.replace(/^diffusion_model/, ''));
    if (found === undefined) strange.push(name);
    return found;
  });
  if (strange.length > 0)
    throw new InvalidArgumentError(
      source.name,
      strange.map((name) => `${name}: has no place in the denoiser`),
    );
  return view;
}

function isDeeper(weights: WeightSource, layers: number): boolean {
  return weights.tensors.has(`transformer.resblocks.${layers}.ln_1.weight`);
}

/** What no component took: all of it must be known to be unused. */
function leftovers(source: WeightSource, places: readonly Place[], ema: boolean, { report }: FitOptions): Dropped[] {
  const dropped: Dropped[] = [];
  const strange: string[] = [];
  for (const name of source.tensors.keys()) {
    const why =
      unusedBecause(name) ??
      (name.startsWith(AVERAGE) && !ema ? 'averaged weights; ask for them with { ema: true }' : undefined) ??
      (name.startsWith(DENOISER) && ema ? 'trained weights; the averaged ones are taken' : undefined);
    if (why !== undefined) dropped.push({ name, why });
    else if (!name.startsWith(AVERAGE) && !places.some(({ prefix }) => name.startsWith(prefix))) strange.push(name);
  }
  const problems = strange.map((name) => `${name}: belongs to no known model`);
  if (report !== undefined) for (const problem of problems) report(problem);
  else if (problems.length > 0) {
    const shown = problems.slice(0, 40);
    throw new InvalidArgumentError(
      source.name,
      problems.length > 40 ? [...shown, `… and ${problems.length - 40} more`] : shown,
    );
  }
  return dropped;
}
