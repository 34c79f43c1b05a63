import { deriveSeed, Module } from '@mezzotint/core';
import { type LoraAdapter, TextualInversion } from '@mezzotint/training';
import type { Adapter } from '../task.js';

/** What is trained beside a UNet and its text encoder: low-rank changes of either, or new tokens. */
export class StableDiffusionAdapter extends Module implements Adapter {
  readonly unet?: LoraAdapter;
  readonly text_encoder?: LoraAdapter | TextualInversion;
  readonly #start: readonly number[];

  /** @param start tokens whose vectors a new token begins with */
  constructor(
    { unet, textEncoder }: { readonly unet?: LoraAdapter; readonly textEncoder?: LoraAdapter | TextualInversion },
    start: readonly number[] = [],
  ) {
    super();
    if (unet !== undefined) this.unet = unet;
    if (textEncoder !== undefined) this.text_encoder = textEncoder;
    this.#start = start;
  }

  override init(seed: number): this {
    this.unet?.init(deriveSeed(seed, 'unet'));
    this.text_encoder?.init(deriveSeed(seed, 'text_encoder'));
    if (this.text_encoder instanceof TextualInversion) this.text_encoder.start(this.#start);
    return this;
  }

  apply<T>(body: () => T): T {
    const inner = () => (this.text_encoder === undefined ? body() : this.text_encoder.apply(body));
    return this.unet === undefined ? inner() : this.unet.apply(inner);
  }

  withMergedWeights<T>(body: () => T | Promise<T>): Promise<T> {
    const inner = () => (this.text_encoder === undefined ? body() : this.text_encoder.withMergedWeights(body));
    return this.unet === undefined ? Promise.resolve(inner()) : this.unet.withMergedWeights<T>(inner);
  }
}
